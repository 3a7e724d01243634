// Page and kernel tell each other that they are there: the kernel sends nothing while nobody looks, and the page says
// so when its kernel is gone.

const BEAT = 2500; // milliseconds between two signs of life of the page
const FIRST_BEATS = [0, 150, 500, 1200]; // a page's first words may wait behind a cell that runs; later ones may not
const SILENCE = 10000; // milliseconds without a word of the kernel after which the page says so

/**
 * Keep up the exchange for one view. `model` is the widget's, `root` the view's element; `onState(state)` is told
 * "live", "waiting" (the kernel does not answer, it may be busy) or "gone". Messages to the kernel go through `send`;
 * `facts()` is what each sign of life tells besides.
 */
export class Pulse {
  constructor(model, root, onState, facts) {
    this.model = model;
    this.facts = facts;
    this.root = root;
    this.onState = onState;
    this.view = Math.random().toString(36).slice(2, 12);
    this.state = null;
    this.said = 0; // messages that waited behind a cell come late, and are told by their number
    this.heard = Date.now();
    this.onScreen = true;
    this.seen = false;
    this.closers = [];
    this.listen(document, "visibilitychange", () => this.beat());
    this.listen(window, "pagehide", () => this.send({ kind: "bye" }));
    const watcher = new IntersectionObserver((entries) => {
      this.onScreen = entries[entries.length - 1].isIntersecting;
      this.beat();
    });
    watcher.observe(root);
    this.closers.push(() => watcher.disconnect());
    const timer = setInterval(() => this.beat(), BEAT);
    const first = FIRST_BEATS.map((wait) => setTimeout(() => this.beat(), wait));
    this.closers.push(() => [timer, ...first].forEach(clearTimeout));
    const life = () => setTimeout(() => this.judge()); // the view is marked in the same moment
    model.on("comm_live_update", life);
    this.closers.push(() => model.off("comm_live_update", life));
  }

  listen(target, event, act) {
    target.addEventListener(event, act);
    this.closers.push(() => target.removeEventListener(event, act));
  }

  get visible() {
    return document.visibilityState === "visible" && this.onScreen;
  }

  send(message) {
    try {
      this.said += 1;
      this.model.send({ ...message, view: this.view, at: this.said });
    } catch {
      this.heard = 0; // the connection was closed under us
    }
  }

  beat() {
    const visible = this.visible;
    if (visible && !this.seen && this.state !== "gone") this.heard = Date.now(); // nothing was expected until now
    this.seen = visible;
    this.send({ kind: "beat", visible, ...this.facts() });
    this.judge();
  }

  /** Take note that the kernel has said something. */
  hear() {
    this.heard = Date.now();
    this.judge();
  }

  judge() {
    const kernel = this.kernelStatus();
    const ended = ["dead", "restarting", "autorestarting", "terminating"].includes(kernel);
    if (ended || this.root.closest(".jupyter-widgets-disconnected")) {
      this.heard = 0; // whatever kernel comes next: only a word of it makes us live again
      this.become("gone");
    } else if (!this.seen || Date.now() - this.heard < SILENCE) {
      if (this.heard) this.become("live");
    } else this.become(kernel === "idle" ? "gone" : "waiting");
  }

  /** What the notebook knows of its kernel; null where it does not tell. */
  kernelStatus() {
    const manager = this.model.widget_manager;
    if (!manager || !("kernel" in manager)) return null;
    return manager.kernel ? manager.kernel.status : "dead"; // it was shut down
  }

  become(state) {
    if (state === this.state) return;
    this.state = state;
    this.onState(state);
  }

  close() {
    this.send({ kind: "bye" });
    this.closers.forEach((act) => act());
  }
}
