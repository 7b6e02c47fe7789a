// What was used, by day of UTC: a tenant's own; for an operator one tenant's by day, or the sum of each tenant.

import { call, session } from "../api.js";
import { h, render } from "../dom.js";
import { number, seconds, size, span } from "../format.js";
import { said, table, tenantChoice, whole } from "../parts.js";
import { listed } from "../tenants.js";

const COLUMNS = ["#Trained", "#Unchanged", "#Failed", "#Pages", "#Bytes", "Time of stages"];
const MOST_TENANTS = 100;
const COUNTS = ["trained", "unchanged", "failed", "pages"];

export const usage = {
  title: () => "Usage",
  async start(place, { signal, parameters, refused }) {
    const operates = session.role === "operator";
    const names = operates ? (await listed(signal)).map((one) => one.tenant_id) : [];
    const tenant = parameters.get("tenant") ?? "";
    const summed = operates && !tenant;
    const today = new Date().toISOString().slice(0, 10);
    const period = { first_day: `${today.slice(0, 8)}01`, last_day: today };
    let [found, fault] = [[], ""]; // [name, days] of each tenant that is looked at
    const draw = () => !signal.aborted && render(place,
      h("form", { class: "row", on: { submit } },
        operates && tenantChoice(names, tenant, "All tenants", (name) => (location.hash = `#/usage?${new URLSearchParams({ tenant: name })}`)),
        day("First day, of UTC", "first_day", period.first_day), day("Last day, included", "last_day", period.last_day),
        h("button", { type: "submit", class: "main" }, "Show")),
      h("p", { id: "fault", class: "error", role: "alert" }, fault),
      summed ? byTenant(found) : byDay(found[0]?.[1] ?? []),
      summed && names.length > MOST_TENANTS && h("p", { class: "quiet" }, `The first ${MOST_TENANTS} tenants are shown; choose one to see another.`));
    const read = async () => {
      try {
        found = operates ? await of(summed ? names.slice(0, MOST_TENANTS) : [tenant], period, signal) : [["", await own(period, signal)]];
        fault = "";
      } catch (error) {
        if (error.code !== "INVALID_ARGUMENT") throw error;
        [found, fault] = [[], error.message];
      }
      draw();
    };
    const submit = (event) => {
      event.preventDefault();
      Object.assign(period, Object.fromEntries(["first_day", "last_day"].map((name) => [name, event.target.elements[name].value])));
      read().catch(refused);
    };
    await read();
  },
};

const own = async (period, signal) => (await call("TrainingService", "GetUsage", { period }, { signal })).days;

async function of(names, period, signal) {
  const found = [];
  for (const tenant_id of names) found.push([tenant_id, (await call("FleetService", "GetTenantUsage", { tenant_id, period }, { signal })).days]);
  return found;
}

function day(label, name, value) {
  return h("label", { key: name }, h("span", null, label), h("input", { type: "date", name, value, required: true }));
}

function byTenant(found) {
  const rows = found.map(([name, days]) => [name, h("a", { href: `#/usage?${new URLSearchParams({ tenant: name })}` }, name), ...told(days)]);
  return table("Usage by tenant", ["Tenant", ...COLUMNS], rows, "No tenants.");
}

function byDay(days) {
  const rows = days.map((one) => [one.day, whole(one.day), ...told([one])]);
  if (days.length > 1) rows.push(["all", "All", ...told(days)]);
  return table("Usage by day", ["Day", ...COLUMNS], rows, "Nothing was used in these days.");
}

function told(days) {
  const stages = {};
  for (const { stage, duration } of days.flatMap((one) => one.stages)) stages[stage] = (stages[stage] ?? 0) + seconds(duration);
  const sum = (field) => days.reduce((total, one) => total + Number(one[field]), 0);
  const took = Object.entries(stages).sort().map(([stage, spent]) => `${stage} ${span(spent)}`);
  return [...COUNTS.map((field) => number(sum(field))), whole(size(sum("bytes"))), said(took.join(", "))];
}
