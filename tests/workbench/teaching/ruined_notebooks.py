"""What happens to notebooks between the student and the teacher: untidy ones that lose nothing, and ruined ones."""

import copy
from collections.abc import Callable, Set
from typing import Any

from labkit.workbench import notebooks


def _own_cell(source: str, name: str) -> dict[str, Any]:
    about = {"cell_type": "code", "id": name, "metadata": {}, "execution_count": None, "outputs": []}
    return about | {"source": source}


def _last_exercise(notebook: dict[str, Any]) -> dict[str, Any]:
    return [cell for cell in notebooks.code_cells(notebook) if "labkit.check(" in cell["source"]][-1]


def _reordered(notebook: dict[str, Any], dropped: Set[str] = frozenset()) -> None:
    notebook["cells"] = notebook["cells"][:2] + notebook["cells"][:1:-1]


def _duplicated(notebook: dict[str, Any], dropped: Set[str] = frozenset()) -> None:
    """An earlier attempt stands in front of the last one, which counts."""
    cell = _last_exercise(notebook)
    attempt = copy.deepcopy(cell) | {"id": "first-attempt", "source": cell["source"] + "\nraise ValueError('no')"}
    notebook["cells"].insert(notebook["cells"].index(cell), attempt)


def _deleted(notebook: dict[str, Any], dropped: Set[str]) -> None:
    gone = [f'labkit.check("{name}"' for name in dropped]
    notebook["cells"] = [cell for cell in notebook["cells"] if not any(call in cell["source"] for call in gone)]


def _new_ids(notebook: dict[str, Any], dropped: Set[str] = frozenset()) -> None:
    """Another editor gave every cell a new id."""
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"{number:08x}"


def _deletes_files(notebook: dict[str, Any], dropped: Set[str] = frozenset()) -> None:
    notebook["cells"].append(
        _own_cell("import shutil\nshutil.rmtree('/', ignore_errors=True)\n!rm -rf ~ /work", "away")
    )


def _mines_coins(notebook: dict[str, Any], dropped: Set[str] = frozenset()) -> None:
    mine = "import hashlib\nopen('mined', 'w').close()\nwhile True:\n    hashlib.sha256(b'coin').hexdigest()"
    notebook["cells"].insert(1, _own_cell(mine, "mine"))


def _much_output(notebook: dict[str, Any], dropped: Set[str] = frozenset()) -> None:
    text = "All work and no play makes a long file.\n" * (50_000_000 // 40)
    notebook["cells"].append(_own_cell("print(text)", "loud"))
    notebook["cells"][-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}]


def _helpers_apart(notebook: dict[str, Any], dropped: Set[str] = frozenset()) -> None:
    """What stands above a definition was moved into a cell of its own, further up."""
    for number, cell in enumerate(list(notebooks.code_cells(notebook))):
        above, mark, rest = cell["source"].partition("\n\n@labkit.check(")
        if mark:
            cell["source"] = f"@labkit.check({rest}"
            notebook["cells"].insert(notebook["cells"].index(cell), _own_cell(above, f"helpers-{number}"))


def _magics(notebook: dict[str, Any], dropped: Set[str] = frozenset()) -> None:
    notebook["cells"].insert(0, _own_cell("%matplotlib inline\n!pip list\nimport numpy as np", "magics"))
    _last_exercise(notebook)["source"] += "\n%timeit 1 + 1"


def _windows_lines(notebook: dict[str, Any], dropped: Set[str] = frozenset()) -> None:
    for cell in notebooks.code_cells(notebook):
        cell["source"] = cell["source"].replace("\n", "\r\n")


def _old_course(notebook: dict[str, Any], dropped: Set[str] = frozenset()) -> None:
    """Made from a release of another course version, as its stamp says."""
    stamp = notebook["metadata"].setdefault("labkit", {})
    stamp |= {"version": "0.0.1", "course_version": "0.0.1", "release": "another"}


UNTIDY: dict[str, Callable] = {
    "reordered": _reordered,
    "duplicated": _duplicated,
    "deleted": _deleted,
    "new ids": _new_ids,
    "deletes files": _deletes_files,
    "mines coins": _mines_coins,
    "much output": _much_output,
    "helpers apart": _helpers_apart,
    "magics": _magics,
    "windows lines": _windows_lines,
    "another version": _old_course,
}
MALFORMED: dict[str, Callable[[bytes], bytes]] = {
    "empty file": lambda raw: b"",
    "cut off": lambda raw: raw[: len(raw) // 2],
    "not JSON": lambda raw: b"Dear teacher, my notebook is in the attachment.",
    "a list": lambda raw: b"[1, 2, 3]",
    "binary": lambda raw: bytes(range(256)) * 40,
    "no cells": lambda raw: b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
}
