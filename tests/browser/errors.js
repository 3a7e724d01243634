// The errors in the outputs of the notebook's cells, a line each.
() => [...window.jupyterapp.shell.currentWidget.content.model.cells].flatMap((cell) =>
    cell.type !== "code" ? [] : [...Array(cell.outputs.length).keys()]
        .map((at) => cell.outputs.get(at).toJSON())
        .filter((output) => output.output_type === "error")
        .map((output) => output.ename + ": " + output.evalue))
