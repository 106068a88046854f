"""The look of every figure: one meaning per colour, alt text as data, a small white picture for any theme.

Figures are made without pyplot: nothing is drawn twice, nothing depends on a backend, and no state is left behind.
What is text and not drawing (a page with passages struck out) is HTML on the same card, see `Marked`.
"""

import base64
import html as escaping
import io
import sys
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Petroff's ten colours, chosen with colour-blind readers (Source: Petroff, 2021, arXiv:2107.02270, table 3).
OURS = "#3f90da"  # what labkit computes
REFERENCE = "#e76300"  # a trusted library, or a published figure
DATA = "#717581"  # counts and observations as they came
ACCENT = "#832db6"  # the one thing the sentence above the figure speaks of
WRONG = "#bd1f01"  # a broken variant
QUIET = "#94a4a2"  # context that should not draw the eye
INK = "#1f2328"
CYCLE = (OURS, REFERENCE, DATA, ACCENT, WRONG, "#a96b59", "#b9ac70", "#92dadd")
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DPI = 110
COLOURS_IN_PNG = 96


def theme() -> dict[str, Any]:
    """Give the matplotlib settings of the course; the fonts come with matplotlib, so pictures are alike everywhere."""
    return {
        "font.family": ["DejaVu Sans"],
        "mathtext.fontset": "dejavusans",
        "font.size": 10,
        "axes.prop_cycle": cycler(color=CYCLE) + cycler(linestyle=DASHES),
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": DATA,
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": "#dfe3e6",
        "grid.linewidth": 0.8,
        "grid.linestyle": "-",
        "lines.linewidth": 2.0,
        "lines.markersize": 5.0,
        "legend.frameon": False,
        "figure.facecolor": "white",
        "axes.facecolor": "white",
        "savefig.facecolor": "white",
        "savefig.bbox": None,
        "figure.dpi": DPI,
    }


def series(index: int) -> dict[str, Any]:
    """Give colour, line style and marker of the series number `index`, so that no two differ by colour alone."""
    return {
        "color": CYCLE[index % len(CYCLE)],
        "linestyle": DASHES[index % len(DASHES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def new(
    width: int | float = 7, height: int | float = 3.5, ncols: int = 1, nrows: int = 1
) -> tuple[Figure, Axes | np.ndarray]:
    """Make a figure of `width` × `height` inches with one axes, or an array of `nrows` × `ncols` axes."""
    with matplotlib.rc_context(theme()):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        return figure, figure.subplots(nrows, ncols)


def axes(ax: Axes | None = None, width: int | float = 7, height: int | float = 3.5) -> Axes:
    """Give `ax` back, or the axes of a new figure when there is none: the first line of every draw function."""
    return new(width, height)[1] if ax is None else ax


def describe(target: Axes | Figure, sentence: str) -> None:
    """Store the alt text of a figure: a sentence made from the data, with its numbers.

    The sentences of several axes are joined in the order of the axes; a sentence for the whole figure replaces them.

    Raises:
        ValueError: if the sentence is empty.
    """
    words = " ".join(sentence.split())
    if not words:
        raise ValueError('the alt text is empty; say what the data show, as in "loss: starts at 4.00, ends at 0.58"')
    figure = figure_of(target)
    if isinstance(target, Figure):
        figure.labkit_alt = words
        return
    sentences = getattr(figure, "labkit_sentences", {})
    figure.labkit_sentences = sentences | {target: words}
    ordered = [figure.labkit_sentences[ax] for ax in figure.axes if ax in figure.labkit_sentences]
    figure.labkit_alt = " ".join(s if s.endswith((".", "!", "?")) or len(ordered) == 1 else s + "." for s in ordered)


@dataclass(frozen=True, slots=True, repr=False)
class Marked:
    """A figure made of text: `html` to stand on a white card, and the sentence `alt` that says what it shows.

    Words of a reader or of a crawl come into `html` only escaped; `html.escape` of the standard library does it.

    Raises:
        ValueError: if the sentence is empty.
    """

    html: str
    alt: str

    def __post_init__(self) -> None:
        words = " ".join(self.alt.split())
        if not words:
            raise ValueError('the alt text is empty; say what the page shows, as in "12 blocks: 5 kept"')
        object.__setattr__(self, "alt", words)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **more: Any) -> dict[str, str]:
        return {"text/plain": f"Figure: {self.alt}", "text/html": html(self, caption=self.alt)}

    def __repr__(self) -> str:
        return f"Marked({self.alt!r})"


def alt_of(target: Axes | Figure | Marked) -> str:
    """Give the alt text of a figure.

    Raises:
        ValueError: if nobody described the figure.
    """
    if isinstance(target, Marked):
        return target.alt
    sentence = getattr(figure_of(target), "labkit_alt", "")
    if not sentence:
        raise ValueError(
            "this figure has no alt text, so a reader who cannot see it gets nothing; "
            'call labkit.figures.style.describe(ax, "what the data show, with numbers") before showing it'
        )
    return sentence


def figure_of(target: Axes | Figure) -> Figure:
    """Give the figure itself, or the one that the axes belong to."""
    return target if isinstance(target, Figure) else target.get_figure(root=True)


def png(target: Axes | Figure) -> bytes:
    """Draw a figure as a PNG on white, its colours reduced to a palette: about 20 kB instead of 60."""
    from PIL import Image

    buffer, small = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context(theme()):
        figure_of(target).savefig(
            buffer,
            format="png",
            dpi=DPI,
            facecolor="white",
            pil_kwargs={"compress_level": 1},
            metadata={"Software": None},
        )
    image = Image.open(buffer).convert("RGB")
    palette = image.quantize(COLOURS_IN_PNG, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(small, format="PNG", optimize=True)
    return small.getvalue()


def html(target: Axes | Figure | Marked, caption: str | None = None) -> str:
    """Give the figure as HTML that needs no other file: a picture with alt text, or marked text, on a white card.

    Raises:
        ValueError: if the figure has no alt text.
    """
    alt = escaping.escape(alt_of(target))
    below = f'<figcaption style="padding:4px 0 0">{escaping.escape(caption)}</figcaption>' if caption else ""
    card = f"max-width:100%;margin:0;padding:8px;border-radius:6px;background:#ffffff;color:{INK}"
    if isinstance(target, Marked):
        text = "box-sizing:border-box;width:54em;font-size:14px;line-height:1.5;text-align:left"
        opening = f'<figure class="labkit" style="display:inline-block;{text};{card}">'
        return f"{opening}{target.html}{below}</figure>"
    figure = figure_of(target)
    width, height = (round(inches * DPI) for inches in figure.get_size_inches())
    picture = base64.b64encode(png(figure)).decode("ascii")
    return (
        f'<figure class="labkit" style="display:inline-block;{card}"><img alt="{alt}" width="{width}" '
        f'height="{height}" style="max-width:100%;height:auto" src="data:image/png;base64,{picture}">{below}</figure>'
    )


def install() -> bool:
    """Let IPython show Figures and Axes as pictures with alt text; tell whether there was an IPython to teach.

    The whole display is taken over: once somebody imports pyplot, the inline backend removes the formatters that others
    registered for figures and adds a second picture, without alt text, of its own.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return False
    for kind in (Figure, Axes):
        shell.display_formatter.ipython_display_formatter.for_type(kind, show)
    return True


def show(target: Axes | Figure) -> None:
    """Display a figure in a notebook as HTML with alt text, and as its alt text where there are no pictures.

    Raises:
        ValueError: if the figure has no alt text.
    """
    from IPython.display import display

    display({"text/plain": f"Figure: {alt_of(target)}", "text/html": html(target)}, raw=True)
