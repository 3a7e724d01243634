// What is looked at, as the address has it behind "#": a reload, a bookmark and the Back button lead there again.

const FIELDS = ["view", "state", "queue", "q", "after", "job", "attempt"];

/** Return where the page is: every field, "" where it is not given. */
export function here() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(FIELDS.map((field) => [field, given.get(field) ?? ""]));
}

/** Return the address of a place. */
export function addressOf(place) {
  const given = new URLSearchParams(FIELDS.filter((field) => place[field]).map((field) => [field, place[field]]));
  return `#${given}`;
}

/** Go to a place that differs from here in `changes`; `replace` leaves no step behind for the Back button. */
export function go(changes, { replace = false } = {}) {
  const address = addressOf({ ...here(), ...changes });
  if (address === addressOf(here())) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  dispatchEvent(new Event("placechange"));
}

/** Call `show(place)` now and whenever the place has changed. */
export function watch(show) {
  const changed = () => show(here());
  addEventListener("placechange", changed);
  addEventListener("popstate", changed);
  addEventListener("hashchange", changed);
  changed();
}
