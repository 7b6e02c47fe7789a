// Messages that the broker put aside.

import { call } from "../api.js";
import { render } from "../dom.js";
import { said, table, when } from "../parts.js";
import { poll } from "../poll.js";

const SECONDS = 10;

export const letters = {
  title: () => "Dead letters",
  start(place, { signal, refused }) {
    return poll(signal, refused, async () => {
      const { dead_letters: found } = await call("FleetService", "ListDeadLetters", { limit: 200 }, { signal });
      if (signal.aborted) return;
      render(place, table("Dead letters", ["Found", "Cause", "Shard", "What it means"], found.map((letter, at) => [
        `${letter.found_time} ${at}`, when(letter.found_time), letter.cause, letter.shard === "0" ? "–" : letter.shard, said(letter.explanation),
      ]), "No dead letters."));
    }, SECONDS);
  },
};
