"""JupyterLab as the tests use it: run all cells, move a slider, edit a cell, look at it in another theme."""

import time

IDLE = """() => {
  const session = window.jupyterapp?.shell.currentWidget?.sessionContext?.session;
  return session?.kernel?.status === 'idle';
}"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells"
EDIT = """async ([id, source]) => {
  const {content, sessionContext} = window.jupyterapp.shell.currentWidget;
  content.activeCellIndex = content.widgets.findIndex(cell => cell.model.id === id);
  content.activeCell.model.sharedModel.setSource(source);
  await window.jupyterapp.commands.execute('notebook:run-cell');
}"""
THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
# What stands in the output that holds a slider: the words of its pictures and captions.
PICTURE = """handle => {
  const output = handle.closest('.jp-OutputArea-output');
  const images = [...output.querySelectorAll('img')].map(image => image.alt);
  return [...images, ...[...output.querySelectorAll('figcaption')].map(caption => caption.innerText)].join(' | ');
}"""
SCROLL = """top => {
  const panel = document.querySelector('.jp-WindowedPanel-outer');
  panel.scrollTop = top;
  return [panel.scrollHeight, panel.clientHeight];
}"""
TALL = 4000  # pixels of one picture
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


class Page:
    """One notebook open in JupyterLab, its kernel started."""

    def __init__(self, page):
        self.page = page
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        page.wait_for_function(IDLE)

    def cells(self):
        """The cells as they stand now, as the dictionaries of the notebook format."""
        return self.page.evaluate(CELLS)

    def run_all(self):
        """Runs every cell and waits until the kernel has nothing left to do."""
        self.page.set_default_timeout(300_000)
        self.page.evaluate(RUN_ALL)
        self.page.wait_for_function(IDLE)
        self.page.set_default_timeout(60_000)

    def run_cell(self, cell_id, source):
        """Puts another source into a cell, runs it, and gives its outputs."""
        self.page.evaluate(EDIT, [cell_id, source])
        self.page.wait_for_function(IDLE)
        return next(cell["outputs"] for cell in self.cells() if cell["id"] == cell_id)

    def sliders(self):
        """The handle of every slider, in the order of the page."""
        return self.page.locator(".jp-OutputArea-output .noUi-handle").all()

    def picture_beside(self, slider):
        """The words of the picture that a slider belongs to: alt text and caption."""
        return slider.evaluate(PICTURE)

    def move(self, slider):
        """Moves a slider by the keyboard, one step up, or down from its end; gives the words before and after."""
        before = self.picture_beside(slider)
        at_the_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
        slider.focus()
        slider.press("ArrowLeft" if at_the_end else "ArrowRight")
        end = time.monotonic() + 20
        while self.picture_beside(slider) == before and time.monotonic() < end:
            self.page.wait_for_timeout(50)
        return before, self.picture_beside(slider)

    def screenshots(self, folder, name, theme, most=1):
        """The notebook as pictures `name-theme-1.png` and so on, `most` of them at most; gives their paths."""
        self.page.evaluate(THEME, THEMES[theme])
        self.page.set_viewport_size({"width": 1200, "height": TALL})
        self.page.wait_for_timeout(500)
        whole, visible = self.page.evaluate(SCROLL, 0)
        paths = []
        for number, top in enumerate(range(0, whole, visible)[:most], 1):
            self.page.evaluate(SCROLL, top)
            self.page.wait_for_timeout(200)
            paths.append(folder / f"{name}-{theme}-{number}.png")
            self.page.screenshot(path=paths[-1])
        self.page.set_viewport_size({"width": 1200, "height": 1000})
        return paths
