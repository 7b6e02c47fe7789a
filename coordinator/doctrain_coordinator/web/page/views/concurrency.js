// Documents at once: what plans allow now and why, and what operators order of it.

import { call } from "../api.js";
import { ask } from "../dialog.js";
import { h, render } from "../dom.js";
import { moment, number } from "../format.js";
import { acts, button, table } from "../parts.js";
import { poll } from "../poll.js";
import { tell } from "../told.js";

const PIN = "CONCURRENCY_ORDER_KIND_PIN";
const CAP = "CONCURRENCY_ORDER_KIND_CAP";
const MOST_DECISIONS = 50;

export const concurrency = {
  title: () => "Concurrency",
  start(place, { signal, refused }) {
    const draw = async () => {
      const found = await call("FleetService", "GetConcurrency", { limit: MOST_DECISIONS }, { signal });
      if (signal.aborted) return;
      const act = (asked) => asked.then((said) => said && draw()).catch(refused);
      render(place,
        h("p", null, "A plan guarantees slots (documents at once), and may burst while work waits and the machines bear it."),
        h("h2", null, "Plans"),
        plans(found.plans, act),
        h("h2", null, "Orders for tenants"),
        button("Order for a tenant …", () => act(order({ tenant: "" })), { class: "main" }),
        orders(found.tenant_orders, act),
        h("h2", null, "Decisions"),
        decisions(found.decisions));
    };
    return poll(signal, refused, draw);
  },
};

function plans(found, act) {
  const rows = found.map((plan) => [
    plan.plan, plan.plan, number(plan.slots), number(plan.burst_slots), number(plan.current_slots), plan.order ? told(plan.order) : "–",
    acts(`Orders for plan ${plan.plan}`,
      button("Order …", () => act(order({ plan: plan.plan, standing: plan.order })), { "aria-label": `Order for plan ${plan.plan}` }),
      plan.order && button("Clear", () => act(clear({ plan: plan.plan })), { "aria-label": `Clear plan ${plan.plan}` })),
  ]);
  return table("Plans", ["Plan", "#Guaranteed", "#Burst", "#Now", "Order", "Change"], rows, "No plans.");
}

function orders(found, act) {
  const rows = found.map((one) => [
    one.subject.tenant_id, one.subject.tenant_id, told(one),
    acts(`Orders for tenant ${one.subject.tenant_id}`,
      button("Order …", () => act(order({ tenant: one.subject.tenant_id, standing: one })), { "aria-label": `Order for tenant ${one.subject.tenant_id}` }),
      button("Clear", () => act(clear({ tenant_id: one.subject.tenant_id })), { "aria-label": `Clear tenant ${one.subject.tenant_id}` })),
  ]);
  return table("Orders for tenants", ["Tenant", "Order", "Change"], rows, "No orders.");
}

function decisions(found) {
  const rows = found.map((one) => [
    `${one.decide_time} ${one.plan}`, moment(one.decide_time), one.plan, number(one.slots_before), number(one.slots_after), one.reason,
  ]);
  return table("Decisions", ["When", "Plan", "#From", "#To", "Why"], rows, "Nothing was decided yet.");
}

function told(standing) {
  const how = standing.kind === PIN ? "pinned to" : "capped at";
  return [
    h("span", { class: "state wait" }, `${how} ${number(standing.slots)}`),
    h("span", { class: "quiet" }, ` ${moment(standing.order_time)}, by key ${standing.key_id}${standing.reason ? `: ${standing.reason}` : ""}`),
  ];
}

async function order({ plan, tenant, standing }) {
  const whom = tenant === "" ? [{ name: "tenant_id", label: "Tenant", required: true }] : [];
  const given = await ask({
    title: plan ? `Order for the plan ${plan}` : tenant ? `Order for the tenant ${tenant}` : "Order for a tenant",
    text: "It holds at once, for waiting work too, until it is cleared.",
    fields: [
      ...whom,
      { name: "kind", label: "Slots", value: standing?.kind ?? CAP, options: [[CAP, "at most"], [PIN, "exactly"]] },
      { name: "slots", label: "How many", value: standing?.slots ?? "", type: "number", required: true },
      { name: "reason", label: "Why, for people", value: standing?.reason ?? "" },
    ],
    action: "Order it",
    act: ({ tenant_id, kind, slots, reason }) => call("FleetService", "SetConcurrency", {
      subject: plan ? { plan } : { tenant_id: tenant || tenant_id }, kind, slots: Number(slots), reason,
    }),
  });
  if (given) tell("The order stands.");
  return given;
}

async function clear(subject) {
  await call("FleetService", "ClearConcurrency", { subject });
  tell("The order is cleared.");
  return true;
}
