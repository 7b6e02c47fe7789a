// Tenants and plans: who may do how much.

import { call } from "../api.js";
import { ask } from "../dialog.js";
import { h, render } from "../dom.js";
import { moment, number } from "../format.js";
import { button, table } from "../parts.js";
import { listed } from "../tenants.js";
import { tell } from "../told.js";

export const tenants = {
  title: () => "Tenants and plans",
  async start(place, { signal, refused }) {
    const draw = async () => {
      const [found, { plans }] = await Promise.all([listed(signal), call("FleetService", "ListPlans", {}, { signal })]);
      const after = async (asked, said) => {
        if (!(await asked)) return;
        tell(said);
        await draw();
      };
      const act = (asked, said) => after(asked, said).catch(refused);
      render(place,
        h("h2", null, "Tenants"),
        button("Make a tenant …", () => act(makeTenant(plans), "The tenant was made. It needs a key, too."), { class: "main" }),
        table("Tenants", ["Tenant", "Plan", "#Weight", "Made", "Trainings", ""], found.map((tenant) => [
          tenant.tenant_id, tenant.tenant_id, tenant.plan, String(tenant.weight), moment(tenant.create_time),
          h("a", { href: `#/trainings?${new URLSearchParams({ tenant: tenant.tenant_id })}`, "aria-label": `Trainings of ${tenant.tenant_id}` }, "Show"),
          button("Change …", () => act(changeTenant(tenant, plans), "The tenant was changed."), { "aria-label": `Change ${tenant.tenant_id}` }),
        ]), "No tenants."),
        h("h2", null, "Plans"),
        button("Make a plan …", () => act(putPlan(), "The plan was made."), { class: "main" }),
        table("Plans", ["Plan", "#Documents at once", "#Burst", "#Open trainings", ""], plans.map((plan) => [
          plan.name, plan.name, number(plan.slots), number(plan.burst_slots), number(plan.open_trainings),
          button("Change …", () => act(putPlan(plan), "The plan was changed."), { "aria-label": `Change ${plan.name}` }),
        ]), "No plans."));
    };
    await draw();
  },
};

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

function putPlan(plan) {
  const fields = [
    { name: "slots", label: "Documents at once, over all trainings of a tenant", value: plan?.slots ?? "", type: "number", required: true },
    {
      name: "burst_slots", label: "Documents at once while the machines bear it", value: plan?.burst_slots > plan?.slots ? plan.burst_slots : "",
      type: "number", hint: "Empty: never more.",
    },
    { name: "open_trainings", label: "Trainings that have not ended", value: plan?.open_trainings ?? 1000, type: "number", required: true },
  ];
  return ask({
    title: plan ? `Change the plan ${plan.name}` : "Make a plan",
    text: plan ? "It holds at once, for waiting work too." : "A plan of that name is replaced.",
    fields: plan ? fields : [{ name: "name", label: "Name", required: true }, ...fields],
    action: plan ? "Change it" : "Make it",
    act: (given) => call("FleetService", "PutPlan", {
      // A plan is put as a whole: what is not asked for here stays as it is.
      plan: {
        ...plan,
        name: plan?.name ?? given.name,
        slots: Number(given.slots),
        burst_slots: Number(given.burst_slots),
        open_trainings: Number(given.open_trainings),
      },
    }),
  });
}
