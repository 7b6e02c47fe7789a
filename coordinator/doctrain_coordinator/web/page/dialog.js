// Questions that are answered in a dialog: some fields, a button that does it, and what was wrong with them.

import { CallError } from "./api.js";
import { h, render } from "./dom.js";

/**
 * Asks; resolves to what `act` answered, or null when the person gave up.
 *
 * `fields` are `{name, label, value, options, required, type, hint}`; `act` gets their values by name, and may raise CallError, which is shown.
 */
export function ask({ title, text = "", fields = [], action, danger = false, act }) {
  return new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "dialog-title");
    let answer = null;
    let fault = "";
    let busy = false;
    const show = () => render(dialog, form());
    const submit = async (event) => {
      event.preventDefault();
      if (busy) return;
      const values = Object.fromEntries(new FormData(event.target));
      busy = true;
      fault = "";
      show();
      try {
        answer = (await act(values)) ?? true;
        dialog.close();
      } catch (error) {
        fault = error instanceof CallError ? error.message : String(error);
      }
      busy = false;
      show();
    };
    const form = () => h(
      "form",
      { on: { submit } },
      h("h2", { id: "dialog-title" }, title),
      text && h("p", null, text),
      fields.map(field),
      h("p", { class: "error", role: "alert" }, fault),
      h("div", { class: "row" },
        h("button", { type: "button", on: { click: () => dialog.close() } }, "Not now"),
        h("button", { type: "submit", class: danger ? "danger" : "main", disabled: busy }, action)),
    );
    dialog.onclose = () => {
      dialog.remove();
      resolve(answer);
    };
    show();
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Shows something once, such as a key, until it is closed. */
export function show({ title, text, value }) {
  return new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "dialog-title");
    render(dialog,
      h("h2", { id: "dialog-title" }, title),
      h("p", null, text),
      h("p", { class: "box mono", id: "shown-once", tabindex: "0" }, value),
      h("div", { class: "row" }, h("button", { type: "button", class: "main", on: { click: () => dialog.close() } }, "I have kept it")));
    dialog.onclose = () => {
      dialog.remove();
      resolve();
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}

function field({ name, label, value = "", options, required = false, type = "text", hint }) {
  const attributes = { name, required, autocomplete: "off" };
  const control = options
    ? h("select", attributes, options.map(([option, shown]) => h("option", { value: option, selected: option === value }, shown)))
    : h("input", { ...attributes, type, value, step: type === "number" ? "any" : null });
  return h("label", { key: name }, h("span", null, label), control, hint && h("span", null, hint));
}
