// Values as people read them: the words, times and sizes of the command line.

const ENDED = new Set(["COMPLETED", "COMPLETED_WITH_FAILURES", "FAILED", "CANCELLED"]);
const LOOKS = {
  ACTIVE: "good", SUSPENDED: "wait", DELETING: "bad",
  CONNECTED: "good", UNFIT: "bad", CORDONED: "wait", DRAINING: "wait", DRAINED: "wait", "CUT OFF": "bad", "NOT CONNECTED": "wait", "IN FORCE": "good", EXPIRED: "bad", REVOKED: "wait",
  COMPLETED: "good", COMPLETED_WITH_FAILURES: "bad", FAILED: "bad", QUEUED: "wait", PAUSED: "wait", CANCELLED: "wait" };
const NUMBER = new Intl.NumberFormat("en");
export const ONE_DIGIT = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** 64-bit numbers come as strings. */
export const number = (value) => NUMBER.format(Number(value));

/** The name of a state without what all have in common, such as COMPLETED. */
export const stateName = (state) => state.replace(/^[A-Z]+_STATE_/, "");

export const words = (name) => name.toLowerCase().replaceAll("_", " ");

export const look = (name) => LOOKS[name] ?? "";

export const hasEnded = (training) => ENDED.has(stateName(training.state));

export const endedDocuments = (training) => training.completed + training.failed;

export const rate = (value) => `${ONE_DIGIT.format(value)} documents/s`;

/** Of "12.5s", as JSON tells durations. */
export const seconds = (duration) => (duration ? Number.parseFloat(duration) : null);

/** Such as 0.4 s, 35 s, 2 min 5 s or 3 h 20 min. */
export function span(value) {
  if (value === null || Number.isNaN(value)) return "–";
  if (value < 10) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A time in this machine's zone; a dash when it is not set. */
export function moment(timestamp) {
  return timestamp ? new Date(timestamp).toLocaleString("sv-SE", { timeZoneName: "short" }) : "–";
}

export function size(bytes) {
  bytes = Number(bytes);
  for (const [unit, factor] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (bytes >= factor) return `${ONE_DIGIT.format(bytes / factor)} ${unit}`;
  }
  return `${number(bytes)} bytes`;
}

/** A share of one, as a percentage; a question mark where it is not known. */
export const share = (value) => (value < 0 ? "?" : `${Math.round(100 * value)} %`);

/** How long a training has run since it started, or took. */
export function took(training, now = Date.now()) {
  if (!training.start_time) return "–";
  const until = training.end_time ? Date.parse(training.end_time) : now;
  return span(Math.max(0, until - Date.parse(training.start_time)) / 1000);
}

/** How much is left of a training that runs; empty where that is not known. */
export function left(training) {
  if (training.paused || hasEnded(training) || !(training.documents_per_second > 0) || !training.sealed) return "";
  return `about ${span((training.total - endedDocuments(training)) / training.documents_per_second)} left`;
}
