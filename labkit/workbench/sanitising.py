"""Outputs in the form they are stored in: nothing of this process, this minute or this machine's folders is left."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from labkit.workbench.notebooks import CLAIM

# Only after "at": a hexadecimal number that the lesson prints, or one inside a picture's base64, stays as it is.
ADDRESS = re.compile(r"(?<=\bat )0x[0-9a-fA-F]{6,}")
CELL_FILE = re.compile(r"ipykernel_\d+[/\\]+\d+\.py")
BEFORE_A_PATH = " \t\n\"'<>;(&"
CLOCK = re.compile(r"\[\d+:\d+(?::\d+)?<[^\]\n]{0,80}\]")
STYLER_ID = re.compile(r"\bT_[0-9a-f]{5,}(?=_|\b)")
MACHINE = re.compile(r"‹[^‹›]*›")
TRANSIENT_TYPES = {"application/vnd.jupyter.widget-view+json"}


def outputs(found: list[Mapping[str, Any]], execution_count: int | None) -> list[dict[str, Any]]:
    """Give the outputs of one cell as they are stored: streams merged, widgets dropped, texts sanitised."""
    kept = (_one(output, execution_count) for output in _merged(found))
    return [output for output in kept if output is not None]


def text(raw: str) -> str:
    """Give a text without memory addresses, files of the kernel and clocks of progress bars.

    >>> text("<Model object at 0x7f3a2c11d0>")
    '<Model object at 0x…>'
    """
    raw = CLOCK.sub("[time]", ADDRESS.sub("0x…", raw))
    *before, last = CELL_FILE.split(raw)
    return "".join(_without_path(piece) + "ipykernel/cell.py" for piece in before) + last


def _without_path(piece: str) -> str:
    # Not part of the pattern: on the base64 of a picture, which has no blanks, that would take quadratic time.
    return piece[: max(map(piece.rfind, BEFORE_A_PATH)) + 1]


def as_on_screen(raw: str) -> str:
    """Give what a terminal shows after carriage returns and backspaces: the last state of each line."""
    return "\n".join(map(_last_state, raw.replace("\r\n", "\n").split("\n")))


def _last_state(line: str) -> str:
    line = next((piece for piece in reversed(line.split("\r")) if piece), "")
    if "\b" not in line:
        return line
    shown: list[str] = []
    for character in line:
        if character != "\b":
            shown.append(character)
        elif shown:
            shown.pop()
    return "".join(shown)


def same(new: Any, stored: Any) -> bool:
    """Tell whether two outputs (or lists of them) differ at most in what is marked ‹…› or measured on the machine."""
    return _comparable(new) == _comparable(stored)


def _comparable(value: Any) -> Any:
    if isinstance(value, str):
        return MACHINE.sub("‹…›", value)
    if isinstance(value, Mapping):
        hidden = {"measured"} if value.get("kind") == "measured" else set()
        return {key: None if key in hidden else _comparable(each) for key, each in value.items()}
    return [_comparable(each) for each in value] if isinstance(value, list) else value


def _merged(found: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Join streams that follow each other, standard output first: their order among themselves is chance."""
    merged: list[dict[str, Any]] = []
    for output in found:
        output = dict(output)
        if output["output_type"] != "stream":
            merged.append(output)
            continue
        run = [each for each in _trailing_streams(merged) if each["name"] == output["name"]]
        if run:
            run[0]["text"] += output["text"]
        elif output["name"] == "stdout" and _trailing_streams(merged):
            merged.insert(len(merged) - len(_trailing_streams(merged)), output)
        else:
            merged.append(output)
    return merged


def _trailing_streams(merged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    start = len(merged)
    while start and merged[start - 1]["output_type"] == "stream":
        start -= 1
    return merged[start:]


def _one(output: Mapping[str, Any], execution_count: int | None) -> dict[str, Any] | None:
    if output["output_type"] == "stream":
        shown = text(as_on_screen(output["text"]))
        return {"name": output["name"], "output_type": "stream", "text": shown} if shown else None
    if output["output_type"] == "error":
        return {**output, "evalue": text(output["evalue"]), "traceback": [text(line) for line in output["traceback"]]}
    data = {mime: _datum(mime, each) for mime, each in output["data"].items() if mime not in TRANSIENT_TYPES}
    if not data:
        return None
    about = {key: each for key, each in output.get("metadata", {}).items() if each and (key in data or "/" not in key)}
    stored = {"data": data, "metadata": about, "output_type": output["output_type"]}
    return {**stored, "execution_count": execution_count} if output["output_type"] == "execute_result" else stored


def _datum(mime: str, value: Any) -> Any:
    if mime == CLAIM or mime.endswith("json"):
        return value
    if not isinstance(value, str):
        return value
    if mime.startswith("image/") and mime != "image/svg+xml":
        return "".join(value.split())  # base64: line breaks mean nothing
    return _styled(text(value)) if mime == "text/html" else text(value)


def _styled(html: str) -> str:
    """Give pandas' random table ids a name made from the content, so that two tables on a page still differ."""
    ids = list(dict.fromkeys(STYLER_ID.findall(html)))
    for number, found in enumerate(ids):
        digest = hashlib.sha256(f"{number} {STYLER_ID.sub('T_', html)}".encode()).hexdigest()[:5]
        html = re.sub(rf"\b{found}(?=_|\b)", f"\0{digest}", html)
    return html.replace("\0", "T_")
