// Pieces that several views are made of.

import { h } from "./dom.js";
import { endedDocuments, hasEnded, look, moment, number, stateName, words } from "./format.js";

/** The states of trainings that have not ended. */
export const OPEN = ["TRAINING_STATE_QUEUED", "TRAINING_STATE_PROCESSING"];

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

/** Named figures; with `label` as a list of that name. */
export function cards(figures, label = null) {
  return h("dl", { class: "cards", "aria-label": label }, figures.map(([name, value, small]) =>
    h("div", { key: name }, h("dt", null, name), h("dd", { class: small ? "small" : null }, value))));
}

/** What is not broken over lines. */
export const whole = (...content) => h("span", { class: "whole" }, content);

/** A sentence in a table, which takes the width that it needs. */
export const said = (...content) => h("span", { class: "said" }, content);

/** A time, or a dash. */
export const when = (timestamp) => (timestamp ? h("time", { class: "whole", datetime: timestamp }, moment(timestamp)) : "–");

/** So many in use of so many; 0 allows any number. */
export const of = (used, limit, told = number) => whole(`${told(used)} of ${Number(limit) ? told(limit) : "any number"}`);

/** A limit, where 0 is `none`. */
export const limit = (value, told = number, none = "–") => (Number(value) ? told(value) : none);

/** Buttons that belong to one row of a table. */
export const acts = (label, ...buttons) => h("div", { class: "acts", role: "group", "aria-label": label }, buttons);

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
    h("span", { class: wide ? "whole" : "whole quiet" }, ` ${number(ended)} of ${number(training.total)}${training.sealed ? "" : " read so far"}`),
  ];
}

/** To pages before and after: `tokens` are those of the pages up to this one, `turn` is called with those of another. */
export function pages(tokens, next, turn, [before, after]) {
  return h("div", { class: "row" },
    tokens.length > 1 && button(before, () => turn(tokens.slice(0, -1)), { key: "before" }),
    next && button(after, () => turn([...tokens, next]), { key: "after" }));
}

/** Which tenant: `chosen` hears its name; with `all` there is a choice of all, which is the empty name. */
export function tenantChoice(names, tenant, all, chosen) {
  return h("label", null, h("span", null, "Tenant"), h("select", { id: "tenant", on: { change: (event) => chosen(event.target.value) } },
    all && h("option", { value: "", selected: !tenant }, all),
    names.map((name) => h("option", { value: name, selected: name === tenant, key: name }, name))));
}

/** A link to one training; `tenant` is empty for a tenant's own. */
export function trainingLink(id, tenant) {
  const query = new URLSearchParams(tenant ? { tenant, id } : { id });
  return h("a", { href: `#/training?${query}` }, id);
}

export function button(text, click, attributes = {}) {
  return h("button", { type: "button", ...attributes, on: { click } }, text);
}
