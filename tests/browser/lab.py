"""JupyterLab as the tests use it: run all cells, edit a cell, ask its kernel, look at it in another theme."""

import ast
import json

IDLE = """() => {
  const session = window.jupyterapp?.shell.currentWidget?.sessionContext?.session;
  return session?.kernel?.status === 'idle';
}"""
FRONT = "path => window.jupyterapp.shell.currentWidget?.context?.path === path"
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells"
EDIT = """async ([id, source]) => {
  const {content} = window.jupyterapp.shell.currentWidget;
  content.activeCellIndex = content.widgets.findIndex(cell => cell.model.id === id);
  content.activeCell.model.sharedModel.setSource(source);
  await window.jupyterapp.commands.execute('notebook:run-cell');
}"""
SHOWN = """id => {
  const cell = window.jupyterapp.shell.currentWidget.content.widgets.find(cell => cell.model.id === id);
  return cell.node.querySelector('.jp-Cell-outputArea')?.innerText ?? '';
}"""
ASK = """async ([code, expression]) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const asked = {code, silent: true, store_history: false, user_expressions: {answer: expression}};
  const {content} = await kernel.requestExecute(asked).done;
  return content;
}"""
THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
# The command ends before the new colours are there.
COLOURED = """dark => {
  const ground = getComputedStyle(document.body).getPropertyValue('--jp-layout-color0').trim();
  return (ground.startsWith('#1') || ground === 'black') === dark;
}"""
# What was asked for last has been painted after two frames.
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
SCROLL = """top => {
  const panel = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer');
  panel.scrollTop = top;
  return [panel.scrollHeight, panel.clientHeight];
}"""
TALL = 4000  # pixels of one picture
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
USUAL = {"width": 1200, "height": 1000}
PATIENCE = 300_000  # milliseconds for anything; only a page that is stuck takes that long


class Page:
    """One notebook open in JupyterLab, its kernel started."""

    def __init__(self, page):
        self.page = page
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        page.wait_for_function(IDLE)

    def cells(self):
        """The cells as they stand now, as the dictionaries of the notebook format."""
        return self.page.evaluate(CELLS)

    def path(self):
        """The file that is in front."""
        return self.page.evaluate("() => window.jupyterapp.shell.currentWidget?.context?.path")

    def come_to(self, path):
        """Waits until another file is in front, its kernel started."""
        self.page.wait_for_function(FRONT, arg=path)
        self.page.wait_for_function(IDLE)

    def run_all(self):
        """Runs every cell and waits until the kernel has nothing left to do."""
        self.page.set_default_timeout(2 * PATIENCE)
        self.page.evaluate(RUN_ALL)
        self.page.wait_for_function(IDLE)
        self.page.set_default_timeout(PATIENCE)

    def run_cell(self, cell_id, source):
        """Puts another source into a cell, runs it, and gives its outputs."""
        self.page.evaluate(EDIT, [cell_id, source])
        self.page.wait_for_function(IDLE)
        return next(cell["outputs"] for cell in self.cells() if cell["id"] == cell_id)

    def shown(self, cell_id):
        """The words that a reader sees below a cell, each white space one blank."""
        return " ".join(self.page.evaluate(SHOWN, cell_id).split())

    def asked(self, expression, code=""):
        """The value of a Python expression in the page's kernel, as plain data; `code` runs before it."""
        reply = self.page.evaluate(ASK, [code, f"__import__('json').dumps({expression})"])
        answer = reply.get("user_expressions", {}).get("answer", reply)
        if reply["status"] != "ok" or answer["status"] != "ok":
            raise RuntimeError(f"the kernel cannot say {expression}: {answer.get('ename')}: {answer.get('evalue')}")
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    def wear(self, theme):
        """Changes to the light or the dark theme."""
        self.page.evaluate(THEME, THEMES[theme])
        self.page.wait_for_function(COLOURED, arg=theme == "dark")
        self.page.evaluate(PAINTED)

    def screenshots(self, folder, name, theme, most=1):
        """The notebook as pictures `name-theme-1.png` and so on, `most` of them at most; gives their paths."""
        self.wear(theme)
        self.page.set_viewport_size({"width": USUAL["width"], "height": TALL})
        whole, visible = self.page.evaluate(SCROLL, 0)
        paths = []
        for number, top in enumerate(range(0, whole, visible)[:most], 1):
            self.page.evaluate(SCROLL, top)
            self.page.evaluate(PAINTED)
            paths.append(folder / f"{name}-{theme}-{number}.png")
            self.page.screenshot(path=paths[-1])
        self.page.set_viewport_size(USUAL)
        self.page.evaluate(SCROLL, 0)
        return paths
