// The queue at a glance as it changes: pushed where that works, asked for now and then where it does not.

import { ask } from "./api.js";

const POLL_MS = 2500;
const SILENT_MS = 6000; // without a first event by then, something on the way holds the feed back
const LONGEST_PAUSE_MS = 30000;

/**
 * Tells `onOverview(overview)`, `onTrouble(text)` (of the queue) and `onStatus(kind)`: connecting, live, polling, lost
 * or login. A server that restarts is found again; a hidden page asks nothing.
 */
export class Live {
  constructor({ onOverview, onTrouble, onStatus }) {
    this.tell = { onOverview, onTrouble, onStatus };
    this.pause = 1000;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
    addEventListener("pagehide", () => this.stop());
    addEventListener("pageshow", (event) => event.persisted && this.start());
    addEventListener("online", () => this.start());
    this.start();
  }

  start() {
    this.stop();
    if (document.hidden) return;
    this.feed = new EventSource("api/events");
    this.feed.addEventListener("overview", (event) => this.heard(() => this.tell.onOverview(JSON.parse(event.data))));
    this.feed.addEventListener("trouble", (event) => this.heard(() => this.tell.onTrouble(JSON.parse(event.data).error)));
    this.feed.addEventListener("error", () => this.failed());
    this.silence = setTimeout(() => this.poll(), SILENT_MS);
  }

  stop() {
    clearTimeout(this.silence);
    clearTimeout(this.polling);
    clearTimeout(this.again);
    this.polling = null;
    this.asking?.abort();
    this.feed?.close();
  }

  heard(show) {
    clearTimeout(this.silence);
    clearTimeout(this.polling);
    this.polling = null;
    this.asking?.abort();
    this.pause = 1000;
    this.tell.onStatus("live");
    show();
  }

  /** The feed broke off: the browser tries again by itself, unless the server refused; meanwhile we ask. */
  failed() {
    clearTimeout(this.silence);
    if (this.polling === null) this.poll();
    if (this.feed.readyState !== EventSource.CLOSED) return;
    clearTimeout(this.again);
    this.again = setTimeout(() => this.start(), this.pause * (0.7 + Math.random() * 0.6));
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
  }

  async poll() {
    clearTimeout(this.polling);
    this.polling = setTimeout(() => this.poll(), POLL_MS);
    this.asking?.abort();
    const asking = new AbortController();
    this.asking = asking;
    try {
      const overview = await ask("api/overview", {}, { signal: asking.signal });
      if (asking.signal.aborted) return;
      this.tell.onStatus("polling");
      this.tell.onOverview(overview);
    } catch (error) {
      if (asking.signal.aborted) return;
      if (error.status === 403) this.tell.onStatus("login");
      else if (error.status === 503) this.tell.onTrouble(error.message);
      else this.tell.onStatus("lost");
    }
  }
}
