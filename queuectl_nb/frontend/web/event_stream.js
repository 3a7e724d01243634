// Receives overviews of the queue through server-sent events, or by polling where those do not get through.

import { addressWithToken, getJson } from "./api.js";

const POLL_INTERVAL_MS = 2500;
const FIRST_EVENT_TIMEOUT_MS = 6000; // no event by then: a proxy is buffering the stream
const SILENCE_TIMEOUT_MS = 40000; // two heartbeats missed; the server sends one every 15 seconds
const MIN_RECONNECT_MS = 1000;
const MAX_RECONNECT_MS = 30000;

/**
 * Calls `onOverview(overview)`, `onTrouble(message)` when the queue cannot be read, and `onStatus(status)` with
 * "connecting", "live", "polling", "lost", "login" or "stopped" (by JupyterHub). Reconnects by itself; a hidden page sends no requests.
 */
export class EventStream {
  constructor({ onOverview, onTrouble, onStatus }) {
    this.callbacks = { onOverview, onTrouble, onStatus };
    this.reconnectDelay = MIN_RECONNECT_MS;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
    addEventListener("pagehide", () => this.stop());
    addEventListener("pageshow", (event) => event.persisted && this.start());
    addEventListener("online", () => this.start());
    this.start();
  }

  start() {
    this.stop();
    if (document.hidden) return;
    this.source = new EventSource(addressWithToken("api/events"));
    this.source.addEventListener("overview", (event) => this.received(() => this.callbacks.onOverview(JSON.parse(event.data))));
    this.source.addEventListener("trouble", (event) => this.received(() => this.callbacks.onTrouble(JSON.parse(event.data).error)));
    this.source.addEventListener("heartbeat", () => this.received(() => {}));
    this.source.addEventListener("error", () => this.failed());
    this.firstEventTimer = setTimeout(() => this.poll(), FIRST_EVENT_TIMEOUT_MS);
  }

  stop() {
    clearTimeout(this.reconnectTimer);
    clearTimeout(this.silenceTimer);
    this.stopPolling();
    this.source?.close();
  }

  stopPolling() {
    clearTimeout(this.firstEventTimer);
    clearTimeout(this.pollTimer);
    this.pollTimer = null;
    this.request?.abort();
  }

  received(show) {
    this.stopPolling();
    this.reconnectDelay = MIN_RECONNECT_MS;
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => this.silent(), SILENCE_TIMEOUT_MS);
    this.callbacks.onStatus("live");
    show();
  }

  /** The stream broke: poll meanwhile. The browser reconnects by itself unless the server refused the request. */
  failed() {
    clearTimeout(this.firstEventTimer);
    if (this.pollTimer === null) this.poll();
    if (this.source.readyState !== EventSource.CLOSED) return;
    clearTimeout(this.reconnectTimer);
    this.reconnectTimer = setTimeout(() => this.start(), this.reconnectDelay * (0.7 + Math.random() * 0.6));
    this.reconnectDelay = Math.min(this.reconnectDelay * 2, MAX_RECONNECT_MS);
  }

  /** The stream is dead but not closed, as behind the proxy of a hub that has stopped the server: connect again. */
  silent() {
    this.start();
    this.poll();
  }

  async poll() {
    clearTimeout(this.pollTimer);
    this.pollTimer = setTimeout(() => this.poll(), POLL_INTERVAL_MS);
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    try {
      const overview = await getJson("api/overview", {}, { signal: request.signal });
      if (request.signal.aborted) return;
      this.callbacks.onStatus("polling");
      this.callbacks.onOverview(overview);
    } catch (error) {
      if (request.signal.aborted) return;
      if (error.status === 403) this.callbacks.onStatus("login");
      else if (error.status === 424) this.callbacks.onStatus("stopped");
      else if (error.status === 503 && error.fromApi) this.callbacks.onTrouble(error.message);
      else this.callbacks.onStatus("lost");
    }
  }
}
