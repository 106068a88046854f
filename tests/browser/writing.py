"""Small notebooks made for one test."""

import nbformat
from nbformat.v4 import new_code_cell, new_notebook


def written(path, *sources):
    """A notebook of these code cells, written to a file."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources], metadata=kernel), path)
    return path
