// The workers: what each runs, how it is, why it is kept from new work, and the orders that take it out of work and back.

import { call } from "../api.js";
import { ask } from "../dialog.js";
import { h } from "../dom.js";
import { number, ONE_DIGIT, seconds, share, size, span } from "../format.js";
import { acts, button, state, table, when, whole } from "../parts.js";
import { tell } from "../told.js";

const REASON = { name: "reason", label: "Why, for people", hint: "Operators see it here." };
const KEPT_OUT = { UNFIT: "unfit", SPARED: "unfit", CORDONED: "cordoned", DRAINING: "draining", UNSUBSCRIBED: "cut off" };

export function workers({ workers: found, registry_answered }, refused) {
  const rows = found.map((worker) => [
    `${worker.worker_id} ${worker.session_id}`,
    worker.worker_id,
    standing(worker, registry_answered),
    orders(worker, found, refused),
    whole(`${worker.lanes_in_use} of ${worker.lanes}`),
    number(worker.slots_in_use),
    share(worker.cpu),
    whole(worker.memory_bytes < 0 ? "?" : size(worker.memory_bytes)),
    share(worker.memory_share),
    share(worker.disk_free_share),
    whole(worker.loop_lag_seconds < 0 ? "?" : `${ONE_DIGIT.format(worker.loop_lag_seconds)} s`),
    worker.documents_per_second < 0 ? "?" : ONE_DIGIT.format(worker.documents_per_second),
    share(worker.failure_share),
    worker.version || "?",
    when(worker.open_time),
  ]);
  const columns = [
    "Worker", "State", "Orders", "#Lanes", "#Slots", "#CPU", "#Memory", "#In use", "#Disk free", "#Lag", "#Docs/s (1 min)", "#Failing", "Version", "Since",
  ];
  return h("div", { class: "dense", key: "workers" },
    table("Workers", columns, rows, "No worker is connected: nothing is trained until one is started."));
}

const health = (worker) => worker.health.replace("WORKER_HEALTH_", "");

const isOrdered = (worker) => ["CORDONED", "DRAINING"].includes(health(worker));

const takesWork = (worker) => ["FIT", "SPARED"].includes(health(worker)) && worker.session_id !== "0" && !worker.silence && !worker.draining;

function standing(worker, registryAnswered) {
  const kept = KEPT_OUT[health(worker)];
  const told = [];
  if (kept) told.push(state(kept === "draining" && !worker.lanes_in_use && !worker.slots_in_use ? "DRAINED" : kept.toUpperCase()));
  if (health(worker) === "SPARED") told.push(", at work all the same");
  if (worker.session_id === "0") told.push(kept ? ", not connected" : state("NOT CONNECTED"));
  else if (worker.silence) told.push(kept ? ", " : "", h("span", { class: "state bad" }, `silent for ${span(seconds(worker.silence))}`));
  else if (worker.draining) told.push(kept ? ", " : "", h("span", { class: "state wait" }, "going away"));
  else if (!kept) told.push(worker.registered || !registryAnswered ? state("CONNECTED") : h("span", { class: "state wait" }, "not in the registry"));
  return [told, worker.health_reason && h("span", { class: "why quiet" }, worker.health_reason)];
}

function orders(worker, all, refused) {
  const name = worker.worker_id;
  const act = (asked, said) => asked.then((done) => done && tell(said)).catch(refused);
  const cordoning = ["Cordon …", `Cordon ${name}`, () => act(cordon(worker, all), `${name} takes no new work; what it has goes on.`)];
  const uncordoning = ["Uncordon …", `Uncordon ${name}`, () => act(uncordon(worker), `${name} takes work again, if it is well.`)];
  const draining = ["Drain …", `Drain ${name}`, () => act(drain(worker, all), `${name} hands its work back and takes no more.`)];
  // The keys say which button stays itself, and so keeps the focus, when an order stands.
  const [first, second] = isOrdered(worker) ? [uncordoning, health(worker) === "DRAINING" ? cordoning : draining] : [cordoning, draining];
  return acts(`Orders for ${name}`, [first, second].map(([text, label, click], at) => button(text, click, { "aria-label": label, key: at })));
}

/** Says so where no other worker would take new work. */
function alone(worker, all) {
  return all.some((other) => other.worker_id !== worker.worker_id && takesWork(other))
    ? "" : " No other worker takes new work: until one does, nothing more is started.";
}

function cordon(worker, all) {
  const { worker_id } = worker;
  return ask({
    title: `Cordon ${worker_id}?`,
    text: `It gets no new work; what it has goes on. That holds over its restarts, until it is uncordoned.${alone(worker, all)}`,
    fields: [REASON],
    action: "Cordon it",
    danger: true,
    act: ({ reason }) => call("FleetService", "CordonWorker", { worker_id, reason }),
  });
}

function uncordon({ worker_id, health_reason }) {
  return ask({
    title: `Uncordon ${worker_id}?`,
    text: `It takes work again, if it is well.${health_reason ? ` It was taken out: ${health_reason}` : ""}`,
    action: "Uncordon it",
    act: () => call("FleetService", "UncordonWorker", { worker_id }),
  });
}

function drain(worker, all) {
  const { worker_id } = worker;
  return ask({
    title: `Drain ${worker_id}?`,
    text: "It gets no new work and hands back what it has: documents that run may end within a time, what is left goes on elsewhere. "
      + `That holds over its restarts, until it is uncordoned.${alone(worker, all)}`,
    fields: [REASON, {
      name: "within", label: "Seconds for what runs", type: "number", hint: "What still runs then is stopped. Empty: as the coordinator is set.",
    }],
    action: "Drain it",
    danger: true,
    act: ({ reason, within }) => call("FleetService", "DrainWorker", { worker_id, reason, within: within ? `${within}s` : null }),
  });
}
