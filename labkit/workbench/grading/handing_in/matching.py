"""The cells of a submission beside those that were handed out: which is which, what was added, changed, deleted."""

from collections import defaultdict
from dataclasses import dataclass, field

from labkit.workbench.grading.handing_in.answercells import IN_TEXT
from labkit.workbench.grading.handing_in.handedout import Page
from labkit.workbench.grading.handing_in.reading import Cell

MOST_NAMED = 5  # cells that a note names


@dataclass(frozen=True)
class Placed:
    """One cell in the order of the submission: as the student left it (None if deleted) and as it was handed out.

    `own` says that the student's text counts and not the course's.
    """

    cell: Cell | None
    released: Cell | None
    own: bool


@dataclass
class Matched:
    """All cells in order, and notes on what was done to them."""

    placed: list[Placed]
    notes: list[str] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)


def match(cells: tuple[Cell, ...], page: Page) -> Matched:
    """Find for each cell the one that was handed out: by id, and where an old editor lost the ids, by its text."""
    partners, notes = _partners(cells, page)
    placed, changed = [], []
    for cell, released in zip(cells, partners, strict=True):
        own = released is None or released.id in page.answer_cells
        if not own and not _same(cell, released):
            if any(exercise in page.exercises for exercise in IN_TEXT.findall(cell.source)):
                own, released = True, None  # an answer was written into it
            elif released.kind == "code":
                changed.append(released.id)
        placed.append(Placed(cell, released, own))
    found = {each.released.id for each in placed if each.released}
    gone = [cell for cell in page.cells if cell.id not in found]
    matched = Matched(_with_deleted(placed, gone, page), notes, {cell.id for cell in gone})
    if changed:
        matched.notes.append(
            f"{_cells(changed)} of the course {_were(changed)} changed and {_are(changed)} read as handed out"
        )
    lost = [cell.id for cell in gone if cell.kind == "code" and cell.id not in page.answer_cells]
    if lost:
        matched.notes.append(f"{_cells(lost)} of the course {_were(lost)} deleted; answers are read without them")
    _note_order(placed, page, matched.notes)
    return matched


def _partners(cells: tuple[Cell, ...], page: Page) -> tuple[list[Cell | None], list[str]]:
    partners: list[Cell | None] = []
    taken: set[str] = set()
    twice = []
    for cell in cells:
        released = page.by_id.get(cell.id)
        if released is not None and cell.id in taken:
            twice.append(cell.id)
            released = None
        taken |= {cell.id} if released else set()
        partners.append(released)
    by_text = defaultdict(list)
    for released in page.cells:
        if released.id not in taken and released.source.strip():
            by_text[_text(released)].append(released)
    by_source = 0
    for number, cell in enumerate(cells):
        if partners[number] is None and by_text.get(_text(cell)):
            partners[number] = by_text[_text(cell)].pop(0)
            by_source += cell.id not in page.by_id
    notes = []
    if twice:
        one = "the same id" if len(set(twice)) > 1 else f"the id `{twice[0]}`"
        notes.append(
            f"cells with {one} stand twice in the notebook; of two answers to one exercise the last one counts"
        )
    if by_source:
        notes.append("the editor changed or dropped ids of cells; the cells were recognised by their text")
    return partners, notes


def _text(cell: Cell) -> str:
    return "\n".join(line.rstrip() for line in cell.source.strip().split("\n"))


def _same(cell: Cell, released: Cell) -> bool:
    return _text(cell) == _text(released)


def _with_deleted(placed: list[Placed], gone: list[Cell], page: Page) -> list[Placed]:
    """Put cells that were deleted back where they stood, so that what they define is there."""
    lost = {cell.id for cell in gone}
    follow: dict[str, list[Cell]] = defaultdict(list)
    before = ""
    for cell in page.cells:
        if cell.id in lost:
            follow[before].append(cell)
        else:
            before = cell.id
    order = [Placed(None, cell, False) for cell in follow[""]]
    for each in placed:
        order.append(each)
        after = follow.get(each.released.id, []) if each.released else []
        order += [Placed(None, cell, False) for cell in after]
    return order


def _note_order(placed: list[Placed], page: Page, notes: list[str]) -> None:
    places = {cell.id: number for number, cell in enumerate(page.cells)}
    order = [places[each.released.id] for each in placed if each.released]
    if order != sorted(order):
        notes.append("cells stand in another order than they were handed out in; they are read in the new order")


def _cells(ids: list[str]) -> str:
    named = ", ".join(f"`{name}`" for name in ids[:MOST_NAMED])
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return f"the cell {named}" if len(ids) == 1 else f"{len(ids)} cells ({named}{more})"


def _were(ids: list[str]) -> str:
    return "was" if len(ids) == 1 else "were"


def _are(ids: list[str]) -> str:
    return "is" if len(ids) == 1 else "are"
