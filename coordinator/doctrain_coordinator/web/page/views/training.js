// One training, live: its state by a watch, what holds it, its documents, and what may be done with it.

import { call, CallError, session, stream } from "../api.js";
import { h, render } from "../dom.js";
import { hasEnded, left, moment, number, rate, took } from "../format.js";
import { cards, progress, trainingLink, trainingState, when, whole } from "../parts.js";
import { pause, poll } from "../poll.js";
import { trouble } from "../told.js";
import { actions } from "./actions.js";
import { Documents, documentRow } from "./documents.js";

const AGAIN_SECONDS = 2;

export const training = {
  title: (parameters) => `Training ${parameters.get("id") ?? ""}`,
  async start(place, { signal, parameters, refused }) {
    const id = parameters.get("id") ?? "";
    const tenant = session.role === "operator" ? parameters.get("tenant") ?? "" : "";
    const whom = { tenant, signal };
    const seen = { training: null, underWay: [], explained: null };
    const documents = new Documents(id, whom, () => draw());
    const draw = () => {
      if (signal.aborted || !seen.training) return;
      render(place, overview(seen, tenant), actions(seen.training, tenant, refused), holds(seen), underWay(seen), documents.drawn());
    };
    const watched = follow(id, whom, (message) => {
      seen.training = message.training;
      seen.underWay = message.under_way;
      if (hasEnded(message.training)) seen.explained = null;
      draw();
    });
    const polled = poll(signal, refused, async () => {
      const ended = seen.training !== null && hasEnded(seen.training);
      await documents.read();
      if (!ended) seen.explained = await call("TrainingService", "ExplainTraining", { training_task_id: id }, whom);
      draw();
      return !ended;
    });
    await Promise.all([watched, polled]);
  },
};

/** Tells each state until the last one; a stream that breaks is opened again where it was. */
async function follow(id, whom, heard) {
  let resume_position = "";
  while (!whom.signal.aborted) {
    try {
      for await (const message of stream("TrainingService", "WatchStatus", { training_task_id: id, resume_position }, whom)) {
        trouble("");
        resume_position = message.resume_position;
        if (message.training) heard(message);
        if (message.training && hasEnded(message.training)) return;
      }
    } catch (error) {
      if (whom.signal.aborted) return;
      if (error instanceof CallError && !error.passing) throw error;
      trouble("The connection broke. It is opened again.");
    }
    await pause(whom.signal, AGAIN_SECONDS);
  }
}

function overview({ training }, tenant) {
  const why = training.reason || training.waiting_reason;
  return h("section", { "aria-label": "State" },
    h("p", { class: "box" }, trainingState(training), " ", training.message),
    h("p", null, progress(training, true)),
    why && h("p", { id: "why" }, why),
    cards([
      ...(tenant ? [["Tenant", tenant]] : []),
      ["Trained", number(training.completed)],
      ["Failed", number(training.failed)],
      ["Running", number(training.in_progress)],
      ["Unchanged", number(training.unchanged)],
      ["Speed", training.documents_per_second > 0 ? whole(rate(training.documents_per_second)) : "–", true],
      ["Time", [took(training), left(training) && `, ${left(training)}`], true],
      ["Accepted", when(training.create_time), true],
      ["Ended", when(training.end_time), true],
      ["Trace", h("span", { class: "mono" }, training.trace_id || "not traced"), true],
      ...(training.retry_of ? [["Retry of", trainingLink(training.retry_of, tenant), true]] : []),
    ]));
}

function holds({ training, explained }) {
  if (!explained || hasEnded(training)) return null;
  return h("section", { "aria-label": "What holds it", key: "holds" },
    h("h2", null, "What holds it"),
    h("p", { class: "quiet" },
      `The plan allows ${number(explained.plan_slots)} slots (documents at once): this training holds ${number(explained.slots_in_use)}, `,
      `the tenant's others ${number(explained.slots_in_use_by_others)}. `,
      "A shard holds slots for what it may run, from when it is handed out, so that fewer documents may run than slots are held."),
    explained.holds.length
      ? h("ul", null, explained.holds.map((hold) => h("li", { key: hold.rule },
        hold.message, hold.until ? ` Until ${moment(hold.until)}.` : "", hold.advice && h("span", { class: "quiet" }, ` ${hold.advice}`),
        hold.ahead.length > 0 && h("ul", null, hold.ahead.map((ahead) =>
          h("li", { key: ahead.training_task_id }, `${ahead.training_task_id} uses ${number(ahead.slots)}`))))))
      : h("p", null, "Nothing holds it back."));
}

function underWay({ training, underWay: found }) {
  if (!found.length || hasEnded(training)) return null;
  return h("section", { "aria-label": "Under way", key: "under-way" },
    h("h2", null, "Under way for some seconds"),
    found.map((one) => documentRow(one)));
}
