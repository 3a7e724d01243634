// Whether every code cell of the notebook has run to its end.
() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
    .every((cell) => cell.type !== "code" || (cell.executionCount && cell.executionState !== "running"))
