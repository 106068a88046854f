"""Two executed copies of a page compared as nbval compares a page with itself: by the rules of tests/outputs."""

import re
from copy import deepcopy

from nbval.plugin import get_sanitize_patterns

from labkit.workbench import notebooks
from labkit.workbench.storing import NOT_OURS
from tests.outputs.alignment import everywhere
from tests.outputs.plugin import IMAGES, align_output, as_stored, contents
from tests.project import ROOT

SHOWN = 60


def sanitiser():
    """What nbval does to every text before it compares: the masks of sanitize.cfg."""
    patterns = get_sanitize_patterns((ROOT / "tests/outputs/sanitize.cfg").read_text(encoding="utf-8"))

    def sanitize(text):
        for pattern, replacement in patterns:
            text = re.sub(pattern, replacement, text)
        return text

    return sanitize


def compare(new, stored):
    """Sentences on what differs between two notebooks, and whether even the last digits of decimals agree.

    What a page marks as differing by machine is masked, decimals may differ by a thousandth, all else must be equal.
    """
    sanitize = sanitiser()
    ours, theirs = _cells(new), _cells(stored)
    if list(ours) != list(theirs):
        return [f"the code cells are {', '.join(ours)}, expected {', '.join(theirs)}"], False
    sentences, exact = [], True
    for name in ours:
        sentence, same = _compare_cell(ours[name], theirs[name], sanitize)
        sentences += [f"cell {name}: {sentence}"] * bool(sentence)
        exact = exact and same
    return sentences, exact


def _cells(notebook):
    cells = [cell for cell in notebooks.code_cells(notebook) if not NOT_OURS.intersection(notebooks.tags(cell))]
    return {cell["id"]: cell for cell in cells}


def _compare_cell(new, stored, sanitize):
    if new["source"] != stored["source"]:
        return "its source is another one", False
    ours, theirs = (as_stored(deepcopy(cell["outputs"])) for cell in (new, stored))
    shapes = [[sorted(contents(output)) for output in outputs] for outputs in (ours, theirs)]
    if shapes[0] != shapes[1]:
        return f"gave {shapes[0] or 'nothing'}, expected {shapes[1] or 'nothing'}", False
    exact = _visible(ours, sanitize) == _visible(theirs, sanitize)
    for here, there in zip(ours, theirs, strict=True):
        align_output(here, there, sanitize=sanitize)
    pairs = zip(_visible(ours, sanitize), _visible(theirs, sanitize), strict=True)
    different = next((pair for pair in pairs if pair[0] != pair[1]), None)
    return (_first_difference(*different) if different else ""), exact


def _visible(outputs, sanitize):
    """What is compared of each output: all but the bytes of pictures, masks put in."""
    kept = ({mime: data for mime, data in contents(output).items() if mime not in IMAGES} for output in outputs)
    return [everywhere(sanitize, data) for data in kept]


def _first_difference(here, there):
    for mime in here:
        ours, theirs = (one if isinstance(one, str) else repr(one) for one in (here[mime], there[mime]))
        if ours != theirs:
            place = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), 0)
            begin = max(0, place - SHOWN // 3)
            shown = [repr(one[begin : begin + SHOWN]) for one in (ours, theirs)]
            return f"{mime} has {shown[0]}, expected {shown[1]}"
    return "other types of output"
