"""What goes wrong on ranks, told as one sentence: who was first, of what, and where it stood."""

import os
import signal
from dataclasses import dataclass
from typing import Any

from labkit.ranks.mismatches import explained, follows

__all__ = ["Death", "RankFailed", "RanksTimeout", "blame", "ended"]


@dataclass(frozen=True)
class Death:
    """How one rank ended before it returned: `kind` is the name of the exception or signal, or "exit"."""

    rank: int
    kind: str
    message: str
    when: float
    traceback: str = ""
    exitcode: int | None = None


class RankFailed(RuntimeError):
    """A rank raised, was killed or ended before it returned; `rank` is the one to blame, `ranks` are all that failed.

    Besides: `kind` (name of the exception or the signal, or "exit"), `message`, `traceback` (text of that rank),
    `signal` and `exitcode` (or None), and `output`, what each rank had printed.
    """

    def __init__(self, deaths: list[Death], world: int, output: list[str]) -> None:
        first = deaths[0]
        self.rank, self.kind, self.message, self.traceback = first.rank, first.kind, first.message, first.traceback
        self.ranks = sorted(death.rank for death in deaths)
        self.signal = first.kind if first.kind.startswith("SIG") else None
        self.exitcode, self.output = first.exitcode, output
        self._made_of = (deaths, world, output)
        super().__init__(f"rank {first.rank} of {world} {first.message}\n\n{first.traceback}".rstrip())

    def __reduce__(self) -> Any:
        return type(self), self._made_of  # so that it passes from process to process


class RanksTimeout(TimeoutError):
    """Ranks did not return in time; `stacks` says for each of them where it stood, `output` what each had printed."""

    def __init__(self, timeout: float | int, stacks: dict[int, str], waits: dict[int, str], output: list[str]) -> None:
        self.stacks, self.output = stacks, output
        self._made_of = (timeout, stacks, waits, output)
        late = [rank for rank, stack in stacks.items() if stack != "had returned"]
        places = "\n".join(f"rank {rank} {stack}" for rank, stack in stacks.items())
        where = [
            f"rank {r} waits in {waits[r]}" if waits.get(r) else f"rank {r} {one.splitlines()[0]}"
            for r, one in stacks.items()
            if waits.get(r) or one == "had returned"
        ]
        why = f": {', '.join(where)}; checks=True tells what does not fit" if any(waits.values()) else ""
        text = f"{_ranks(late)} of {len(stacks)} did not return within {timeout:g} seconds{why}"
        super().__init__(f"{text}\n\n{places}")

    def __reduce__(self) -> Any:
        return type(self), self._made_of


def _ranks(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"rank {numbers[0]}"
    return f"ranks {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def blame(deaths: list[Death]) -> list[Death]:
    """The deaths by their guilt: complaints of another one's end come last, and of equal errors the lowest rank first.

    A rank that ended without a word is seen later than it died; so it comes before errors, unless it aborted.
    """

    def guilt(death: Death) -> tuple[bool, bool, float]:
        silent = death.kind.startswith("SIG") or death.kind == "exit"
        return follows(death.message), death.kind == "SIGABRT", 0.0 if silent else death.when

    ordered = sorted(deaths, key=guilt)
    first = ordered[0]
    alike = [one for one in ordered if (one.kind, one.message) == (first.kind, first.message)]
    named = min(alike, key=lambda one: one.rank)
    return [named, *(one for one in ordered if one is not named)]


def ended(code: int, output: str) -> tuple[str, str]:
    """Kind and sentence for a process that ended by itself: a signal by its name, or an exit code."""
    if code >= 0 or os.name == "nt":
        return "exit", f"ended with exit code {code} before it returned"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"SIG{-code}"
    last = "terminate called" in output and (explained(output, "") or output.rpartition("what():")[2].strip())
    hint = f": {last}" if last else " (as the system does when memory runs out)" if name == "SIGKILL" else ""
    return name, f"was killed by the signal {name}{hint}"
