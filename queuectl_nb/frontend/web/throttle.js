// Limits how often a view reloads while the queue keeps changing.

/** Calls `reload()` on changes; a change during a reload or the pause after it is handled when the pause ends. */
export class Throttle {
  constructor(reload) {
    this.reload = reload;
    this.busy = false; // reloading or pausing
    this.pending = false; // something changed meanwhile
  }

  /** Something changed: reload now, or after the pause. */
  notify() {
    if (this.busy) this.pending = true;
    else this.reload();
  }

  /** A reload begins; it sees all changes so far. */
  begin() {
    clearTimeout(this.timer);
    this.busy = true;
    this.pending = false;
  }

  /** Wait this many milliseconds before the next reload. */
  pause(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.busy = false;
      if (this.pending) this.reload();
    }, wait);
  }
}
