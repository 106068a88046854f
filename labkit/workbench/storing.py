"""The form in which notebooks are stored, the gate that holds it, and `save`, which refreshes stored outputs.

Running an unchanged notebook again must change nothing in its file: whatever differs from run to run is not stored.
"""

import copy
import hashlib
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

from labkit.workbench import notebooks, runner, sanitising

LARGEST = 1_000_000  # bytes
NOT_OURS = {"injected-parameters", "papermill-error-cell-tag"}
# Everything else at the top describes one machine's kernel or one tool's last visit.
NOTEBOOK_METADATA = {"accelerator", "authors", "title"}
KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
VOLATILE_CELL_METADATA = {
    "ExecuteTime",
    "collapsed",
    "colab",
    "execution",
    "executionInfo",
    "id",
    "outputId",
    "papermill",
    "pycharm",
    "scrolled",
    "trusted",
    "vscode",
}


@dataclass(frozen=True)
class Saved:
    """What `save` did with one notebook: `problems` is empty when its file is now right, `changed` counts its cells."""

    name: str
    path: Path
    changed: int
    problems: tuple[str, ...]
    run: runner.NotebookRun | None = None


def normalise(nb: Mapping[str, Any]) -> dict[str, Any]:
    """Give the stored form of a notebook; the one given is not touched.

    No widget state, no metadata of kernels and tools, no injected cells, streams merged, execution counts 1..n over the
    cells that were run, outputs without addresses, kernel files and clocks. Cell ids are kept; a missing or doubled one
    is made from the cell's source.

    Raises:
        ValueError: if it is no notebook of format 4.
    """
    nb = notebooks.checked(copy.deepcopy(_plain(nb)))
    counter = count(1)
    cells = [cell for cell in nb["cells"] if not NOT_OURS.intersection(notebooks.tags(cell))]
    cells = [_normal_cell(cell, counter) for cell in cells]
    _give_ids(cells)
    kept = {key: nb["metadata"][key] for key in NOTEBOOK_METADATA if key in nb.get("metadata", {})}
    return {"cells": cells, "metadata": {**kept, **copy.deepcopy(KERNEL)}, "nbformat": 4, "nbformat_minor": 5}


def written(nb: Mapping[str, Any]) -> str:
    """Give the text of the file: sorted keys, one line of text per line, as nbformat writes it."""
    nb = copy.deepcopy(_plain(nb))
    for cell in nb["cells"]:
        cell["source"] = cell["source"].splitlines(True)
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream":
                output["text"] = output["text"].splitlines(True)
            for mime, value in output.get("data", {}).items():
                is_text = mime.startswith("text/") or mime in ("application/javascript", "image/svg+xml")
                if is_text and isinstance(value, str):
                    output["data"][mime] = value.splitlines(True)
    return json.dumps(nb, indent=1, sort_keys=True, ensure_ascii=False, separators=(",", ": ")) + "\n"


def is_stored(path: str | Path) -> list[str]:
    """Give what keeps a notebook from being in its stored form, one sentence each; an empty list when nothing does."""
    name = Path(path).name
    try:
        raw = Path(path).read_bytes().decode("utf-8")
        nb = notebooks.read(path)
    except (OSError, ValueError) as error:
        return [str(error)]
    return [f"{name}: {problem}" for problem in (*_content_problems(nb), *_form_problems(raw, nb))]


def save(
    names: Iterable[str | Path] = (), *, timeout: int | None = None, jobs: int = 1, out: str | Path | None = None
) -> list[Saved]:
    """Run notebooks at scale "ci" and refresh their stored outputs; a file is replaced only by a whole, right one.

    Where a cell is unchanged and its new outputs differ from the stored ones only in what is marked ‹…›, the stored
    ones stay: saving twice changes nothing.

    Raises:
        ValueError: if a name is no notebook.
        RuntimeError: if what runs notebooks is not installed.
    """
    paths = notebooks.find(names)
    before = {path: path.read_bytes() for path in paths}
    refused = {path: sentence for path in paths if (sentence := _not_at_ci(path))}
    runs = runner.run([path for path in paths if path not in refused], scale="ci", jobs=jobs, timeout=timeout, out=out)
    saved = {run.path: _save_one(run, before[run.path]) for run in runs}
    return [saved[path] if path in saved else Saved(path.stem, path, 0, (refused[path],)) for path in paths]


def _not_at_ci(path: Path) -> str:
    """Give the sentence that refuses a notebook whose page would say another scale than its outputs were made with."""
    try:
        scale = notebooks.parameters(notebooks.read(path)).get("scale", "ci")
    except ValueError:  # the run reports it
        return ""
    return "" if scale == "ci" else f'the parameters cell says scale = {scale!r}, and stored outputs are made at "ci"'


