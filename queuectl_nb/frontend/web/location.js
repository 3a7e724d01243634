// The state of the page, kept in the fragment of its address, so that reloads, bookmarks and the Back button work.

const FIELDS = ["view", "state", "queue", "tag", "error", "q", "after", "job", "attempt"];

/** Return all fields of the current location; "" for fields that are not set. Several states have commas between them. */
export function currentLocation() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(FIELDS.map((field) => [field, fragment.get(field) ?? ""]));
}

/** Return the states of a location with this one added or, if it is one of them, removed; "" means any. */
export function toggleState(states, state) {
  const chosen = states ? states.split(",") : [];
  return state && (chosen.includes(state) ? chosen.filter((each) => each !== state) : [...chosen, state]).join(",");
}

/** Return the address of a location. */
export function hrefOf(fields) {
  return `#${new URLSearchParams(FIELDS.filter((field) => fields[field]).map((field) => [field, fields[field]]))}`;
}

/** Change some fields of the location; `replace` adds no entry to the history. */
export function navigate(changes, { replace = false } = {}) {
  const address = hrefOf({ ...currentLocation(), ...changes });
  if (address === hrefOf(currentLocation())) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  dispatchEvent(new Event("locationchange"));
}

/** Call `show(location)` now and after each change. */
export function onNavigate(show) {
  const changed = () => show(currentLocation());
  for (const event of ["locationchange", "popstate", "hashchange"]) addEventListener(event, changed);
  changed();
}
