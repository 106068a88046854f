"""Tiny notebooks for the tests of the runner: written as files, run by real kernels."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CLAIM_TYPE = "application/vnd.labkit.claim+json"
CLAIM = f"""\
from IPython.display import display
def claim(statement, passed=True, kind="equation"):
    record = dict(kind=kind, statement=statement, measured=1.5, expected=1.5, tolerance=1e-9, source="x", passed=passed)
    display({{"text/plain": statement, "{CLAIM_TYPE}": record}}, raw=True)
    assert passed, statement"""
PARAMETERS = 'scale = "ci"\nseed = 0'


def write(path, *sources, parameters=PARAMETERS):
    """Write a notebook with one code cell per source; the ids are cell-1, cell-2, …; gives its path."""
    cells = [new_markdown_cell("# A tiny notebook", id="title")]
    if parameters:
        cells.append(new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]}))
    cells += [new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources, 1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)
    return path


def course(root, **notebooks):
    """Write a checkout's notebooks folder: 01_good=["1 + 1"] and so on; gives the folder."""
    for name, sources in notebooks.items():
        write(root / "notebooks" / f"{name.lstrip('n')}.ipynb", *sources)
    return root / "notebooks"


def code(source="1", outputs=(), count=1, **changes):
    metadata = changes.pop("metadata", {})
    cell = {
        "cell_type": "code",
        "source": source,
        "outputs": list(outputs),
        "execution_count": count,
        "metadata": metadata,
    }
    return {**cell, "id": "a-cell", **changes}


def notebook(*cells, **metadata):
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def shown(kind="display_data", metadata=None, **data):
    output = {
        "output_type": kind,
        "metadata": metadata or {},
        "data": {k.replace("_", "/"): v for k, v in data.items()},
    }
    return {**output, "execution_count": 7} if kind == "execute_result" else output
