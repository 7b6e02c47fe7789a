// What the tenant's plan allows, and what of it is left.

import { call } from "../api.js";
import { h, render } from "../dom.js";
import { number, size } from "../format.js";
import { limit, of, table, whole } from "../parts.js";
import { poll } from "../poll.js";

const SECONDS = 5;
const USED = [
  ["slots", "Slots: documents at once, over all trainings", number],
  ["open_trainings", "Trainings that have not ended", number],
  ["open_documents", "Documents that have not ended", number],
  ["upload_bytes", "Bytes of uploads that are kept", size],
];
const OTHERS = [
  ["training_documents", "Documents of one training"],
  ["requests_per_second", "Calls a second, at each coordinator"],
  ["watches", "Watches at once, at each coordinator"],
];

export const limits = {
  title: () => "Limits",
  start(place, { signal, refused }) {
    return poll(signal, refused, async () => {
      const found = await call("TrainingService", "GetLimits", {}, { signal });
      if (signal.aborted) return;
      render(place,
        found.suspended && h("p", { class: "box error", key: "suspended" },
          `This tenant is suspended${found.suspend_reason ? `: ${found.suspend_reason}` : "; ask the operator of the mesh"}. `
          + "New trainings, uploads and searches are refused."),
        h("p", null, "The plan is ", h("strong", null, found.plan), "."),
        h("div", { class: "narrow" }, table("Limits in use", ["Limit", "#Used", "#Left", "In use"], USED.map(([field, name, told]) => [
          field, name, of(found[field].used, found[field].limit, told), whole(left(found[field], told)), meter(name, found[field]),
        ]), "")),
        h("h2", null, "Others"),
        h("div", { class: "narrow" }, table("Other limits", ["Limit", "#Allowed"], [
          ...OTHERS.map(([field, name]) => [
            field, name, field === "watches" ? number(found.watches || 1000) : limit(found[field], number, "any number"),
          ]),
          ["document_bytes", "Bytes of one document, of whatever plan", size(found.document_bytes)],
          ["request_bytes", "Bytes of one start, of whatever plan", size(found.request_bytes)],
          ["request_documents", "Documents of one start without a manifest", number(found.request_documents)],
          ["request_fields", "Fields of one start", number(found.request_fields)],
        ], "")));
    }, SECONDS);
  },
};

const left = (one, told) => (Number(one.limit) ? told(Math.max(0, Number(one.limit) - Number(one.used))) : "any number");

function meter(name, one) {
  return Number(one.limit) ? h("meter", { min: 0, max: one.limit, value: Math.min(Number(one.used), Number(one.limit)), "aria-label": name }) : "–";
}
