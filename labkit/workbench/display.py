"""Cards and short wordings: what the classroom prints is readable in a light theme, a dark theme and a terminal."""

import html
import inspect
import re
import reprlib
import sys
from fractions import Fraction
from typing import Any

# Each tone sets text and background, so a theme cannot make the text vanish; a sign says what the colour says.
TONES = {
    "good": ("#116329", "#1a7f37"),
    "bad": ("#a40e26", "#cf222e"),
    "calm": ("#0550ae", "#0969da"),
    "quiet": ("#424a53", "#6e7781"),
}
CARD = "#f6f8fa"
INK = "#1f2328"
QUIET = "#424a53"
CODE = f"color:{INK};background:{CARD}"


def publish(plain: str, html_text: str, **others: Any) -> None:
    """Show HTML with a plain-text twin in a notebook, and print the plain text everywhere else.

    `others` are further representations of the same message, by MIME type.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        print(plain)
        return
    from IPython.display import display

    display({"text/plain": plain, "text/html": html_text, **others}, raw=True)


def card(title: str, body: str, tone: str = "quiet") -> str:
    """Give an HTML card: `title` as text, `body` as HTML, and a coloured edge by `tone`."""
    ink, edge = TONES[tone]
    heading = f'<strong style="color:{ink}">{escape(title)}</strong>'
    return (
        f'<div role="note" aria-label="{escape(title)}" style="border-left:5px solid {edge};border-radius:4px;'
        f"margin:4px 0;padding:8px 12px;max-width:52em;overflow-wrap:anywhere;line-height:1.45;"
        f'background:{CARD};color:{INK}">'
        f"{heading}{body}</div>"
    )


def paragraphs(text: str) -> str:
    """Give the lines of a plain text as HTML paragraphs; what stands between backquotes becomes code."""
    return "".join(
        f'<div style="margin-top:4px;color:{INK};white-space:pre-wrap">{_with_code(line)}</div>'
        for line in text.splitlines()
        if line.strip()
    )


def escape(text: str) -> str:
    """Give text that HTML shows as it is, quotes included."""
    return html.escape(text, quote=True)


def _with_code(line: str) -> str:
    pieces = line.split("`")
    if len(pieces) % 2 == 0:  # a lone backquote is only a character
        return escape(line)
    return "".join(
        f'<code style="{CODE};padding:0;font-weight:600">{escape(piece)}</code>' if i % 2 else escape(piece)
        for i, piece in enumerate(pieces)
    )


def decimal(value: float, digits: int = 6) -> str:
    """Give a float in a few digits, always with a point or an exponent, so it is never taken for a count."""
    text = f"{value:.{digits}g}"
    return text if any(mark in text for mark in ".einf") else text + ".0"


class _Brief(reprlib.Repr):
    """repr in one short line, equal in every process: sets sorted, no addresses, no `np.float64(…)`."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 12
        self.maxstring = self.maxother = 120
        self.maxlevel = 4

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to spell integers of more than some thousand digits."""
        digits = int(abs(x).bit_length() * 0.30103) + 1
        return f"a whole number of about {digits:,} digits" if digits > 1000 else super().repr_int(x, level)

    def repr1(self, x: Any, level: int) -> str:
        if hasattr(x, "detach") and hasattr(x, "numel"):
            return self.repr_tensor(x)
        if type(x).__module__ == "numpy" and hasattr(x, "tolist"):
            corner = x[(slice(self.maxlist + 1),) * x.ndim] if x.ndim else x  # never a million numbers to show twelve
            found = corner.tolist()
            return f"array({self.repr1(found, level)})" if isinstance(found, list) else self.repr1(found, level)
        if isinstance(x, float):
            return decimal(x, digits=12)
        if isinstance(x, dict):  # reprlib would sort the keys, but the order of a dict is part of what it says
            return self.repr_in_order(x, level)
        if inspect.isroutine(x) or isinstance(x, type):
            return x.__name__
        return super().repr1(x, level)

    def repr_tensor(self, x: Any) -> str:
        """A small tensor as one would type it, of a larger one the shape and the first numbers."""
        try:
            flat = x.detach().reshape(-1)[: self.maxlist].cpu().tolist()
        except (RuntimeError, NotImplementedError):  # sparse, or without values on the meta device
            return f"tensor of shape {tuple(x.shape)}"
        if not x.ndim:
            return self.repr1(flat[0], self.maxlevel)
        if not flat:
            return f"empty tensor of shape {tuple(x.shape)}"
        numbers = [decimal(n) if isinstance(n, float) else repr(n) for n in flat]
        if x.numel() > self.maxlist:
            return f"tensor of shape {tuple(x.shape)}: {', '.join(numbers[:4])}, …"
        return f"tensor({_nested(numbers, tuple(x.shape))})"

    def repr_in_order(self, x: dict, level: int) -> str:
        if level <= 0 and x:
            return "{…}"
        shown = [f"{self.repr1(k, level - 1)}: {self.repr1(v, level - 1)}" for k, v in list(x.items())[: self.maxdict]]
        return "{" + ", ".join(shown + ["…"] * (len(x) > self.maxdict)) + "}"


def _nested(texts: list[str], shape: tuple[int, ...]) -> str:
    if not shape:
        return texts[0]
    step = len(texts) // max(1, shape[0])
    return f"[{', '.join(_nested(texts[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0]))}]"


def counted(count: int, one: str, many: str = "") -> str:
    """Give a count and what is counted.

    >>> counted(1, "student"), counted(2, "mistake")
    ('1 student', '2 mistakes')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def brief(value: Any, limit: int = 160) -> str:
    """Give a value in one line of at most `limit` characters, the same in every process."""
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(_Brief().repr(value).split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def figure(value: Any) -> str:
    """Give one value as a claim prints it: six digits of a float, every digit of a whole number."""
    if isinstance(value, float):
        return decimal(value)
    return str(value) if isinstance(value, Fraction) else brief(value, limit=80)
