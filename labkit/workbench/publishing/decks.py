"""Which cells of a notebook stand together on a slide, so that nothing is cut off and no cell needs extra metadata.

A heading of level two begins a slide, one of level three a slide below it; text goes with the code it introduces and
the picture it speaks of, one picture to a slide; an exercise has a slide of its own. What a cell says itself wins: its
`slideshow` metadata, or a tag `slide`, `subslide`, `fragment`, `skip` or `notes`.
"""

import ast
import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from labkit.workbench import notebooks

KINDS = ("slide", "subslide", "fragment", "skip", "notes", "-")
ROOM = 720  # pixels: what the estimate of a slide may come to; the page sets what is a little too high smaller
BESIDE = "labkit-beside"  # code to the left of its picture
CODE_CELLS = 2  # on one slide
PICTURE_HEIGHT = 400  # pixels
_PAYLOAD = re.compile(r"base64,[A-Za-z0-9+/=\s]+")


@dataclass
class Slide:
    """What stands on a slide so far."""

    cells: list[dict[str, Any]] = field(default_factory=list)
    height: int = 0
    pictures: int = 0
    codes: int = 0
    closed: bool = False

    def takes(self, cell: Mapping[str, Any], height: int) -> bool:
        """Whether the cell still fits."""
        full = self.height + height > ROOM or (is_code(cell) and self.codes >= CODE_CELLS)
        crowded = has_picture(cell) and self.pictures
        return not (self.closed or full or crowded)

    def put(self, cell: dict[str, Any], height: int) -> None:
        """Add a cell."""
        self.cells.append(cell)
        self.height += height
        self.pictures += has_picture(cell)
        self.codes += is_code(cell)


