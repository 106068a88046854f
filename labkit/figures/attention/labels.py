"""Words and numbers of the figures on attention and the transformer: tokens as labels, figures that repeat anywhere."""

import math
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ft2font import FT2Font
from numpy.typing import ArrayLike

Array = ArrayLike | Sequence  # whatever np.asarray takes; tuples count as Sequence only
Number = int | float | np.number
Words = Sequence | np.ndarray
MOST_LABELS = 48  # more labels than this on one axis cannot be read
TIE = 1e-3  # values this close, relative to the largest, are called equal: another machine may swap them
NOISE = 1e-9
FARTHEST = 1e200  # beyond, the margins of a logarithmic axis overflow
_SIGNS = {"\n": "↵", "\t": "⇥", "\r": "␍"}


def number(value: Number, varies: bool = False) -> str:
    """Write a measured figure with four digits and always a decimal point, so that pages compare it as a decimal.

    With `varies` it stands between ‹ and ›: another machine would give another one.

    >>> number(0.25), number(12345.678), number(3), number(1.5e-7), number(float("-inf")), number(2, varies=True)
    ('0.25', '12,345.7', '3.0', '1.5e-07', 'minus infinity', '‹2.0›')
    """
    text, value = "", float(value)
    if math.isnan(value):
        text = "not a number"
    elif math.isinf(value):
        text = "infinity" if value > 0 else "minus infinity"
    elif abs(value) < NOISE:
        text = "0.0"
    elif 1e-4 <= abs(value) < 1e6:
        text = _trimmed(f"{value:,.{max(1, 3 - math.floor(math.log10(abs(value))))}f}")
    else:
        mantissa, _, power = f"{value:.3e}".partition("e")
        text = f"{_trimmed(mantissa)}e{power}"
    return f"‹{text}›" if varies else text


def _trimmed(decimal: str) -> str:
    whole, _, fraction = decimal.partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'}"


def byte_size(count: Number, digits: int = 4) -> str:
    """Write a number of bytes in the unit that fits it (decimal units: 1 kB is 1000 bytes).

    >>> byte_size(1.6e10), byte_size(2_500), byte_size(12)
    ('16 GB', '2.5 kB', '12 B')
    """
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    power = 0 if count < 1 else min(len(units) - 1, int(math.log10(count) + 1e-9) // 3)
    return f"{count / 1000**power:.{digits}g} {units[power]}"


def plural(count: int, one: str, many: str = "") -> str:
    """Write a count and what is counted.

    >>> plural(1, "mask"), plural(2, "query", "queries")
    ('1 mask', '2 queries')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def quoted(token: object) -> str:
    """Give a token between quotation marks, as sentences name it."""
    return f"“{token}”"


@cache
def _glyphs() -> frozenset[int]:
    file = matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans.ttf"
    return frozenset(FT2Font(file).get_charmap())


def readable(token: object, longest: int = 16) -> str:
    """Give a token as a label: nothing invisible, no formula, no glyph that the font lacks, not too long.

    An empty token is ∅, a blank at its beginning or end ␣, a line break ↵; a sign that DejaVu Sans has not is □.

    >>> readable(" the"), readable(""), readable("a$b$"), readable("猫"), readable("incomprehensibilities", 8)
    ('␣the', '∅', 'a\\\\$b\\\\$', '□', 'incompr…')
    """
    text = unicodedata.normalize("NFC", str(token))
    if not text:
        return "∅"
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    start, end = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    text = "␣" * start + text[start:end] + "␣" * (len(text) - max(start, end))
    known = (_SIGNS.get(sign, sign if ord(sign) in _glyphs() else "□") for sign in text)
    return "".join(known).replace("$", r"\$")  # a dollar would begin a formula


def title_of(text: str) -> str:
    """Give a title that may contain words of a learner: glyphs that the font lacks and dollars are replaced."""
    return readable(text, longest=200) if text else ""


def label_ticks(ax: Axes, columns: Words, rows: Words) -> None:
    """Write tokens below the columns and beside the rows of a matrix, smaller and fewer when there are many."""
    for axis, tokens in ((ax.xaxis, columns), (ax.yaxis, rows)):
        step = math.ceil(max(1, len(tokens)) / MOST_LABELS)
        places = range(0, len(tokens), step)
        words = [readable(tokens[place]) for place in places]
        axis.set_ticks(list(places), words, fontsize=_font_size(len(words)))
    longest = max((len(readable(token)) for token in columns), default=0)
    if len(columns) > 16:
        ax.tick_params(axis="x", rotation=90)
    elif longest > 3 or len(columns) > 10:
        for label in ax.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")


def _font_size(count: int) -> Number:
    return 9 if count <= 10 else 8 if count <= 16 else 6.5 if count <= 32 else 5


def largest(values: Array) -> int:
    """Give the place of the largest number, the first one where several are equal to a thousandth; −1 if there is none.

    >>> largest([0.2, 0.39999, 0.4]), largest([float("nan")]), largest([float("-inf"), 1])
    (1, -1, 1)
    """
    numbers = np.asarray(values, dtype=float).ravel()
    usable = np.isfinite(numbers)
    if not usable.any():
        return -1
    top = numbers[usable].max()
    return int(np.argmax(usable & (np.where(usable, numbers, -np.inf) >= top - TIE * abs(top))))


def positive(values: Array) -> np.ndarray:
    """Give the numbers as floats with NaN for those that a logarithmic axis cannot show."""
    numbers = np.asarray(values, dtype=float)
    with np.errstate(invalid="ignore"):
        return np.where((numbers > 1 / FARTHEST) & (numbers < FARTHEST), numbers, np.nan)


def log_axis(ax: Axes, which: str, *curves: Array) -> None:
    """Make an axis logarithmic where some number on it is positive, and leave it linear where none is."""
    if any(np.isfinite(positive(curve)).any() for curve in curves):
        ax.set(**{f"{which}scale": "log"})


def legend(ax: Axes, **options: Any) -> None:
    """Write a legend where something has a name; matplotlib warns of one without entries."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**({"fontsize": 8} | options))
