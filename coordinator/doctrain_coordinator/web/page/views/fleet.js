// The operator's first look: who works, what waits, how fast it goes, and what runs.

import { call } from "../api.js";
import { Throughput } from "../chart.js";
import { h, render } from "../dom.js";
import { moment, number, seconds, size, span } from "../format.js";
import { cards, progress, state, table, trainingLink, trainingState } from "../parts.js";
import { poll } from "../poll.js";

const SHOWN = 20;

export const fleet = {
  title: () => "Fleet",
  start(place, { signal, refused }) {
    const throughput = new Throughput();
    return poll(signal, refused, async () => {
      const [fleet, queue, open, newest] = await Promise.all([
        call("FleetService", "ListWorkers", {}, { signal }),
        call("FleetService", "GetQueue", {}, { signal }),
        call("FleetService", "ListAllTrainings", { open_only: true, page_size: 200 }, { signal }),
        call("FleetService", "ListAllTrainings", { page_size: 50 }, { signal }),
      ]);
      throughput.look([...open.trainings, ...newest.trainings].map(({ tenant_id, training }) => [
        `${tenant_id} ${training.training_task_id}`, training,
      ]));
      if (signal.aborted) return;
      render(place,
        summary(fleet.workers, queue),
        h("h2", null, "Throughput"),
        throughput.drawn(),
        h("h2", null, "Workers"),
        !fleet.registry_answered && h("p", { class: "quiet" }, "The registry does not answer: load and memory are not known."),
        workers(fleet.workers),
        h("h2", null, "Queue by tenant"),
        tenants(queue.tenants),
        h("h2", null, "Trainings that have not ended"),
        running(open.trainings),
        open.trainings.length > SHOWN && h("p", null, h("a", { href: "#/trainings" }, "All trainings")));
    });
  },
};

function summary(workers, queue) {
  const sum = (field) => workers.reduce((total, worker) => total + worker[field], 0);
  const silent = workers.filter((worker) => worker.silence).length;
  return cards([
    ["Workers", silent ? `${workers.length}, ${silent} silent` : number(workers.length)],
    ["Lanes in use", `${number(sum("lanes_in_use"))} of ${number(sum("lanes"))}`],
    ["Documents open", number(queue.open_documents)],
    ["Shards waiting", number(queue.pending_shards)],
    ["Shards handed out", number(queue.dispatched_shards)],
    ["Shards running", number(queue.running_shards)],
    ["Oldest wait", queue.oldest_wait ? span(seconds(queue.oldest_wait)) : "nothing waits", !queue.oldest_wait],
    ["Messages at the broker", Number(queue.broker_messages) < 0 ? "not known" : number(queue.broker_messages)],
  ]);
}

function workers(found) {
  const rows = found.map((worker) => [
    worker.session_id,
    worker.worker_id,
    health(worker),
    `${worker.lanes_in_use} of ${worker.lanes}`,
    number(worker.slots_in_use),
    worker.cpu < 0 ? "–" : `${Math.round(100 * worker.cpu)} %`,
    Number(worker.memory_bytes) < 0 ? "–" : size(Number(worker.memory_bytes)),
    worker.version || "–",
    worker.session_id,
    moment(worker.open_time),
  ]);
  const columns = ["Worker", "State", "#Lanes", "#Documents", "#CPU", "#Memory", "Version", "#Session", "Since"];
  return table("Workers", columns, rows, "No worker is in session: nothing is trained until one is started.");
}

function health(worker) {
  if (worker.silence) return [h("span", { class: "state bad" }, "silent"), ` for ${span(seconds(worker.silence))}`];
  if (worker.draining) return h("span", { class: "state wait" }, "draining");
  return [state("works"), worker.registered ? "" : h("span", { class: "quiet" }, " not in the registry")];
}

function tenants(found) {
  const rows = found.map((tenant) => [
    tenant.tenant_id, tenant.tenant_id, number(tenant.pending_shards), `${number(tenant.slots_in_use)} of ${number(tenant.slots)}`,
  ]);
  return table("Queue by tenant", ["Tenant", "#Shards waiting", "#Documents at once"], rows, "No tenant has open work.");
}

function running(found) {
  const rows = found.slice(0, SHOWN).map(({ tenant_id, training }) => [
    `${tenant_id} ${training.training_task_id}`,
    trainingLink(training.training_task_id, tenant_id),
    tenant_id,
    trainingState(training),
    progress(training),
    number(training.failed),
    training.waiting_reason || "",
  ]);
  const columns = ["Training", "Tenant", "State", "Progress", "#Failed", "Why it waits"];
  return table("Trainings that have not ended", columns, rows, "Every training has ended.");
}
