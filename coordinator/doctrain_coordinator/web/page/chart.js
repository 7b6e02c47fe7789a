// Documents a second over the last minutes, as a line.

import { h } from "./dom.js";
import { endedDocuments, rate } from "./format.js";

const MOST_POINTS = 90;
const WIDTH = 600;
const HEIGHT = 100;

/** Counts from one look to the next how many documents ended. */
export class Throughput {
  #ended = new Map();
  #at = 0;
  #points = [];

  /** Takes the trainings as they stand: `[key, training]`. One that was not seen before counts from now on. */
  look(trainings, now = performance.now()) {
    let ended = 0;
    const seen = new Map();
    for (const [key, training] of trainings) {
      const count = endedDocuments(training);
      ended += Math.max(0, count - (this.#ended.get(key) ?? count));
      seen.set(key, count);
    }
    if (this.#at) this.#points = [...this.#points, (1000 * ended) / (now - this.#at)].slice(-MOST_POINTS);
    this.#ended = seen;
    this.#at = now;
  }

  get latest() {
    return this.#points.at(-1) ?? 0;
  }

  drawn() {
    const most = Math.max(1, ...this.#points);
    const first = MOST_POINTS - this.#points.length;
    const line = this.#points
      .map((point, at) => `${(((first + at) / (MOST_POINTS - 1)) * WIDTH).toFixed(1)},${(HEIGHT - 4 - (point / most) * (HEIGHT - 8)).toFixed(1)}`)
      .join(" ");
    return h("figure", { class: "row" },
      h("svg", {
        class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
        "aria-label": `Documents that ended a second; now ${rate(this.latest)}, at most ${rate(Math.max(0, ...this.#points))}.`,
      }, h("polyline", { points: line })),
      h("figcaption", { class: "quiet" }, `Now ${rate(this.latest)}; highest here ${rate(Math.max(0, ...this.#points))}.`));
  }
}
