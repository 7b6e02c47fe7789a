// The documents of a training: a page of them, in some state, each with its stages and what went wrong.

import { call } from "../api.js";
import { h } from "../dom.js";
import { moment, number, seconds, span, stateName } from "../format.js";
import { pages, state } from "../parts.js";

const STATES = ["QUEUED", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED"];
const PAGE = 50;

export class Documents {
  #id;
  #whom;
  #changed;
  #state = "";
  #tokens = [""];
  #page = null;

  /** `whom` is whose training it is; `changed` hears when there is something new to show. */
  constructor(id, whom, changed) {
    this.#id = id;
    this.#whom = whom;
    this.#changed = changed;
  }

  async read() {
    const [state, token] = [this.#state, this.#tokens.at(-1)];
    const request = { training_task_id: this.#id, states: state ? [`DOCUMENT_STATE_${state}`] : [], page_size: PAGE, page_token: token };
    const page = await call("TrainingService", "ListDocuments", request, this.#whom);
    if (state === this.#state && token === this.#tokens.at(-1)) this.#page = page;
  }

  drawn() {
    return h("section", { "aria-label": "Documents", key: "documents" },
      h("h2", null, "Documents"),
      h("div", { class: "row" }, h("label", null, h("span", null, "State"), h("select", {
        id: "document-state",
        on: { change: (event) => this.#turn(event.target.value, [""]) },
      }, h("option", { value: "" }, "All"), STATES.map((name) => h("option", { value: name, key: name }, name.toLowerCase()))))),
      this.#page && (this.#page.documents.length
        ? h("div", { id: "documents" }, this.#page.documents.map((one) => documentRow(one)))
        : h("p", { class: "quiet" }, "No documents here.")),
      pages(this.#tokens, this.#page?.next_page_token, (tokens) => this.#turn(this.#state, tokens), ["Back", "Further"]));
  }

  async #turn(state, tokens) {
    this.#state = state;
    this.#tokens = tokens;
    await this.read();
    this.#changed();
  }
}

/** One document, to be unfolded. */
export function documentRow(one) {
  const name = stateName(one.state);
  const metadata = Object.entries(one.metadata ?? {});
  return h("details", { key: one.document_id, class: "hit" },
    h("summary", null,
      state(name), " ", h("span", { class: "mono" }, one.document_id),
      one.duration ? ` ${span(seconds(one.duration))}` : "",
      one.tries > 1 ? ` ${one.tries} tries` : "",
      one.unchanged ? " unchanged" : "",
      !one.duration && one.stages.length > 0 && h("span", { class: "quiet far" }, ` ${far(one.stages)}`),
      one.error && h("span", { class: "error" }, ` ${one.error.code}: ${one.error.message}`)),
    h("dl", { class: "quiet" },
      pair("Where its bytes are", one.uri),
      one.start_time && pair("Last try began", moment(one.start_time)),
      one.losses > 0 && pair("Workers lost while it ran alone", number(one.losses)),
      one.trace_id && pair("Trace", one.trace_id)),
    one.stages.length > 0 && [h("h3", null, "Stages"), stages(one)],
    metadata.length > 0 && [h("h3", null, "Metadata"), h("dl", { class: "quiet" }, metadata.map(([key, value]) => pair(key, value)))]);
}

/** How far a document is that has run for a while: its stage, and how much of what there is. */
function far(passed) {
  const counted = passed.flatMap(({ counts }) => Object.keys(counts).filter((name) => name.endsWith("_in_all")).map((name) => {
    const kind = name.replace(/_in_all$/, "");
    return `${number(counts[kind] ?? 0)} of ${number(counts[name])} ${kind}`;
  }));
  return [passed.at(-1).name, ...counted.slice(-1)].join(", ");
}

function pair(name, value) {
  return h("div", { key: name }, h("dt", null, name), h("dd", { class: "mono" }, value));
}

function stages(one) {
  const began = Date.parse(one.start_time);
  const rows = one.stages.map((stage, at) => h("tr", { key: at },
    h("th", { scope: "row" }, stage.name),
    h("td", { class: "number" }, `+${((Date.parse(stage.start_time) - began) / 1000).toFixed(2)} s`),
    h("td", { class: "number" }, `${(seconds(stage.duration) ?? 0).toFixed(2)} s`),
    h("td", null, [
      ...Object.entries(stage.counts).sort().map(([name, count]) => `${number(count)} ${name.replaceAll("_", " ")}`),
      ...(stage.unread ? [`not read: ${stage.unread}`] : []),
    ].join(", "))));
  return h("div", { class: "scroll" }, h("table", null,
    h("thead", null, h("tr", null, ["Stage", "Began", "Took", "Did"].map((column, at) =>
      h("th", { scope: "col", class: at === 1 || at === 2 ? "number" : null }, column)))),
    h("tbody", null, rows)));
}
