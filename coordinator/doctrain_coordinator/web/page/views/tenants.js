// Tenants and plans: who is served, and who may do how much.

import { call, CallError } from "../api.js";
import { ask } from "../dialog.js";
import { h, render } from "../dom.js";
import { acts, button, state, table, when } from "../parts.js";
import { poll } from "../poll.js";
import { listed } from "../tenants.js";
import { tell } from "../told.js";
import { putPlan, plansTable } from "./plans.js";

const SECONDS = 5;

export const tenants = {
  title: () => "Tenants and plans",
  start(place, { signal, refused }) {
    const draw = async () => {
      const [found, { plans }] = await Promise.all([listed(signal), call("FleetService", "ListPlans", {}, { signal })]);
      if (signal.aborted) return;
      const after = async (asked, said) => {
        if (!(await asked)) return;
        tell(said);
        await draw();
      };
      const act = (asked, said) => after(asked, said).catch(refused);
      render(place,
        h("h2", null, "Tenants"),
        button("Make a tenant …", () => act(makeTenant(plans), "The tenant was made. It needs a key, too."), { class: "main" }),
        table("Tenants", ["Tenant", "State", "Plan", "#Weight", "Made", "See", "Change"], found.map((tenant) => [
          tenant.tenant_id, tenant.tenant_id, standing(tenant), tenant.plan, String(tenant.weight), when(tenant.create_time),
          links(tenant), changes(tenant, plans, act),
        ]), "No tenants."),
        h("h2", null, "Plans"),
        button("Make a plan …", () => act(putPlan(), "The plan was made."), { class: "main" }),
        plansTable(plans, act));
    };
    return poll(signal, refused, draw, SECONDS);
  },
};

const stateOf = (tenant) => tenant.state.replace("TENANT_STATE_", "");

function standing(tenant) {
  const name = stateOf(tenant);
  return [
    state(name),
    tenant.suspend_reason && `: ${tenant.suspend_reason}`,
    tenant.suspend_time && h("span", { class: "why quiet" }, "since ", when(tenant.suspend_time)),
  ];
}

function links({ tenant_id }) {
  const query = new URLSearchParams({ tenant: tenant_id });
  return h("div", { class: "acts" }, [["trainings", "Trainings"], ["usage", "Usage"], ["audit", "Audit log"]].map(([view, name]) =>
    h("a", { key: view, href: `#/${view}?${query}`, "aria-label": `${name} of ${tenant_id}` }, name)));
}

function changes(tenant, plans, act) {
  const name = tenant.tenant_id;
  const active = stateOf(tenant) === "ACTIVE";
  if (stateOf(tenant) === "DELETING") return h("span", { class: "quiet" }, "being removed");
  return acts(`Change ${name}`,
    button("Change …", () => act(changeTenant(tenant, plans), "The tenant was changed."), { "aria-label": `Change ${name}`, key: "change" }),
    active
      ? button("Suspend …", () => act(suspend(name), `${name} is suspended.`), { "aria-label": `Suspend ${name}`, key: "service" })
      : button("Resume …", () => act(resume(name), `${name} is served again.`), { "aria-label": `Resume ${name}`, key: "service" }),
    button("Delete …", () => act(remove(name), `${name} is being deleted.`), { "aria-label": `Delete ${name}`, key: "delete", class: "danger" }));
}

const planChoice = (plans, value) => ({ name: "plan", label: "Plan", value, options: plans.map((plan) => [plan.name, plan.name]) });
const weight = (value) => ({ name: "weight", label: "Weight", value, type: "number", hint: "Its share when tenants compete, 0.001 to 1,000." });

function makeTenant(plans) {
  return ask({
    title: "Make a tenant",
    fields: [
      { name: "tenant_id", label: "Name", required: true, hint: "Lower-case letters, digits and -." }, planChoice(plans), weight("1"),
    ],
    action: "Make it",
    act: (tenant) => call("FleetService", "CreateTenant", { tenant: { ...tenant, weight: Number(tenant.weight) } }),
  });
}

function changeTenant({ tenant_id, plan, weight: now }, plans) {
  return ask({
    title: `Change ${tenant_id}`,
    fields: [planChoice(plans, plan), weight(String(now))],
    action: "Change it",
    act: (tenant) => call("FleetService", "UpdateTenant", { tenant: { ...tenant, tenant_id, weight: Number(tenant.weight) } }),
  });
}

function suspend(tenant_id) {
  return ask({
    title: `Suspend ${tenant_id}?`,
    text: "Its new trainings, uploads and searches are refused, and what it has running is paused. Its keys still read, cancel and delete.",
    fields: [{ name: "reason", label: "Why", hint: "The tenant is told with each refused call." }],
    action: "Suspend it",
    danger: true,
    act: ({ reason }) => call("FleetService", "SuspendTenant", { tenant_id, reason }),
  });
}

function resume(tenant_id) {
  return ask({
    title: `Serve ${tenant_id} again?`,
    text: "What was paused with it goes on; what the tenant had paused itself stays so.",
    action: "Resume it",
    act: () => call("FleetService", "ResumeTenant", { tenant_id }),
  });
}

function remove(tenant_id) {
  return ask({
    title: `Delete ${tenant_id} for good?`,
    text: "Its trainings are cancelled, and its index, uploads, usage and keys removed, in the background. Nothing brings it back.",
    fields: [{ name: "confirm", label: `The tenant's name, to delete it: ${tenant_id}`, required: true }],
    action: "Delete it for good",
    danger: true,
    act: ({ confirm }) => {
      if (confirm !== tenant_id) throw new CallError({ code: "UNCONFIRMED", message: `The name typed is not ${tenant_id}; nothing was deleted.` });
      return call("FleetService", "DeleteTenant", { tenant_id });
    },
  });
}