def arranged(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Give a copy of the notebook for slides: cells that are skipped are gone, every other says its `slide_type`.

    Raises:
        ValueError: if nothing is left to show, or a cell asks for a kind of slide that does not exist.
    """
    deck = {**notebook, "cells": []}
    slide = Slide()
    for cell in _shown(notebook["cells"]):
        kind = chosen(cell)
        rule = kind or _rule(cell, slide)
        if rule == "notes" or kind in ("fragment", "-"):
            slide.put(_with(cell, rule), 0 if rule == "notes" else height(cell))
        elif rule or not slide.takes(cell, height(cell)):
            before = slide
            slide = Slide()
            brought = [] if kind or rule == "slide" else _introduction(before, cell)
            cell = _with(cell, "-" if brought else rule or "subslide")
            for each in brought:
                slide.put(each, height(each))
            slide.put(cell, height(cell))
        else:
            slide.put(_with(cell, "-"), height(cell))
        slide.closed = is_exercise(cell)
        deck["cells"].append(slide.cells[-1])
    if not any(cell["metadata"]["slideshow"]["slide_type"] not in ("notes",) for cell in deck["cells"]):
        raise ValueError("every cell of this notebook is skipped, so there is no slide to show")
    return deck


def _introduction(before: Slide, cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the text that a cell takes along to its own slide, because it introduces it and would be left behind."""
    last = before.cells[-1] if before.cells else None
    alone = last is None or len([each for each in before.cells if _kind(each) != "notes"]) < 2
    if alone or is_code(last) or not is_code(cell) or _kind(last) != "-" or heading(last):
        return []
    if height(last) + height(cell) > ROOM:
        return []
    last["metadata"]["slideshow"]["slide_type"] = "subslide"
    return [last]


def _kind(cell: Mapping[str, Any]) -> str:
    return cell["metadata"]["slideshow"]["slide_type"]


def _shown(cells: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        kind = chosen(cell)
        if kind != "skip" and (kind or not is_setup(cell)) and cell["cell_type"] in ("code", "markdown"):
            yield from _pieces(copy.deepcopy(cell))


def _pieces(cell: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give a text cell in pieces, each of which begins with its heading; any other cell as it is."""
    starts = []
    if not is_code(cell) and chosen(cell) is None:
        fenced = re.sub(r"```.*?```", lambda found: "·" * len(found[0]), cell["source"], flags=re.DOTALL)
        starts = [found.start() for found in re.finditer(r"^#{2,6}\s", fenced, flags=re.MULTILINE)]
    borders = [0, *(start for start in starts if cell["source"][:start].strip()), len(cell["source"])]
    pieces = [cell["source"][a:b].strip() for a, b in pairwise(borders)]
    pieces = _without_lone_headings(pieces)
    for number, source in enumerate(pieces, 1):
        name = cell.get("id", "text") + (f"-part-{number}" if number > 1 else "")
        yield {**copy.deepcopy(cell), "id": name[:64], "source": source if len(pieces) > 1 else cell["source"]}


def _without_lone_headings(pieces: list[str]) -> list[str]:
    """Put a heading with nothing below it to the piece that follows: a slide with a title alone says nothing."""
    joined: list[str] = []
    for piece in pieces:
        if joined and joined[-1].startswith("#") and "\n" not in joined[-1]:
            joined[-1] = f"{joined[-1]}\n\n{piece}"
        else:
            joined.append(piece)
    return joined


def chosen(cell: Mapping[str, Any]) -> str | None:
    """Give the kind of slide that a cell asks for itself, or None.

    Raises:
        ValueError: if there is no such kind.
    """
    said = (cell.get("metadata", {}).get("slideshow") or {}).get("slide_type")
    if said and said not in KINDS:
        raise ValueError(f"cell {cell.get('id')!r} asks for the slide type {said!r}; there are {', '.join(KINDS)}")
    tags = [tag for tag in notebooks.tags(cell) if tag in KINDS]
    return said or (tags[0] if tags else None)


def _rule(cell: Mapping[str, Any], slide: Slide) -> str | None:
    level = heading(cell)
    if level:
        return "slide" if level <= 2 else "subslide"
    return "subslide" if is_exercise(cell) and slide.codes else None


def _with(cell: dict[str, Any], kind: str) -> dict[str, Any]:
    about = cell.setdefault("metadata", {})
    about["slideshow"] = {"slide_type": kind}
    if has_picture(cell) and len(cell["source"].splitlines()) > 3:
        about["tags"] = [*about.get("tags", []), BESIDE]
    return cell


def is_code(cell: Mapping[str, Any]) -> bool:
    """Whether it is a code cell."""
    return cell["cell_type"] == "code"


def is_exercise(cell: Mapping[str, Any]) -> bool:
    """Whether a cell holds the hole of an exercise."""
    return is_code(cell) and "labkit.check(" in cell["source"]


def is_setup(cell: Mapping[str, Any]) -> bool:
    """Whether a cell only gets things ready: the bootstrap, the parameters, imports, the start of the session."""
    if not is_code(cell):
        return not cell["source"].strip()
    if "parameters" in notebooks.tags(cell) or 'find_spec("labkit")' in cell["source"]:
        return True
    try:
        statements = ast.parse(cell["source"]).body
    except SyntaxError:
        return False
    return all(isinstance(each, ast.Import | ast.ImportFrom) or _starts(each) for each in statements)


def _starts(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Assign | ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "labkit.start"


def heading(cell: Mapping[str, Any]) -> int:
    """Give the level of the heading that a text cell begins with, or 0."""
    found = re.match(r"(#{1,6})\s", cell["source"].lstrip()) if cell["cell_type"] == "markdown" else None
    return len(found[1]) if found else 0


def has_picture(cell: Mapping[str, Any]) -> bool:
    """Whether a cell shows a figure."""
    return any("<figure" in page or mime.startswith("image/") for mime, page in _shown_by(cell))


def _shown_by(cell: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for output in cell.get("outputs", []):
        for mime, page in output.get("data", {}).items():
            if isinstance(page, str):
                yield mime, page


def height(cell: Mapping[str, Any]) -> int:
    """Give about how many pixels a cell takes on a slide of 1280 × 720; what is too much there scrolls or shrinks."""
    if not is_code(cell):
        return _text_height(cell["source"])
    lines = cell["source"].splitlines()
    code = 20 + 22 * len(lines)
    shown = sum(map(_output_height, cell.get("outputs", [])))
    if has_picture(cell) and len(lines) > 3:
        wrapped = 20 + 22 * sum(1 + len(line) // 60 for line in lines)
        return max(wrapped, shown)
    return code + shown


def _text_height(source: str) -> int:
    displayed = re.findall(r"\$\$.*?\$\$", source, flags=re.DOTALL)
    text = re.sub(r"\$\$.*?\$\$", "", source, flags=re.DOTALL)
    lines = [line for line in text.splitlines() if line.strip()]
    rows = sum(1 + len(re.sub(r"\]\([^)]*\)", "]", line)) // 105 for line in lines)
    heads = sum(line.startswith("#") for line in lines)
    blocks = len(re.findall(r"\n\s*\n", source.strip())) + 1
    tall = sum(1 + each.count(r"\\") for each in displayed)
    return 32 * rows + 30 * heads + 12 * blocks + 78 * tall


def _output_height(output: Mapping[str, Any]) -> int:
    if output["output_type"] == "stream":
        return 16 + 20 * sum(1 + len(line) // 130 for line in output["text"].splitlines())
    data = output.get("data", {})
    plain = str(data.get("text/plain", ""))
    page = _PAYLOAD.sub("", str(data.get("text/html", "")))
    if "<figure" in page:
        return _figure_height(page, plain)
    if notebooks.CLAIM in data:
        return 20 + 24 * (1 + len(plain) // 115)
    rows = page.count("<tr") or sum(1 + len(line) // 110 for line in plain.splitlines())
    return min(20 + 26 * rows, ROOM)


def _figure_height(page: str, plain: str) -> int:
    sizes = [tuple(map(int, size)) for size in re.findall(r'<img[^>]*?width="(\d+)" height="(\d+)"', page)]
    caption = 26 * (1 + len(re.sub(r"<[^>]*>", "", page)) // 90) if "<figcaption" in page else 0
    drawn = sum(min(high * min(1, 720 / wide), PICTURE_HEIGHT) for wide, high in sizes)
    return round(drawn or 24 * (1 + len(plain) // 90)) + caption + 24
