// Passages of a tenant's documents that answer a query.

import { call } from "../api.js";
import { h, render } from "../dom.js";
import { moment, number } from "../format.js";

const MODES = [["SEARCH_MODE_HYBRID", "by meaning and words"], ["SEARCH_MODE_VECTORS", "by meaning"], ["SEARCH_MODE_WORDS", "by words"]];

export const search = {
  title: () => "Search",
  async start(place, { signal, refused }) {
    let [hits, fault, index, busy] = [null, "", null, false];
    const draw = () => !signal.aborted && render(place,
      h("form", { role: "search", class: "row", on: { submit } },
        h("label", { class: "wide" }, h("span", null, "Words, or a question"), h("input", { id: "query", name: "query", type: "search", required: true })),
        h("label", null, h("span", null, "How"), h("select", { name: "mode" }, MODES.map(([mode, said]) => h("option", { value: mode }, said)))),
        h("button", { type: "submit", class: "main", disabled: busy }, "Search")),
      h("p", { class: "error", role: "alert" }, fault),
      h("p", { class: "quiet", role: "status" }, hits ? found(hits.length) : index && held(index)),
      h("div", { id: "hits" }, (hits ?? []).map(hit)));
    const submit = async (event) => {
      event.preventDefault();
      const { query, mode } = Object.fromEntries(new FormData(event.target));
      busy = true;
      draw();
      try {
        ({ hits } = await call("SearchService", "Search", { query, mode, limit: 20 }, { signal }));
        fault = "";
      } catch (error) {
        fault = error.message;
        if (error.code === "UNAUTHENTICATED") refused(error);
      }
      busy = false;
      draw();
    };
    draw();
    index = await call("SearchService", "GetIndex", {}, { signal });
    draw();
  },
};

const found = (count) => (count ? `${number(count)} passage${count === 1 ? "" : "s"}, the best first.` : "Nothing was found.");

function held(index) {
  if (!Number(index.document_count)) return "The index is empty.";
  const stale = Number(index.stale_document_count) ? ` ${number(index.stale_document_count)} of them are found by words alone until they are trained again.` : "";
  return `The index holds ${number(index.chunk_count)} passages of ${number(index.document_count)} documents, as of ${moment(index.update_time)}.${stale}`;
}

function hit(one, at) {
  return h("article", { class: "hit", key: at },
    h("h2", null, one.document_id),
    h("p", { class: "quiet" }, [
      one.part && `part ${one.part}`, one.page && `page ${one.page}`, one.heading, one.media_type, `training ${one.training_task_id}`,
    ].filter(Boolean).join(" · ")),
    h("p", null, marked(one.snippet, one.snippet_matches)));
}

/** The text with what was found marked; places are counted in code points. */
function marked(text, ranges) {
  const characters = [...text];
  const pieces = [];
  let at = 0;
  for (const { start, end } of ranges) {
    pieces.push(characters.slice(at, start).join(""), h("mark", null, characters.slice(start, end).join("")));
    at = end;
  }
  return [...pieces, characters.slice(at).join("")];
}
