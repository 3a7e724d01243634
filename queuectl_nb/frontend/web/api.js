// Requests to the API, by addresses relative to the page, which may be served below any prefix.

const XSRF_TOKEN = document.querySelector("meta[name=xsrf-token]").content; // empty if the server requires none

/** An error response: its HTTP status and message; `fromApi` is false if a proxy or a hub responded instead. */
export class ApiError extends Error {
  constructor(status, text, fromApi = false) {
    super(text);
    this.status = status;
    this.fromApi = fromApi;
  }
}

/** Return the address for requests that cannot send headers. */
export function addressWithToken(address) {
  return XSRF_TOKEN ? `${address}?${new URLSearchParams({ _xsrf: XSRF_TOKEN })}` : address;
}

const cache = new Map(); // address -> ETag and body
const MAX_CACHED = 50;

/** Return the JSON body of an address; an unchanged one comes from the cache. A list is a repeated parameter. */
export async function getJson(address, parameters = {}, { signal, cached = true } = {}) {
  const pairs = Object.entries(parameters).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));
  const query = new URLSearchParams(pairs.filter(([, value]) => value !== "" && value != null));
  const target = query.size ? `${address}?${query}` : address;
  const entry = cache.get(target);
  const response = await send(target, { headers: entry ? { "If-None-Match": entry.etag } : {}, signal });
  if (response.status === 304) {
    await response.text(); // otherwise the browser reports the request as aborted
    return entry.body;
  }
  const body = await response.json();
  const etag = response.headers.get("Etag");
  cache.delete(target);
  if (etag && cached) cache.set(target, { etag, body });
  if (cache.size > MAX_CACHED) cache.delete(cache.keys().next().value);
  return body;
}

/** Return the response headers of an address. */
export async function getHeaders(address, parameters, { signal }) {
  const response = await send(`${address}?${new URLSearchParams(parameters)}`, { method: "HEAD", signal });
  await response.text();
  return response.headers;
}

async function send(target, { headers, signal, method }) {
  const options = { cache: "no-store", credentials: "same-origin", signal, method };
  const response = await fetch(target, { ...options, headers: XSRF_TOKEN ? { ...headers, "X-XSRFToken": XSRF_TOKEN } : headers });
  if (response.ok && response.redirected) throw new ApiError(403, "login required");
  if (!response.ok && response.status !== 304) throw await apiError(response);
  return response;
}

async function apiError(response) {
  const { error } = await response.json().catch(() => ({}));
  return new ApiError(response.status, error || response.statusText || `status ${response.status}`, Boolean(error));
}
