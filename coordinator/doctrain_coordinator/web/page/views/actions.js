// What may be done with a training, by its tenant or by an operator for it.

import { call } from "../api.js";
import { ask } from "../dialog.js";
import { h } from "../dom.js";
import { hasEnded } from "../format.js";
import { button } from "../parts.js";
import { tell } from "../told.js";

export function actions(training, tenant, refused) {
  const { training_task_id } = training;
  const act = async (method, said) => {
    try {
      await call("TrainingService", method, { training_task_id }, { tenant });
      tell(said);
    } catch (error) {
      refused(error);
    }
  };
  const ended = hasEnded(training);
  const retryable = training.failed > 0 || training.state === "TRAINING_STATE_CANCELLED" || training.state === "TRAINING_STATE_FAILED";
  return h("div", { class: "row", role: "group", "aria-label": "Actions" },
    !ended && !training.paused && button("Pause", () => act("PauseTraining", "It pauses: what runs ends by itself."), { key: "pause" }),
    !ended && training.paused && button("Resume", () => act("ResumeTraining", "It goes on."), { key: "resume" }),
    !ended && button("Cancel …", () => cancel(training_task_id, tenant), { key: "cancel", class: "danger" }),
    retryable && button("Retry what failed …", () => retry(training_task_id, tenant), { key: "retry" }));
}

async function cancel(training_task_id, tenant) {
  const done = await ask({
    title: "Cancel this training?",
    text: "It ends for good. What was trained stays; documents that are still open are not trained.",
    action: "Cancel the training",
    danger: true,
    act: () => call("TrainingService", "CancelTraining", { training_task_id }, { tenant }),
  });
  if (done) tell("The training was cancelled.");
}

async function retry(training_task_id, tenant) {
  const started = await ask({
    title: "Train what failed again?",
    text: "A new training of the documents that failed or were cancelled is started. This one stays as it is.",
    action: "Start it",
    act: () => call("TrainingService", "RetryFailedDocuments", { training_task_id }, { tenant }),
  });
  if (!started) return;
  const id = started.training.training_task_id;
  location.hash = `#/training?${new URLSearchParams(tenant ? { tenant, id } : { id })}`;
}
