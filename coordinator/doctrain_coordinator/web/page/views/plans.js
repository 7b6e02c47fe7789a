// Plans: every limit of each, and its change.

import { call } from "../api.js";
import { ask } from "../dialog.js";
import { number, size } from "../format.js";
import { acts, button, limit, table, whole } from "../parts.js";

const NONE = "0 or empty: no limit.";
// Name of the field, its heading in the table, its label and hint in the question, and how its value is told.
const LIMITS = [
  ["slots", "Slots", "Slots: documents at once, over all trainings of a tenant", "1 to 10,000.", number],
  ["burst_slots", "Burst", "Slots while the machines bear it", "Empty: never more.", number],
  ["open_trainings", "Trainings", "Trainings of a tenant that have not ended", "0 or empty: 1,000.", number],
  ["training_documents", "Documents each", "Documents of one training", NONE, number],
  ["open_documents", "Open documents", "Documents of a tenant that have not ended", NONE, number],
  ["requests_per_second", "Calls/s", "Calls a second, at each coordinator", NONE, number],
  ["watches", "Watches", "Watches at once, at each coordinator", "0 or empty: 1,000.", number],
  ["upload_bytes", "Uploads", "Bytes of uploads that are kept for a tenant", NONE, size],
];

export function plansTable(plans, act) {
  const rows = plans.map((plan) => [
    plan.name, plan.name, ...LIMITS.map(([field, , , , told]) => whole(limit(plan[field], told))),
    acts(`Change the plan ${plan.name}`,
      button("Change …", () => act(putPlan(plan), "The plan was changed."), { "aria-label": `Change ${plan.name}`, key: "change" }),
      button("Delete …", () => act(deletePlan(plan), `The plan ${plan.name} is deleted.`), {
        "aria-label": `Delete the plan ${plan.name}`, key: "delete", class: "danger",
      })),
  ]);
  return table("Plans", ["Plan", ...LIMITS.map(([, heading]) => `#${heading}`), "Change"], rows, "No plans.");
}

/** Makes a plan, or changes the one that is given. */
export function putPlan(plan) {
  // A plan that does not burst is asked for without, so that its slots may be raised.
  const standing = { ...plan, burst_slots: Number(plan?.burst_slots) > Number(plan?.slots) ? plan.burst_slots : 0 };
  const limits = LIMITS.map(([name, , label, hint]) => ({
    name, label, hint, type: "number", required: name === "slots", value: Number(standing[name]) ? String(standing[name]) : "",
  }));
  const isChanged = ([field, value]) => Number(value) !== Number(standing[field] ?? 0);
  const numbers = (entries) => Object.fromEntries(entries.map(([field, value]) => [field, Number(value)]));
  return ask({
    title: plan ? `Change the plan ${plan.name}` : "Make a plan",
    text: plan ? "It holds at once, for waiting work too." : "A plan of that name is replaced.",
    fields: plan ? limits : [{ name: "name", label: "Name", required: true }, ...limits],
    action: plan ? "Change it" : "Make it",
    act: ({ name, ...given }) => plan
      ? call("FleetService", "UpdatePlan", { name: plan.name, ...numbers(Object.entries(given).filter(isChanged)) })
      : call("FleetService", "PutPlan", { plan: { name, ...numbers(Object.entries(given)) } }),
  });
}

function deletePlan({ name }) {
  return ask({
    title: `Delete the plan ${name}?`,
    text: "It must be no tenant's.",
    action: "Delete it",
    danger: true,
    act: () => call("FleetService", "DeletePlan", { name }),
  });
}
