"""What ranks print: shown in panes while they run, where somebody watches, else as text at the end."""

import codecs
import html
import os
import sys
import threading
import time
from typing import Any

__all__ = ["Listener", "Panes", "plain", "watched"]

HEAD, TAIL = 40_000, 20_000  # characters kept of what a rank prints: a page cannot show a hundred megabytes


class Listener(threading.Thread):
    """Reads what one rank prints until it ends, and keeps the beginning and the end of it."""

    def __init__(self, stream: Any) -> None:
        super().__init__(daemon=True)
        self._stream, self._head, self._tail, self._left_out = stream, "", "", 0
        self.start()

    def run(self) -> None:
        """Read until the last process that holds the stream has ended."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            while piece := self._stream.read1(65536):
                self._keep(decoder.decode(piece))
        except (OSError, ValueError):
            pass  # closed while it read

    def _keep(self, piece: str) -> None:
        if len(self._head) < HEAD:
            cut = HEAD - len(self._head)
            self._head, piece = self._head + piece[:cut], piece[cut:]
        joined = self._tail + piece
        self._left_out += max(0, len(joined) - TAIL)
        self._tail = joined[-TAIL:]

    @property
    def text(self) -> str:
        """What was printed so far, with a note in the place of what is left out."""
        note = f"\n… {self._left_out:,} characters left out …\n" if self._left_out else ""
        lines = (self._head + note + self._tail).replace("\r\n", "\n").split("\n")
        return "\n".join(line.rsplit("\r", 1)[-1] for line in lines)


def watched() -> bool:
    """Whether somebody sees the cell while it runs: in JupyterLab, Colab or Kaggle, not on a headless run."""
    hosted = "COLAB_RELEASE_TAG" in os.environ or "KAGGLE_KERNEL_RUN_TYPE" in os.environ
    return "IPython" in sys.modules and (hosted or ("JPY_SESSION_NAME" in os.environ and "NBVAL" not in os.environ))


def plain(texts: list[str]) -> str:
    """All that was printed, rank by rank, each line with the number of its rank."""
    lines = [f"[rank {rank}] {line}" for rank, text in enumerate(texts) for line in text.rstrip("\n").split("\n")]
    return "\n".join(line.rstrip() for line in lines if line.partition("] ")[2])


class Panes:
    """One pane per rank, side by side, redrawn while they run; the last drawing stays in the notebook."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._html, self._last, self._next = HTML, "", 0.0
        self._handle = display(HTML(""), display_id=True)

    def show(self, texts: list[str], states: list[str], last: bool = False) -> None:
        """Draw what each rank has printed, and how it is; a few times a second, and at last, if any has said a word."""
        if self._handle is None or (time.monotonic() < self._next and not last):
            return
        self._next = time.monotonic() + 0.2
        drawn = "" if last and not any(text.strip() for text in texts) else _drawn(texts, states)
        if drawn != self._last:
            self._handle.update(self._html(drawn))
            self._last = drawn


def _drawn(texts: list[str], states: list[str]) -> str:
    pane = (
        '<div style="flex:1 1 20em;min-width:0;border:1px solid #8888;border-radius:4px;padding:0 .5em">'
        '<b>rank {}</b> <span style="opacity:.7">{}</span>'
        '<pre style="max-height:16em;overflow:auto;white-space:pre-wrap;margin:.2em 0">{}</pre></div>'
    )
    parts: list[Any] = [
        pane.format(rank, state, html.escape(text.rstrip()[-8000:]))
        for rank, (text, state) in enumerate(zip(texts, states, strict=True))
    ]
    return f'<div style="display:flex;flex-wrap:wrap;gap:.5em">{"".join(parts)}</div>'
