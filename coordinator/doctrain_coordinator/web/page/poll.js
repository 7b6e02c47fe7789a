// Asking again and again while somebody looks: every 2 seconds, less often while it fails, seldom while the page is hidden.

import { CallError } from "./api.js";
import { trouble } from "./told.js";

const SECONDS = 2;
const LONGEST_SECONDS = 30;
const HIDDEN_SECONDS = 60;

/** Repeats `step` until the signal, or until it answers false: nothing will change any more. `refused` hears an error that no repetition mends. */
export async function poll(signal, refused, step, seconds = SECONDS) {
  let failures = 0;
  while (!signal.aborted) {
    try {
      const goesOn = await step();
      failures = 0;
      trouble("");
      if (goesOn === false) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof CallError) || !error.passing) {
        refused(error);
        return;
      }
      failures += 1;
      trouble(`${error.message} It is asked again.`);
    }
    await pause(signal, Math.min(LONGEST_SECONDS, seconds * 2 ** failures));
  }
}

/** Waits, longer while the page is hidden; being shown again, or the signal, ends it. */
export function pause(signal, seconds) {
  return new Promise((resolve) => {
    let timer = 0;
    const end = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", again);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const again = () => {
      clearTimeout(timer);
      if (document.hidden) timer = setTimeout(end, HIDDEN_SECONDS * 1000);
      else end();
    };
    timer = setTimeout(end, (document.hidden ? Math.max(seconds, HIDDEN_SECONDS) : seconds) * 1000);
    document.addEventListener("visibilitychange", again);
    signal.addEventListener("abort", end);
  });
}
