// Documents a second over the last minutes, as a line with its scales.

import { h } from "./dom.js";
import { endedDocuments, rate, span } from "./format.js";

const SPAN_SECONDS = 180;
const MEAN_SECONDS = 20;
const LEAST_SECONDS = 3; // a mean of less says nothing
const WIDTH = 600;
const HEIGHT = 100;

/** Counts from one look to the next how many documents ended. */
export class Throughput {
  #counts = new Map();
  #ended = 0;
  #looks = []; // [second, how many had ended by then]

  /** Takes the trainings as they stand: `[key, training]`. One that was not seen before counts from now on. */
  look(trainings, now = performance.now() / 1000) {
    const seen = new Map();
    for (const [key, training] of trainings) {
      const count = endedDocuments(training);
      this.#ended += Math.max(0, count - (this.#counts.get(key) ?? count));
      seen.set(key, count);
    }
    this.#counts = seen;
    this.#looks = [...this.#looks.filter(([at]) => at >= now - SPAN_SECONDS - MEAN_SECONDS), [now, this.#ended]];
  }

  /** `[second, documents a second]`: at each look the mean of the seconds before it. */
  #points() {
    return this.#looks.map(([at, ended]) => {
      const [since, before] = this.#looks.findLast(([earlier]) => earlier <= at - MEAN_SECONDS) ?? this.#looks[0];
      return [at, at - since < LEAST_SECONDS ? null : (ended - before) / (at - since)];
    }).filter(([, value]) => value !== null);
  }

  drawn() {
    const [now, ended] = this.#looks.at(-1);
    const [since, before] = this.#looks[0];
    const points = this.#points().filter(([at]) => at >= now - SPAN_SECONDS);
    if (!points.length) return h("p", { class: "quiet", key: "plot" }, "It is counted from now on; the first figures come in some seconds.");
    const most = round(Math.max(...points.map(([, value]) => value)));
    const line = points
      .map(([at, value]) => `${(WIDTH * (1 - (now - at) / SPAN_SECONDS)).toFixed(1)},${(HEIGHT * (1 - value / most)).toFixed(1)}`)
      .join(" ");
    const told = `Now ${rate(points.at(-1)[1])} (the mean of ${span(MEAN_SECONDS)}); `
      + `${rate((ended - before) / (now - since))} in the mean of the last ${span(now - since)}, for as long as this page has looked.`;
    return h("figure", { class: "plot", key: "plot" },
      h("div", { class: "scale", "aria-hidden": "true" }, [most, most / 2, 0].map((value) => h("span", { key: value }, String(value)))),
      h("svg", {
        class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
        "aria-label": `Documents that ended a second, over the last ${span(SPAN_SECONDS)}. ${told}`,
      }, h("path", { class: "grid", d: `M0 ${HEIGHT / 2}H${WIDTH}` }), h("polyline", { points: line })),
      h("div", { class: "scale times", "aria-hidden": "true" }, [3, 2, 1].map((ago) => h("span", { key: ago }, `${ago} min ago`)), h("span", null, "now")),
      h("figcaption", { class: "quiet" }, h("strong", null, "Documents a second."), ` ${told}`));
  }
}

/** The next of 1, 2 and 5, or of them times a power of ten, that is no less. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}
