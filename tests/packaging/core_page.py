"""Runs the code cells of a notebook in IPython alone, without a kernel; the first error ends it with its text.

python core_page.py NOTEBOOK
"""

import json
import sys
from pathlib import Path


def main(page):
    """Run the page and say how many cells ran, and with which labkit."""
    from IPython.core.history import HistoryManager
    from IPython.core.interactiveshell import InteractiveShell

    HistoryManager.enabled = False
    shell = InteractiveShell.instance(colors="nocolor")
    ran = 0
    for cell in json.loads(Path(page).read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            if not shell.run_cell("".join(cell["source"]), store_history=True).success:
                sys.exit(f"cell {cell['id']} failed")
            ran += 1
    import labkit  # the page's own import, with all that it loaded

    print(f"ran {ran} cells with {labkit.__file__}")


if __name__ == "__main__":
    main(sys.argv[1])
