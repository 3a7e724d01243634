// The state of the page, kept in the fragment of its address, so that reloads, bookmarks and the Back button work.

const FIELDS = ["view", "state", "queue", "tag", "error", "q", "after", "job", "attempt"];

/** Return all fields of the current location; "" for fields that are not set. */
export function currentLocation() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(FIELDS.map((field) => [field, fragment.get(field) ?? ""]));
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
