// Whether the notebook in this page can run cells; before that, a dialog would open and nothing would run.
() => {
    const app = window.jupyterapp;
    const panel = app && app.shell.currentWidget;
    if (!panel || !panel.context || !panel.context.isReady || !panel.sessionContext) return false;
    const session = panel.sessionContext.session;
    const kernel = session && session.kernel;
    const idle = kernel && kernel.status === "idle" && kernel.connectionStatus === "connected";
    return panel.sessionContext.isReady && idle;
}
