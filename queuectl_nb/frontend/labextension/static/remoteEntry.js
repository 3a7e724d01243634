// JupyterLab extension: a launcher tile and a palette command that open the web page, and what notebooks need to show
// cards and saved dashboards.
// JupyterLab loads extensions as module federation containers, objects with init(scope) and get(module). This one is
// written by hand, so there is no build step. JupyterLab's own packages come from the shared scope.
(() => {
  const COMMAND = "queuectl:open";
  const DASHBOARD = "application/vnd.queuectl.dashboard+json"; // as in dashboard.py
  const WIDGET = "application/vnd.jupyter.widget-view+json";
  const BUTTONS = "queuectl.card"; // as in display_hook.py
  const SUBSHELL_MS = 2000;
  const FIND_WIDGET_MS = 500;
  const ICON =
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#0a58ca"/>' +
    '<g fill="#fff"><rect x="7" y="8" width="18" height="4" rx="2"/><rect x="7" y="14" width="13" height="4" rx="2"/>' +
    '<rect x="7" y="20" width="8" height="4" rx="2"/><path d="M19 19.5v6.2a.6.6 0 0 0 .9.5l5.2-3.1a.6.6 0 0 0 0-1l-5.2-3.1a.6.6 0 0 0-.9.5z"/></g></svg>';
  let shared = {};

  /** Return one of JupyterLab's packages; undefined if the application does not have it. */
  async function importShared(name) {
    const versions = Object.values(shared[name] ?? {});
    const found = versions.find(({ loaded }) => loaded) ?? versions[0];
    return found && (await found.get())();
  }

  /** Show a dashboard as a widget once the kernel has it; until then, the saved table. */
  async function notebooks() {
    const [notebook, widgets] = await Promise.all([importShared("@jupyterlab/notebook"), importShared("@lumino/widgets")]);
    const optional = [notebook?.INotebookTracker].filter(Boolean);

    class Dashboard extends widgets.Panel {
      constructor(rendermime, hasWidget) {
        super();
        Object.assign(this, { rendermime, hasWidget });
      }

      async renderModel(model) {
        clearInterval(this.search);
        const { model_id: id } = model.data[WIDGET];
        if (this.hasWidget(id)) return this.draw(WIDGET, model);
        this.search = setInterval(() => {
          if (!this.hasWidget(id)) return;
          clearInterval(this.search);
          void this.draw(WIDGET, model);
        }, FIND_WIDGET_MS);
        return this.draw("text/html", model);
      }

      async draw(type, model) {
        for (const child of [...this.widgets]) child.dispose();
        const content = this.rendermime.createRenderer(type);
        this.addWidget(content);
        await content.renderModel(model);
      }

      dispose() {
        clearInterval(this.search);
        super.dispose();
      }
    }

    /** Add the style sheet of cards to the page: the output that carries it may be deleted. */
    async function addStyles({ baseUrl }) {
      const folder = new URL("queuectl/static/shared/", new URL(baseUrl, location.href));
      const answers = await Promise.all(["palette.css", "cards.css"].map((name) => fetch(new URL(name, folder))));
      if (!answers.every(({ ok }) => ok)) return; // the server has no extension
      const style = document.createElement("style");
      const sheets = await Promise.all(answers.map((answer) => answer.text()));
      style.textContent = sheets.join("\n").replaceAll(".queuectl-ui", ":is(.queuectl, #qc)"); // as in card_parts.py
      document.head.append(style);
    }

    /** Send a message to the cards of a kernel. */
    async function tell(kernel, data, answered = () => {}) {
      const comm = kernel.createComm(BUTTONS);
      comm.onClose = ({ content }) => answered(content.data.accepted);
      // in a subshell it is handled while a cell runs; the promise is never settled if a setting forbids subshells
      const started = Promise.race([comm.subshellStarted, new Promise((resolve) => setTimeout(resolve, SUBSHELL_MS))]);
      if (kernel.supportsSubshells) await started.catch(() => {});
      comm.open(data);
    }

    /** Let the kernel do what the buttons on live cards say; elsewhere cards have no buttons. */
    function connectButtons(tracker) {
      const find = ({ target }) => target.closest?.(".queuectl button[data-qc-card]");
      const selector = (button) => button && `button${["card", "action", "error"].map((name) => `[data-qc-${name}="${CSS.escape(button.getAttribute(`data-qc-${name}`))}"]`).join("")}`;
      let pressed, focused;

      async function press(button) {
        const panel = tracker.find(({ node }) => node.contains(button)) ?? tracker.currentWidget;
        const kernel = panel?.sessionContext.session?.kernel;
        const refuse = () => {
          const note = document.createElement("span");
          note.textContent = "Run the cell again to use its buttons.";
          button.closest(".qc-actions")?.replaceChildren(note);
        };
        if (!kernel) return refuse();
        const { qcCard: card, qcAction: action, qcError: error } = button.dataset;
        void tell(kernel, { card, action, error }, (accepted) => accepted || refuse());
      }

      const keepFocus = new MutationObserver(() => document.activeElement === document.body && document.querySelector(focused)?.focus({ preventScroll: true }));
      // a card is redrawn once a second: between press and release of a button, and while it has the focus
      document.addEventListener("pointerdown", (event) => {
        pressed = event.button === 0 && selector(find(event));
        if (!pressed) keepFocus.disconnect();
      });
      document.addEventListener("pointerup", (event) => {
        const button = find(event);
        if (button && !button.disabled && selector(button) === pressed) void press(button);
      });
      document.addEventListener("click", (event) => event.detail === 0 && find(event) && void press(find(event))); // keyboard
      document.addEventListener("focusin", (event) => {
        const button = find(event);
        keepFocus.disconnect();
        focused = selector(button);
        if (button) keepFocus.observe(button.closest(".jp-OutputArea") ?? document.body, { childList: true, subtree: true });
      });
      document.documentElement.classList.add("queuectl-buttons");
    }

    /**
     * Update the cards that a notebook already had when it was opened or changed its kernel: JupyterLab does not know their
     * display ids. Say on unfinished ones that they are no longer updated, until their kernel sends another version.
     */
    function updateOld({ content, context, sessionContext }) {
      const style = document.head.appendChild(document.createElement("style"));
      const frozen = new Set(); // a card that is updated gets another mark
      const old = new Set();

      /** Yield the cards with this attribute, its value and their places. */
      function* find(attribute) {
        const pattern = new RegExp(`<div class="queuectl[^>]* data-qc-${attribute}="([^"]+)"`);
        for (const { outputs } of content.model?.cells ?? []) {
          for (let at = 0; at < (outputs?.length ?? 0); at += 1) {
            const [, value] = pattern.exec(String(outputs.get(at).data["text/html"] ?? "")) ?? [];
            if (value) yield { outputs, at, value };
          }
        }
      }

      function freeze() {
        for (const { value } of find("live")) frozen.add(value);
        const rule = (mark) => `[data-qc-live="${CSS.escape(mark)}"] .qc-head::after { color: var(--qc-dim); content: "no longer updated"; }`;
        style.textContent = [...frozen].map(rule).join("\n");
      }

      function revive() {
        freeze();
        for (const { value } of find("display")) old.add(value);
        const kernel = sessionContext.session?.kernel;
        if (old.size && kernel) void tell(kernel, { shown: [...old] });
      }

      function update(_, { header, content: { data, metadata, transient } }) {
        const id = transient?.display_id;
        if (header.msg_type !== "update_display_data" || !old.has(id)) return;
        for (const { outputs, at, value } of [...find("display")]) {
          const isShown = outputs.get(at).data["text/html"] === data["text/html"];
          if (value === id && !isShown) outputs.set(at, { output_type: "display_data", data, metadata });
        }
      }

      sessionContext.iopubMessage.connect(update);
      sessionContext.kernelChanged.connect(revive);
      sessionContext.statusChanged.connect((_, status) => status.endsWith("restarting") && freeze());
      content.disposed.connect(() => style.remove());
      void context.ready.then(freeze);
      void Promise.all([context.ready, sessionContext.ready]).then(revive);
    }

    function activate(app, tracker) {
      const add = (panel) => {
        const { content: { rendermime }, sessionContext } = panel;
        const hasWidget = (id) => Boolean(sessionContext.session?.kernel?.hasComm(id));
        const createRenderer = () => new Dashboard(rendermime, hasWidget);
        rendermime.addFactory({ safe: false, mimeTypes: [DASHBOARD], createRenderer }, -20); // widgets have -10
        updateOld(panel);
      };
      if (!tracker) return; // the application shows no notebooks
      tracker.forEach(add);
      tracker.widgetAdded.connect((_, panel) => add(panel));
      connectButtons(tracker);
      void addStyles(app.serviceManager.serverSettings);
    }

    return { id: "queuectl-nb:notebooks", description: "Shows cards and saved dashboards.", autoStart: true, optional, activate };
  }

  async function page() {
    const [application, apputils, launchers, components, { ServerConnection }] = await Promise.all(
      ["application", "apputils", "launcher", "ui-components", "services"].map((name) => importShared(`@jupyterlab/${name}`)),
    );
    const icon = new components.LabIcon({ name: "queuectl:icon", svgstr: ICON });
    const optional = [apputils.ICommandPalette, launchers?.ILauncher, application?.ILayoutRestorer].filter(Boolean);

    /** Return whether the page at this address may be shown in a frame; JupyterHub forbids it by default. */
    async function allowsFrame(address, settings) {
      const { headers } = await ServerConnection.makeRequest(address, { method: "HEAD" }, settings);
      const ancestors = /frame-ancestors ([^;]*)/.exec(headers.get("Content-Security-Policy"))?.[1] ?? "*";
      return ancestors.split(" ").some((source) => ["*", "'self'", location.origin].includes(source));
    }

    function activate(app, ...services) {
      const service = (token) => (token ? services[optional.indexOf(token)] : null);
      const tracker = new apputils.WidgetTracker({ namespace: "queuectl" });
      const address = new URL("queuectl/", new URL(app.serviceManager.serverSettings.baseUrl, location.href)).href;
      const framed = allowsFrame(address, app.serviceManager.serverSettings).catch(() => true);
      let tab = null;

      function createTab() {
        const content = new apputils.IFrame({ sandbox: ["allow-scripts", "allow-same-origin"] });
        content.url = address;
        content.node.querySelector("iframe")?.setAttribute("title", "queuectl");
        const widget = new apputils.MainAreaWidget({ content });
        widget.id = "queuectl-page";
        widget.toolbar.hide(); // the page has its own toolbar
        Object.assign(widget.title, { label: "queuectl", caption: "Live view of the job queue", icon, closable: true });
        return widget;
      }

      app.commands.addCommand(COMMAND, {
        label: (args) => (args.isPalette ? "Open the job queue (queuectl)" : "queuectl"),
        caption: "Live view of the job queue",
        icon: (args) => (args.isPalette ? undefined : icon),
        execute: async ({ isRestored }) => {
          const openBrowserTab = () => isRestored || window.open(address, "_blank", "noopener");
          if (!(await framed)) return void openBrowserTab();
          if (tab === null || tab.isDisposed) tab = createTab();
          if (!tab.parent) app.shell.add(tab, "main");
          if (tab.parent) {
            if (!tracker.has(tab)) void tracker.add(tab);
            app.shell.activateById(tab.id);
          } else {
            tab.dispose(); // Notebook 7 shows one widget per browser tab
            openBrowserTab();
          }
        },
      });
      service(apputils.ICommandPalette)?.addItem({ command: COMMAND, category: "Other", args: { isPalette: true } });
      service(launchers?.ILauncher)?.add({ command: COMMAND, category: "Other", rank: 10 });
      void service(application?.ILayoutRestorer)?.restore(tracker, { command: COMMAND, args: () => ({ isRestored: true }), name: () => "queuectl" });
    }

    return { id: "queuectl-nb:page", description: "Opens the queuectl web page.", autoStart: true, optional, activate };
  }

  globalThis._JUPYTERLAB ??= {};
  globalThis._JUPYTERLAB["queuectl-nb"] = {
    init(scope) {
      shared = scope;
    },
    async get() {
      const exports = { __esModule: true, default: await Promise.all([page(), notebooks()]) };
      return () => exports;
    },
  };
})();
