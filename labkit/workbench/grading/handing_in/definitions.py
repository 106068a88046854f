"""What an answer needs of the rest of its notebook: found in the text by names, in order, without running anything."""

import ast
import builtins
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from dataclasses import dataclass, field

from labkit.workbench.grading.handing_in.bindings import (
    FUNCTIONS,
    called_by,
    changed_by,
    made_by_exec,
    names_in,
    set_by_calls,
)
from labkit.workbench.grading.handing_in.sources import Broken, Source, parse, text_of, without_decorators
from labkit.workbench.grading.handing_in.submissions import Definition, Submission

STEP = 10_000  # statements of one cell at most, so that one number orders cells and statements
BUILTINS = frozenset(dir(builtins)) | {"__name__", "__doc__", "__file__"}
# What a constant of the course may call and still be a constant: cheap, and the same every time.
CHEAP = {"range", "len", "list", "tuple", "set", "frozenset", "dict", "sorted", "min", "max", "sum", "zip", "enumerate"}
CHEAP |= {"int", "float", "str", "round", "abs", "given", "seed_for"}
STANDS_IN = {"display": "display = print"}  # what Jupyter gives every cell


def definitions_of(
    source: Source, position: int, cell: str, own: bool, is_check=lambda node: False, future: str = ""
) -> list[Definition]:
    """Give the statements of a cell that bind or change a name, without decorators of which `is_check` is true.

    `future` is an import from __future__ that holds for the cell, as one of a cell above does in a kernel.
    """
    found = []
    for number, node in enumerate(source.tree.body[:STEP]):
        text = text_of(node, source)
        text = without_decorators(node, text, [each for each in getattr(node, "decorator_list", []) if is_check(each)])
        if one := definition(node, text, position * STEP + number, cell, own, future):
            found.append(one)
    return found


def definition(node: ast.stmt, text: str, position: int, cell: str, own: bool, future: str = "") -> Definition | None:
    """Give one statement as a definition, or None if it binds and changes nothing."""
    binds, now, later = names_in(future + text)
    binds |= made_by_exec(node)
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        binds |= {"*"}
    if isinstance(node, ast.Delete):  # after `del max` the name means Python's own again
        binds = frozenset(part.id for part in node.targets if isinstance(part, ast.Name)) & BUILTINS
        return Definition(position, cell, own, text, binds, *[frozenset()] * 3, False) if binds else None
    if not own:  # a statement of the course that changes something is never taken
        return Definition(position, cell, own, text, binds, frozenset(), now, later, _is_plain(node)) if binds else None
    changes, calls = frozenset(changed_by(node)), called_by(node)
    if not binds and not changes and not (calls and calls[0] not in BUILTINS):
        return None
    sets = set_by_calls(node, later | now)
    return Definition(position, cell, own, text, binds, changes, now | changes, later, True, sets, calls)


