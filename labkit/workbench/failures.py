"""Why a notebook stopped, in one sentence: which cell, which line, which error, and what to do about it."""

import re
import signal
from dataclasses import dataclass
from typing import Any

from labkit.workbench import installing

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
FAILED_LINE = re.compile(
    r"Cell In\s?\[(\d+)\], line (\d+)"
    r"|<ipython-input-(\d+)-[^>]*> in [^\n]*\n(?:[^\n]*\n)*?-+> (\d+) "  # the IPython of Colab
)


class Stopped(Exception):
    """The run was stopped before this notebook began."""


@dataclass(frozen=True)
class Failure:
    """Why a notebook stopped: one sentence, code cell `cell` (0: before the first), its id, its line, the error."""

    sentence: str
    cell: int = 0
    cell_id: str = ""
    line: str = ""
    error: str = ""
    interrupted: bool = False


def explain(error: Exception, watch: Any, timeout: int) -> Failure:
    """Give the sentence for what ended a run: the cell, its line and the error."""
    kind = type(error).__name__
    where = f"code cell [{watch.number}] (id {watch.cell_id})"
    died = kind == "DeadKernelError" or str(error).startswith("Kernel died")
    first = next((line.strip() for line in watch.source.splitlines() if line.strip()), "")
    at = {"cell": watch.number, "cell_id": watch.cell_id}
    if watch.stopped:
        return Failure("interrupted" + (f" in {where}" if watch.number else " before it began"), interrupted=True, **at)
    if kind == "PapermillExecutionError":
        number, line = failed_line(error.traceback, error.exec_count, error.source)
        message = " ".join(f"{error.ename}: {ANSI.sub('', error.evalue)}".split())
        at_line = f", line {number}" if number else ""
        sentence = f"{where}{at_line}, `{line or first}`, failed with {message}{_how_to_get(error)}"
        return Failure(sentence, line=line or first, error=message, **at)
    if kind == "CellTimeoutError":
        message = f"ran longer than {timeout} s and was stopped; --timeout allows more"
        return Failure(f"{where}, which begins with `{first}`, {message}", line=first, error=message, **at)
    if died and not watch.number:
        message = f"the kernel was lost before the first cell: {_how_it_died(watch)}"
        return Failure(message, error=message)
    if died:
        message = f"lost its kernel: {_how_it_died(watch)}"
        return Failure(f"{where}, which begins with `{first}`, {message}", line=first, error=message, **at)
    message = " ".join(str(error).split()) or kind
    return Failure(message if isinstance(error, ValueError | OSError) else f"{kind}: {message}", error=message, **at)


def failed_line(traceback: list[str], exec_count: int | None, source: str) -> tuple[int, str]:
    """Give number and text of the line that failed, read from IPython's traceback; (0, "") if it has none."""
    lines = source.splitlines()
    for found in FAILED_LINE.finditer(ANSI.sub("", "\n".join(traceback))):
        cell, number = (int(each) for each in (found.group(1, 2) if found.group(1) else found.group(3, 4)))
        if cell == exec_count and 1 <= number <= len(lines):
            return number, lines[number - 1].strip()
    return 0, ""


def _how_to_get(error: Any) -> str:
    """Give the command that brings a module which an import did not find."""
    found = re.search(r"No module named '([\w.]+)'", error.evalue) if error.ename == "ModuleNotFoundError" else None
    extra = installing.extra_for(found.group(1).partition(".")[0]) if found else None
    return f"; get it with {installing.command(extra)}" if extra else ""


def _how_it_died(watch: Any) -> str:
    code, held = watch.exit_code, f"it held {watch.peak_bytes / 1e6:,.0f} MB at most"
    if code is None or code >= 0:
        return f"the process ended with exit code {code} ({held})"
    names = {each.value: each.name for each in signal.Signals}
    out_of_memory = "often the system running out of memory: close other programs, or run with --jobs 1; "
    often = out_of_memory if names.get(-code) == "SIGKILL" else ""
    return f"killed by {names.get(-code, f'signal {-code}')} ({often}{held})"
