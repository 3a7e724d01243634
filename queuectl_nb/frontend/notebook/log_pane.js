// The dashboard's log: the output of the chosen job, followed while it is written.

import { el, setText } from "./dom.js";
import { LogView } from "./log.js";
import { size, visible } from "./format.js";

/** One view of the log in a page. */
class LogPane {
  constructor(model, root) {
    this.model = model;
    this.title = el("span", { class: "qc-log-title", text: "Log" });
    this.state = el("span", { class: "qc-state", hidden: true });
    this.attempt = this.select("Attempt", [["", "newest attempt"]], (value) =>
      model.send({ kind: "attempt", number: value ? Number(value) : null }),
    );
    this.stream = this.select(
      "Stream",
      [
        ["", "stdout and stderr"],
        ["stdout", "stdout"],
        ["stderr", "stderr"],
      ],
      (value) => this.log.show(value || null),
    );
    this.follow = el("input", { type: "checkbox", checked: true });
    this.follow.addEventListener("change", () => {
      this.log.follow = this.follow.checked;
    });
    const box = el("div");
    this.head = el(
      "div",
      { class: "qc-log-head" },
      this.title,
      this.state,
      el("span", { class: "qc-space" }),
      this.attempt,
      this.stream,
      el("label", { class: "qc-check" }, this.follow, "Follow"),
    );
    root.classList.add("qc-log-pane");
    root.replaceChildren(this.head, box);
    this.log = new LogView(box, {
      label: "Log of the chosen job",
      onFollow: (value) => {
        this.follow.checked = value;
      },
    });
    this.log.say("Choose a job to see what it writes.");
    this.hear = (message) => this.take(message);
    model.on("msg:custom", this.hear);
    // the first words may wait behind a cell that runs; later ones may not
    this.greeting = setInterval(() => model.send({ kind: "hello" }), 700);
    model.send({ kind: "hello" });
  }

  select(label, options, act) {
    const node = el("select", { class: "qc-select", "aria-label": label, on: { change: () => act(node.value) } });
    node.append(...options.map(([value, text]) => el("option", { value, text })));
    return node;
  }

  take(message) {
    if (message.kind !== "log") return;
    clearInterval(this.greeting);
    if (message.reset) {
      this.log.reset();
      setText(this.title, message.job ? `Log of ${visible(message.job)}` : "Log");
      this.offer(message);
    }
    if (message.attempts !== this.attempts) this.offer(message);
    if (message.skipped) this.log.append("stdout", `… ${size(message.skipped)} not shown here …\n`);
    for (const [stream, text] of message.pieces) this.log.append(stream, text);
    this.log.say(message.note);
    this.state.hidden = !message.state;
    setText(this.state, message.state || "");
    this.state.className = `qc-state qc-is-${message.state}`;
  }

  /** Offer the attempts that there are. */
  offer({ attempts, chosen }) {
    this.attempts = attempts;
    const numbers = [...Array(Math.min(attempts, 200)).keys()].map((place) => attempts - place);
    this.attempt.replaceChildren(
      el("option", { value: "", text: attempts ? `newest of ${attempts}` : "newest attempt" }),
      ...numbers.map((number) => el("option", { value: String(number), text: `attempt ${number}` })),
    );
    this.attempt.value = chosen ? String(chosen) : "";
  }

  close() {
    this.model.off("msg:custom", this.hear);
    clearInterval(this.greeting);
    this.log.close();
  }
}

export default {
  render({ model, el: root }) {
    const pane = new LogPane(model, root);
    return () => pane.close();
  },
};
