// The operator's first look: who works, what waits, how fast it goes, and what runs.

import { call } from "../api.js";
import { Throughput } from "../chart.js";
import { h, render } from "../dom.js";
import { number, seconds, span } from "../format.js";
import { OPEN, cards, of, progress, said, table, trainingLink, trainingState } from "../parts.js";
import { poll } from "../poll.js";
import { workers } from "./workers.js";

const SHOWN = 20;

export const fleet = {
  title: () => "Fleet",
  start(place, { signal, refused }) {
    const throughput = new Throughput();
    return poll(signal, refused, async () => {
      const [fleet, queue, open, newest] = await Promise.all([
        call("FleetService", "ListWorkers", {}, { signal }),
        call("FleetService", "GetQueue", {}, { signal }),
        call("FleetService", "ListAllTrainings", { states: OPEN, page_size: 200 }, { signal }),
        call("FleetService", "ListAllTrainings", { page_size: 50 }, { signal }),
      ]);
      throughput.look([...open.trainings, ...newest.trainings].map(({ tenant_id, training }) => [
        `${tenant_id} ${training.training_task_id}`, training,
      ]));
      if (signal.aborted) return;
      render(place,
        fleet.health_alarm && h("p", { id: "alarm", class: "box error", role: "alert", key: "alarm" }, fleet.health_alarm),
        kept(queue) && h("p", { id: "intake-alarm", class: "box error", role: "alert", key: "intake" }, queue.intake_alarm),
        summary(fleet.workers),
        h("h2", null, "Throughput"),
        throughput.drawn(),
        h("h2", null, "Workers"),
        !fleet.registry_answered && h("p", { class: "quiet" }, "The registry does not answer: loads are not known. Work goes on without it."),
        workers(fleet, refused),
        h("h2", null, "Queue"),
        waiting(queue),
        h("h2", null, "Queue by tenant"),
        h("p", { class: "quiet" }, "A slot is room for one document at once; a tenant's plan says how many it has."),
        tenants(queue.tenants),
        h("h2", null, "Trainings that have not ended"),
        running(open.trainings),
        open.trainings.length > SHOWN && h("p", null, h("a", { href: "#/trainings" }, "All trainings")));
    });
  },
};

/** Whether work waits that no worker would take. */
const kept = (queue) => queue.intake_alarm && (queue.oldest_wait || Number(queue.dispatched_shards) > 0);

function summary(workers) {
  const there = workers.filter((worker) => worker.session_id !== "0");
  const sum = (field) => there.reduce((total, worker) => total + worker[field], 0);
  const silent = there.filter((worker) => worker.silence).length;
  const out = there.filter((worker) => ["UNFIT", "CORDONED", "DRAINING", "UNSUBSCRIBED"].includes(worker.health.replace("WORKER_HEALTH_", ""))).length;
  return cards([
    ["Workers", [number(there.length), silent > 0 && `, ${silent} silent`]],
    ["Kept from new work", number(out)],
    ["Lanes in use", of(sum("lanes_in_use"), sum("lanes"))],
    ["Slots in use", number(sum("slots_in_use"))],
  ], "Fleet");
}

const beside = (figure, said) => [figure, h("span", { class: "beside quiet" }, said)];

const pending = ({ pending_shards, paused_shards }) =>
  Number(paused_shards) > 0 ? beside(number(pending_shards), `of which ${number(paused_shards)} paused`) : number(pending_shards);

const unready = (queue) => Number(queue.pending_shards) > 0 ? "none may start yet" : "nothing waits";

/** The broker's figures stand beside ours: a shard that is handed out is a message there until a worker has taken it up. */
function waiting(queue) {
  return cards([
    ["Documents open", number(queue.open_documents)],
    ["Shards waiting", pending(queue)],
    ["Oldest wait", queue.oldest_wait ? span(seconds(queue.oldest_wait)) : unready(queue), !queue.oldest_wait],
    ["Shards handed out", beside(number(queue.dispatched_shards), Number(queue.broker_messages) < 0
      ? "the broker did not answer" : `${number(queue.broker_messages)} ready at the broker`)],
    ["Shards running", number(queue.running_shards)],
  ], "Queue");
}

function tenants(found) {
  const rows = found.map((tenant) => [
    tenant.tenant_id, tenant.tenant_id, pending(tenant), of(tenant.slots_in_use, tenant.slots),
  ]);
  return table("Queue by tenant", ["Tenant", "#Shards waiting", "#Slots"], rows, "No tenant has open work.");
}

function running(found) {
  const rows = found.slice(0, SHOWN).map(({ tenant_id, training }) => [
    `${tenant_id} ${training.training_task_id}`,
    trainingLink(training.training_task_id, tenant_id),
    tenant_id,
    trainingState(training),
    progress(training),
    number(training.failed),
    training.waiting_reason ? said(training.waiting_reason) : "",
  ]);
  const columns = ["Training", "Tenant", "State", "Progress", "#Failed", "Why it waits"];
  return table("Trainings that have not ended", columns, rows, "Every training has ended.");
}
