// Trainings, newest first: a tenant's own; an operator's choice of one tenant's or all.

import { call, session } from "../api.js";
import { h, render } from "../dom.js";
import { number, took } from "../format.js";
import { OPEN, pages, progress, table, tenantChoice, trainingLink, trainingState, when, whole } from "../parts.js";
import { poll } from "../poll.js";
import { listed } from "../tenants.js";

const PAGE = 50;

export const trainings = {
  title: () => "Trainings",
  async start(place, { signal, parameters, refused }) {
    const operates = session.role === "operator";
    const tenant = operates ? parameters.get("tenant") ?? "" : "";
    const names = operates ? (await listed(signal)).map((one) => one.tenant_id) : [];
    let openOnly = false;
    let tokens = [""];
    let again = () => {};
    const choose = (name) => (location.hash = name ? `#/trainings?${new URLSearchParams({ tenant: name })}` : "#/trainings");
    const turned = (pages) => {
      tokens = pages;
      again();
    };
    await poll(signal, refused, async function step() {
      again = () => step().catch(refused);
      const token = tokens.at(-1);
      const page = await read(operates, tenant, openOnly, token, signal);
      if (signal.aborted || token !== tokens.at(-1)) return;
      render(place,
        h("div", { class: "row" },
          operates && tenantChoice(names, tenant, "All tenants", choose),
          h("label", { class: "check" }, h("input", {
            type: "checkbox",
            on: { change: (event) => { openOnly = event.target.checked; turned([""]); } },
          }), "Only those that have not ended")),
        list(page.trainings, operates),
        pages(tokens, page.next_page_token, turned, ["Newer", "Older"]));
    });
  },
};

async function read(operates, tenant, openOnly, page_token, signal) {
  const request = { states: openOnly ? OPEN : [], page_size: PAGE, page_token };
  if (operates && !tenant) return call("FleetService", "ListAllTrainings", request, { signal });
  const page = await call("TrainingService", "ListTrainings", request, { tenant, signal });
  return { ...page, trainings: page.trainings.map((training) => ({ tenant_id: tenant, training })) };
}

function list(found, operates) {
  const rows = found.map(({ tenant_id, training }) => [
    `${tenant_id} ${training.training_task_id}`,
    trainingLink(training.training_task_id, tenant_id),
    ...(operates ? [tenant_id] : []),
    trainingState(training),
    progress(training),
    number(training.failed),
    when(training.create_time),
    whole(took(training)),
  ]);
  const columns = ["Training", ...(operates ? ["Tenant"] : []), "State", "Progress", "#Failed", "Accepted", "Took"];
  return table("Trainings", columns, rows, "No trainings.");
}
