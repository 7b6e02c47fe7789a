// Two places where something is said: what was done, politely, and what is the matter, until it is over.

/** Says what was done; it stays for some seconds, or until another view comes, which says an empty sentence. */
let fading = 0;
export function tell(sentence) {
  const place = document.getElementById("told");
  place.textContent = sentence;
  clearTimeout(fading);
  fading = setTimeout(() => (place.textContent = ""), 8000);
}

/** Says what is the matter; an empty sentence: nothing is. Said once, however often it is found. */
export function trouble(sentence) {
  const place = document.getElementById("trouble");
  if (place.textContent !== sentence) place.textContent = sentence;
}