def _is_plain(node: ast.stmt) -> bool:
    """Tell whether a statement of the course may be taken: an import, a function, a class or a constant."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef | FUNCTIONS[0] | FUNCTIONS[1]):
        return True
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        return all(_is_cheap(part) for part in ast.walk(node))
    return False


def _is_cheap(part: ast.AST) -> bool:
    if isinstance(part, ast.Await | ast.Yield | ast.YieldFrom):
        return False
    if not isinstance(part, ast.Call):
        return True
    if isinstance(part.func, ast.Attribute):
        return isinstance(part.func.value, ast.Constant) or part.func.attr in ("given", "seed_for")
    return isinstance(part.func, ast.Name) and part.func.id in CHEAP


def _position(one: Definition) -> int:
    return one.position


def _is_function(one: Definition) -> bool:
    return one.source.lstrip().startswith(("def ", "async def ", "@"))


def _unbinds(one: Definition) -> bool:
    return one.source.startswith("del ")


@dataclass
class _Search:
    """All definitions of a notebook by name, and what was found to be needed for one answer."""

    definitions: tuple[Definition, ...]
    until: int
    answered: frozenset[str] = frozenset()  # bound by the answer itself, which may call itself
    binders: dict[str, list[Definition]] = field(default_factory=lambda: defaultdict(list))
    changers: dict[str, list[Definition]] = field(default_factory=lambda: defaultdict(list))
    chosen: dict[int, Definition] = field(default_factory=dict)
    providers: dict[int, list[tuple[str, int | None]]] = field(default_factory=lambda: defaultdict(list))
    unknown: dict[str, None] = field(default_factory=dict)
    stand_ins: set[str] = field(default_factory=set)
    followed: dict[str, int] = field(default_factory=dict)  # from where on the changes of a name are chosen

    def __post_init__(self) -> None:
        imported = set()
        for one in self.definitions:
            for name in one.binds:
                self.binders[name].append(one)
            imported |= one.binds if one.source.lstrip().startswith(("import ", "from ")) else set()
        for one in self.definitions:
            for name in one.changes - imported if one.own else ():
                self.changers[name].append(one)
        self._follow_calls()

    def _follow_calls(self) -> None:
        """What a statement calls may bind or change names too: those that the function sets, those that it is given."""
        functions = {name: one for one in self.definitions if one.own for name in one.binds if _is_function(one)}
        for one in self.definitions:
            called = functions.get(one.calls[0]) if one.calls and one.own else None
            for name in called.sets - one.binds if called else ():
                insort((self.changers if name in self.binders else self.binders)[name], one, key=_position)
            for name in one.calls[1:] if called else ():
                insort(self.changers[name], one, key=_position)

    def provider(self, name: str, before: int) -> Definition | None:
        """The definition of a name that a kernel would have found before a place; if there is none, the next one."""
        all_of_it = self.binders.get(name, [])
        place = bisect_left(all_of_it, before, key=_position)
        earlier, after = all_of_it[:place], all_of_it[place:]
        if earlier and _unbinds(earlier[-1]):
            return None
        if earlier and earlier[-1].plain:
            return earlier[-1]
        own = next((one for one in reversed(earlier) if one.own), None)
        if own or earlier or name in BUILTINS:
            return own
        return next((one for one in after if one.plain and one.position != self.until), None)

    def want(self, name: str, before: int, asker: int | None) -> list[Definition]:
        """Note that a name is needed; give the definitions that come along and were not chosen before."""
        one = self.provider(name, before)
        if one is None:
            if name in STANDS_IN and name not in self.binders:
                self.stand_ins.add(name)
            elif name not in BUILTINS or (name in self.binders and not self._is_free_again(name, before)):
                stars = [] if name in self.binders else self.binders.get("*", [])
                if not stars:
                    self.unknown[name] = None
                    self._noted(asker, name, None)
                return self._new(stars)
            return []
        self._noted(asker, name, one.position)
        return self._new([one, *self._changing(name, one.position)])

    def _changing(self, name: str, after: int) -> list[Definition]:
        """What changes a name between its definition and the answer, without what was given before."""
        changers, until = self.changers.get(name, []), self.followed.get(name, self.until)
        self.followed[name] = min(after, until)
        return changers[bisect_right(changers, after, key=_position) : bisect_left(changers, until, key=_position)]

    def _is_free_again(self, name: str, before: int) -> bool:
        earlier = [one for one in self.binders[name] if one.position < before]
        return bool(earlier) and _unbinds(earlier[-1])

    def _noted(self, asker: int | None, name: str, provider: int | None) -> None:
        if asker is not None:
            self.providers[asker].append((name, provider))

    def _new(self, found: list[Definition]) -> list[Definition]:
        fresh = [one for one in found if one.position not in self.chosen]
        self.chosen.update({one.position: one for one in fresh})
        return fresh

    def close(self, waiting: list[Definition]) -> None:
        """Choose whatever the chosen definitions need in their turn."""
        while waiting:
            one = waiting.pop()
            for name in sorted(one.now):
                waiting += self.want(name, one.position, one.position)
            for name in sorted((one.later | one.sets) - one.binds - self.answered):
                waiting += self.want(name, self.until, None) if self.helps(name, one.sets) else []

    def helps(self, name: str, sets: frozenset[str]) -> bool:
        """Whether a name has to be looked for: one that a function sets itself need not be there before."""
        return name not in sets or self.provider(name, self.until) is not None

    def dead(self) -> dict[int, str]:
        """The chosen definitions that cannot run, each with the name it lacks."""
        gone: dict[int, str] = {}
        grown = True
        while grown:
            grown = False
            for place, needed in self.providers.items():
                lacking = next((n for n, at in needed if at is None or at in gone), None)
                if place not in gone and lacking is not None:
                    gone[place] = lacking
                    grown = True
        return gone


def _search(submission: Submission, exercise_id: str) -> _Search:
    until = submission.places.get(exercise_id, 10**12)
    source = submission.answers.get(exercise_id, "")
    binds, now, later = names_in(source)
    sets = frozenset().union(*(set_by_calls(node, now | later) for node in _statements(source)))
    search = _Search(submission.definitions, until, binds)
    shown = names_in(submission.names.get(exercise_id, ""))[1] - binds
    waiting = []
    for name in sorted(now | shown):
        waiting += search.want(name, until, None)
    for name in sorted((later | sets) - binds):
        waiting += search.want(name, until, None) if search.helps(name, sets) else []
    search.close(waiting)
    return search


def _statements(source: str) -> list[ast.stmt]:
    try:
        return parse(source).body
    except Broken:
        return []


def preamble(submission: Submission, exercise_id: str) -> str:
    """Give the source that has to run before an answer: only what the answer reaches by its names, in order.

    From the student's own cells come all statements that bind or change such a name; from the course's cells, as they
    were handed out, imports, functions, classes and constants, and never a computation.
    """
    search = _search(submission, exercise_id)
    dead = search.dead()
    usable = [one.source for place, one in sorted(search.chosen.items()) if place not in dead]
    first = [text for text in usable if text.startswith("from __future__")]
    answer = submission.answers.get(exercise_id, "")
    if usable and not first and answer.startswith("from __future__"):  # it holds for all cells below it
        first = [answer.partition("\n")[0]]
    return "\n".join(
        [*first, *(STANDS_IN[n] for n in sorted(search.stand_ins)), *(t for t in usable if t not in first)]
    )


def needs(submission: Submission, exercise_id: str) -> tuple[str, ...]:
    """Say, one sentence each, which names an answer uses that only a computation of another cell could give."""
    search = _search(submission, exercise_id)
    said = [_why_not(name, search, submission) for name in search.unknown]
    for place, name in search.dead().items():
        of = ", ".join(f"`{bound}`" for bound in sorted(search.chosen[place].binds or search.chosen[place].changes))
        said.append(f"{of} cannot be made without `{name}`")
    return tuple(said)


def _why_not(name: str, search: _Search, submission: Submission) -> str:
    if name in search.binders:
        cell = search.binders[name][0].cell
        return f"`{name}` is computed by another cell (`{cell}`); an answer gets everything it needs as arguments"
    if name in submission.lost:
        return (
            f"`{name}` stands in the cell `{submission.lost[name]}` of the course, which is read as it was handed out; "
            "put it into a cell of your own"
        )
    return f"nothing in the notebook defines `{name}`"
