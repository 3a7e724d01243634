// Questions to the server, by addresses relative to the page: it may lie below any prefix.

/** What the server refused, with its status and its own words. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

const kept = new Map(); // by address: the tag and the answer that goes with it
const MOST_KEPT = 50;

/** Return the answer of an address below the page; what was asked before and has not changed is not sent again. */
export async function ask(address, parameters = {}, { signal, keep = true } = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value != null));
  const target = query.size ? `${address}?${query}` : address;
  const known = kept.get(target);
  const response = await send(target, { headers: known ? { "If-None-Match": known.tag } : {}, signal });
  if (response.status === 304) {
    await response.text(); // or the browser counts it as broken off
    return known.answer;
  }
  const answer = await response.json();
  const tag = response.headers.get("Etag");
  kept.delete(target);
  if (tag && keep) kept.set(target, { tag, answer });
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  return answer;
}

/** Return the headers that an address would answer with. */
export async function headersOf(address, parameters, { signal }) {
  const response = await send(`${address}?${new URLSearchParams(parameters)}`, { method: "HEAD", signal });
  await response.text();
  return response.headers;
}

async function send(target, options) {
  const response = await fetch(target, { cache: "no-store", credentials: "same-origin", ...options });
  if (response.redirected) throw new Refused(403, "led to a login");
  if (!response.ok && response.status !== 304) throw new Refused(response.status, await reason(response));
  return response;
}

/** Return why the server refused, in its own words where it gives some. */
async function reason(response) {
  try {
    return (await response.json()).error || response.statusText;
  } catch {
    return response.statusText || `status ${response.status}`;
  }
}