def _save_one(run: runner.NotebookRun, before: bytes) -> Saved:
    if run.failure is not None:
        return Saved(run.name, run.path, 0, (run.failure.sentence,), run)
    original = notebooks.checked(json.loads(before), called=run.path.name)
    stored, new = normalise(original), normalise(_refreshed(original, notebooks.read(run.executed)))
    changed = _keep_what_did_not_change(new, stored)
    text = written(new)
    problems = [*_content_problems(new), *_form_problems(text, new)]
    if run.path.read_bytes() != before:
        problems.append("the file was changed while its notebook ran, so it was not overwritten")
    if not problems and text.encode("utf-8") != before:
        try:
            _replace(run.path, text)
        except OSError as error:  # a full disk, say; the file is as it was, and the next one may go
            problems.append(f"the file could not be written: {error}")
        changed = max(changed, 1)
    return Saved(run.name, run.path, changed, tuple(problems), run)


def _refreshed(original: dict[str, Any], executed: dict[str, Any]) -> dict[str, Any]:
    """Give the original with the outputs of its executed copy: nothing else of the copy can get into the file."""
    cells = [cell for cell in executed["cells"] if not NOT_OURS.intersection(notebooks.tags(cell))]
    refreshed = copy.deepcopy(original)
    for cell, copied in zip(refreshed["cells"], cells, strict=True):
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = copied["outputs"], copied["execution_count"]
    return refreshed


def _keep_what_did_not_change(new: dict[str, Any], stored: dict[str, Any]) -> int:
    """Put stored outputs in the place of equal new ones; give the number of cells that did change."""
    known = {cell["id"]: cell for cell in stored["cells"]}
    changed = 0
    for cell in new["cells"]:
        old = known.get(cell["id"])
        if old is None or old["source"] != cell["source"]:
            changed += 1
        elif "outputs" in cell and "outputs" in old:
            counts = [_without_count(each["outputs"]) for each in (cell, old)]
            if sanitising.same(*counts):
                # The count may have moved because a cell was put in before this one; it is set anew.
                cell["outputs"] = sanitising.outputs(old["outputs"], cell["execution_count"])
            else:
                changed += 1
    return changed


def _without_count(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in output.items() if key != "execution_count"} for output in outputs]


def _replace(path: Path, text: str) -> None:
    """Write beside the file and rename, so that at no moment a half-written notebook has its name."""
    path = path.resolve()
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, path.stat().st_mode & 0o777)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _plain(value: Any) -> Any:
    """Give dictionaries and lists for whatever nbformat uses in their place."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _normal_cell(cell: dict[str, Any], counter: "count[int]") -> dict[str, Any]:
    about = {key: value for key, value in cell.get("metadata", {}).items() if key not in VOLATILE_CELL_METADATA}
    if not about.get("tags"):
        about.pop("tags", None)
    normal = {"cell_type": cell["cell_type"], "metadata": about, "source": cell["source"]}
    for optional in ("id", "attachments"):
        if cell.get(optional):
            normal[optional] = cell[optional]
    if cell["cell_type"] == "code":
        # A cell that was never run keeps no number: the stored form must not claim what did not happen.
        number = next(counter) if cell.get("execution_count") is not None else None
        normal["execution_count"] = number
        normal["outputs"] = sanitising.outputs(cell.get("outputs", []), number)
    return normal


def _give_ids(cells: list[dict[str, Any]]) -> None:
    taken = Counter(cell.get("id") for cell in cells)
    seen: set[str] = set()
    for cell in cells:
        name = cell.get("id")
        if not name or name in seen:
            digest = hashlib.sha256(cell["source"].encode()).hexdigest()[:8]
            candidates = (f"cell-{digest}" + (f"-{number}" if number else "") for number in count())
            name = next(candidate for candidate in candidates if candidate not in seen and candidate not in taken)
        cell["id"] = name
        seen.add(name)


def _content_problems(nb: dict[str, Any]) -> list[str]:
    problems = []
    ids = [cell.get("id") for cell in nb["cells"]]
    problems += [f"the cell id {name!r} is used {n} times" for name, n in Counter(ids).items() if name and n > 1]
    problems += [f"the cell id {name!r} may hold letters, digits, - and _ only" for name in ids if not _is_id(name)]
    for number, cell in enumerate(notebooks.code_cells(nb), 1):
        where = f"code cell [{number}] (id {cell.get('id')!r})"
        if not cell["source"].strip():
            problems.append(f"{where} is empty")
        elif cell.get("execution_count") is None:
            problems.append(f"{where} was never run")
        elif cell["execution_count"] != number:
            problems.append(f"{where} has the execution count {cell['execution_count']}, expected {number}")
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                problems.append(f"{where} holds an error: {output['ename']}: {output['evalue']}")
    return problems


def _is_id(name: Any) -> bool:
    return isinstance(name, str) and re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", name) is not None


def _form_problems(raw: str, nb: dict[str, Any]) -> list[str]:
    problems = []
    size = len(raw.encode("utf-8"))
    if size >= LARGEST:
        problems.append(f"the file has {size:,} bytes, and the most is {LARGEST:,}: draw fewer or simpler figures")
    expected = written(normalise(nb))
    if raw != expected:
        pairs = enumerate(zip_longest(raw.split("\n"), expected.split("\n")), 1)
        line, here, there = next((number, here, there) for number, (here, there) in pairs if here != there)
        shown = [repr((text or "nothing").strip()[:60]) for text in (here, there)]
        problems.append(
            f"the file is not in its stored form, first at line {line}: "
            f"{shown[0]} where {shown[1]} belongs; run labkit save"
        )
    return problems
