"""What left a pipeline on the way, and why: removed on purpose, or set apart because something went wrong."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field

__all__ = ["Quarantined", "Removed", "from_line", "most", "reason_of", "reasons", "to_line"]

LONGEST_REASON, LONGEST_SHOWN = 200, 90  # characters: of an error's message, and of a reason in a table


@dataclass(frozen=True, slots=True)
class Removed:
    """A document that a step took out: which, and in words why."""

    id: str
    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A document that could not be processed. Its line as it was read is kept: nothing is lost."""

    id: str
    step: str
    reason: str
    line: bytes = field(default=b"", compare=False)  # as it stood in the file, or as the document writes itself


def reason_of(error: BaseException) -> str:
    """An error in one line: its kind and the first line of its message."""
    message = str(error).strip().partition("\n")[0][:LONGEST_REASON].encode("utf-8", "replace").decode("utf-8")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def reasons(quarantined: Iterable[Quarantined]) -> dict[str, int]:
    """How many documents each reason has, the most frequent first."""
    return most(Counter(f"{one.step}: {one.reason}"[:LONGEST_SHOWN] for one in quarantined))


def most(found: Mapping[str, int], kinds: int = 1000) -> dict[str, int]:
    """The most frequent first, and beyond `kinds` all others as one, so that a table cannot grow without bound."""
    ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    others = sum(count for _, count in ordered[kinds:])
    return dict(ordered[:kinds]) | ({"other reasons": others} if others else {})


def to_line(left: Removed | Quarantined) -> bytes:
    """One line of JSON with its end; bytes that are no UTF-8 are kept by a code that can be turned back."""
    found = asdict(left)
    if "line" in found:
        found["line"] = found["line"].decode("utf-8", "surrogateescape")
    return json.dumps(found).encode("ascii") + b"\n"


def from_line(kind: Callable[..., Removed | Quarantined], line: bytes) -> Removed | Quarantined:
    """What `to_line` wrote."""
    found = json.loads(line)
    if "line" in found:
        found["line"] = found["line"].encode("utf-8", "surrogateescape")
    return kind(**found)
