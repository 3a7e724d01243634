// Heartbeats between page and kernel: the kernel sends nothing to pages that are not visible, and the page shows when
// its kernel is gone. A page sends no heartbeats while a cell runs; it only reports what changes.

const CHECK_INTERVAL_MS = 2500;
const CHECKS_PER_HEARTBEAT = 2; // each heartbeat makes JupyterLab draw its indicator of the busy kernel twice
const FIRST_REPORTS_MS = [0, 150, 500, 1200]; // the first messages of a page may be delayed by a running cell
const KERNEL_TIMEOUT_MS = 10000;

/**
 * The heartbeats of one view. `model` is the widget's, `root` the view's element. `onState(state)` receives "live",
 * "waiting" (the kernel does not answer; it may be busy) or "gone". `send` sends messages to the kernel in order;
 * `fields()` returns what each heartbeat and report contains besides.
 */
export class Heartbeat {
  constructor(model, root, onState, fields) {
    this.model = model;
    this.fields = fields;
    this.root = root;
    this.onState = onState;
    this.view = Math.random().toString(36).slice(2, 12);
    this.state = null;
    this.sequence = 0; // lets the kernel ignore messages that a running cell delayed
    this.receivedAt = Date.now();
    this.onScreen = true;
    this.wasVisible = false;
    this.answered = false; // whether the kernel knows this view
    this.busy = false; // whether the kernel is running a cell
    this.checks = 0;
    this.cleanups = [];
    this.listen(document, "visibilitychange", () => this.reportVisibility());
    this.listen(window, "pagehide", () => this.send({ kind: "close" }));
    const observer = new IntersectionObserver((entries) => {
      this.onScreen = entries[entries.length - 1].isIntersecting;
      this.reportVisibility();
    });
    observer.observe(root);
    this.cleanups.push(() => observer.disconnect());
    const timer = setInterval(() => this.beat(), CHECK_INTERVAL_MS);
    const first = FIRST_REPORTS_MS.map((delay) => setTimeout(() => this.answered || this.report(), delay));
    this.cleanups.push(() => [timer, ...first].forEach(clearTimeout));
    const update = () => setTimeout(() => this.updateState()); // the view's class changes with the same event
    model.on("comm_live_update", update);
    this.cleanups.push(() => model.off("comm_live_update", update));
  }

  listen(target, event, handler) {
    target.addEventListener(event, handler);
    this.cleanups.push(() => target.removeEventListener(event, handler));
  }

  get visible() {
    return document.visibilityState === "visible" && this.onScreen;
  }

  /** Send what the user did: JupyterLab addresses it to a subshell, so that it is handled while a cell runs. */
  send(message) {
    this.transmit(message, (content) => this.model.send(content));
  }

  transmit(message, send) {
    try {
      this.sequence += 1;
      send({ ...message, view: this.view, sequence: this.sequence });
    } catch {
      this.receivedAt = 0; // the connection was closed
    }
  }

  /** Report visibility and fields, because they have changed. */
  report() {
    const visible = this.visible;
    if (visible && !this.wasVisible && this.state !== "gone") this.receivedAt = Date.now(); // the timeout starts now
    this.wasVisible = visible;
    this.send({ kind: "view", visible, ...this.fields() });
    this.updateState();
  }

  reportVisibility() {
    if (this.visible !== this.wasVisible) this.report();
  }

  beat() {
    this.checks += 1;
    if (!this.answered) this.report();
    else if (this.visible && !this.busy && this.checks % CHECKS_PER_HEARTBEAT === 0) {
      this.transmit({ kind: "heartbeat", visible: true, ...this.fields() }, (content) => this.sendToMainThread(content));
    }
    this.updateState();
  }

  /** Send a message without a subshell; other front ends than JupyterLab know none. */
  sendToMainThread(content) {
    const { kernel } = this.model.widget_manager ?? {};
    if (!kernel?.sendShellMessage) this.model.send(content);
    else {
      const { clientId: session, username } = kernel;
      const id = `${session}-${this.view}-${this.sequence}`;
      const header = { msg_id: id, msg_type: "comm_msg", session, username, date: new Date().toISOString(), version: "5.3" };
      kernel.sendShellMessage({
        channel: "shell",
        header: { ...header, subshell_id: null },
        parent_header: {},
        metadata: {},
        content: { comm_id: this.model.get("comm_id"), data: { method: "custom", content } },
        buffers: [],
      });
    }
  }

  /** Record that a message from the kernel arrived. */
  received({ view, busy }) {
    this.receivedAt = Date.now();
    this.answered ||= view === this.view;
    this.busy = busy ?? this.busy;
    this.updateState();
  }

  updateState() {
    const kernel = this.kernelStatus();
    const ended = ["dead", "restarting", "autorestarting", "terminating"].includes(kernel);
    if (ended || this.root.closest(".jupyter-widgets-disconnected")) {
      this.receivedAt = 0; // "live" again only after a message
      this.setState("gone");
    } else if (!this.wasVisible || Date.now() - this.receivedAt < KERNEL_TIMEOUT_MS) {
      if (this.receivedAt) this.setState("live");
    } else this.setState(kernel === "idle" ? "gone" : "waiting");
  }

  /** Return the status of the notebook's kernel; null if the front end does not provide it. */
  kernelStatus() {
    const manager = this.model.widget_manager;
    if (!manager || !("kernel" in manager)) return null;
    return manager.kernel ? manager.kernel.status : "dead"; // it was shut down
  }

  setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.onState(state);
  }

  close() {
    this.send({ kind: "close" });
    this.cleanups.forEach((cleanup) => cleanup());
  }
}
