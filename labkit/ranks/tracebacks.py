"""Tracebacks and stacks of ranks as text for a page, without the launcher's frames and the inner ones of libraries."""

import re
import sysconfig
import traceback
from pathlib import Path

from labkit.ranks.mismatches import explained

__all__ = ["calls", "readable_stack", "told"]

_OURS = str(Path(__file__).parent)
_LIBRARIES = [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")]
_INSIDE = ("inside.py", "forking.py", "watching.py", "launching.py")


def told(error: BaseException) -> tuple[str, str]:
    """One line that says what was raised, and the traceback from the function on."""
    shown = traceback.TracebackException.from_exception(error)
    line = "".join(traceback.format_exception_only(type(error), error)).strip()
    last = [frame.name for frame in traceback.extract_tb(error.__traceback__) if _of_torch(frame.filename)]
    sentence = explained(said := _said(error), last[0] if last else "")
    _shorten(shown)
    text = "".join(shown.format())
    if sentence:
        text, line = text.replace(said, sentence), f"{type(error).__name__}: {sentence}"
    return f"raised {line}", text


def _said(error: BaseException) -> str:
    """Its message; nothing for an exception that cannot even say one."""
    try:
        return str(error)
    except Exception:
        return ""


def _shorten(shown: traceback.TracebackException) -> None:
    """Leave out frames, in the chain of causes as well."""
    kept = [frame for frame in shown.stack if not _launcher(frame.filename) and "<frozen" not in frame.filename]
    ends = [frame for number, frame in enumerate(kept) if not _within(kept, number)]
    shown.stack[:] = [
        traceback.FrameSummary(_place(f.filename), f.lineno, f.name, lookup_line=False, line=f.line or "") for f in ends
    ]
    for cause in (shown.__cause__, shown.__context__):
        if cause is not None:
            _shorten(cause)


def _within(frames: list[traceback.FrameSummary], number: int) -> bool:
    """Whether a frame is of a library and between others of libraries: their first and last tell enough."""
    around = frames[max(0, number - 1) : number + 2]
    return 0 < number < len(frames) - 1 and all("site-packages" in frame.filename for frame in around)


def _launcher(file: str) -> bool:
    return (Path(file).parent == Path(_OURS) and Path(file).name in _INSIDE) or file.endswith("c10d_logger.py")


def _of_torch(file: str) -> bool:
    return "/torch/distributed/" in Path(file).as_posix() and not file.endswith("c10d_logger.py")


def _place(file: str) -> str:
    """The name of a file as it is on every machine: "cell", or the path inside of its library or of labkit."""
    if "ipykernel_" in file or "<ipython-input-" in file:
        return "cell"
    for home in (*_LIBRARIES, str(Path(_OURS).parents[1])):
        if Path(home) in Path(file).parents:
            return Path(file).relative_to(home).as_posix()
    return file


def readable_stack(raw: str) -> str:
    """What faulthandler wrote of the main thread, outermost call first; empty if it had not come to the function."""
    frames = [frame for frame in _frames(raw) if not _launcher(frame[0]) and frame[0] != "<string>"]
    frames = [frame for n, frame in enumerate(frames) if n == 0 or not (_library(frame) and _library(frames[n - 1]))]
    return "\n".join(f'  File "{_place(file)}", line {line}, in {name}' for file, line, name in frames)


def _library(frame: tuple[str, str, str]) -> bool:
    return "site-packages" in frame[0]


def _frames(raw: str) -> list[tuple[str, str, str]]:
    """File, line and name of the main thread's frames, in the last dump that there is."""
    blocks = [block for block in re.split(r"\n(?=(?:Current )?[Tt]hread 0x)", "\n" + raw) if "(most recent" in block]
    return re.findall(r'^  File "(.*)", line (\d+) in (.*)$', blocks[-1], re.M)[::-1] if blocks else []


def calls(raw: str) -> str:
    """The function of torch.distributed in which the main thread waits, or nothing."""
    return next((name for file, _, name in _frames(raw) if _of_torch(file)), "")
