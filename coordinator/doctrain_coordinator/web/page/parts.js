// Pieces that several views are made of.

import { h } from "./dom.js";
import { endedDocuments, hasEnded, look, number, stateName, words } from "./format.js";

/** A table whose rows are `[key, ...cells]`, the first cell naming the row; `columns` are names, with a `#` before those of numbers. */
export function table(name, columns, rows, nothing) {
  if (!rows.length) return h("p", { class: "quiet", key: name }, nothing);
  const numeric = columns.map((column) => (column.startsWith("#") ? "number" : null));
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": name, tabindex: "0", key: name },
    h(
      "table",
      null,
      h("thead", null, h("tr", null, columns.map((column, at) => h("th", { scope: "col", class: numeric[at] }, column.replace("#", ""))))),
      h("tbody", null, rows.map(([key, first, ...cells]) =>
        h("tr", { key }, h("th", { scope: "row" }, first), cells.map((cell, at) => h("td", { class: numeric[at + 1] }, cell))))),
    ),
  );
}

/** Named figures. */
export function cards(figures) {
  return h("dl", { class: "cards" }, figures.map(([name, value, small]) =>
    h("div", { key: name }, h("dt", null, name), h("dd", { class: small ? "small" : null }, value))));
}

/** A state as a word, coloured beside. */
export function state(name) {
  return h("span", { class: `state ${look(name)}` }, words(name));
}

export function trainingState(training) {
  return state(training.paused && !hasEnded(training) ? "PAUSED" : stateName(training.state));
}

/** How far a training is, as a bar and in numbers. */
export function progress(training, wide = false) {
  const ended = endedDocuments(training);
  return [
    h("progress", {
      class: wide ? "wide" : null, max: Math.max(1, training.total), value: ended, "aria-label": `Progress of ${training.training_task_id}`,
    }),
    h("span", { class: wide ? null : "quiet" }, ` ${number(ended)} of ${number(training.total)}${training.sealed ? "" : " read so far"}`),
  ];
}

/** A link to one training; `tenant` is empty for a tenant's own. */
export function trainingLink(id, tenant) {
  const query = new URLSearchParams(tenant ? { tenant, id } : { id });
  return h("a", { href: `#/training?${query}` }, id);
}

export function button(text, click, attributes = {}) {
  return h("button", { type: "button", ...attributes, on: { click } }, text);
}
