"""Drafts and what becomes of them: the rounds of one text, and how many tokens a run of the large model brings."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator

from labkit.figures.attention.labels import Array, legend, number, plural, readable, title_of
from labkit.figures.optimizers.curves import floats, same_length
from labkit.figures.style import ACCENT, OURS, QUIET, WRONG, axes, describe, series

MOST_NAMED = 24  # more positions than this have no room for words


def draw_rounds(
    rounds: Sequence[tuple[int, int]],
    words: Sequence[str] | None = None,
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """One row for each round: drafts that were kept, the one refused, those behind it, and the large model's token.

    `words` are the tokens of the text, written into the boxes where they became part of it, if there are few.

    Raises:
        ValueError: if more were kept than drafted, or there are fewer words than tokens.
    """
    rounds = [(int(drafted), int(kept)) for drafted, kept in rounds]
    bad = [pair for pair in rounds if not 0 <= pair[1] <= pair[0]]
    length = sum(kept + 1 for _, kept in rounds)
    if bad or (words is not None and len(words) < length):
        raise ValueError(
            f"{bad[0][1]} of {bad[0][0]} drafts cannot be kept" if bad else f"{length} tokens, {len(words)} words"
        )
    ax = axes(ax, width=8.5, height=1.4 + 0.3 * max(2, len(rounds)))
    at = 0
    for row, (drafted, kept) in enumerate(rounds):
        fate = [OURS] * kept + [WRONG] * (drafted > kept) + [QUIET] * (drafted - kept - 1)
        for i, colour in enumerate(fate):
            high = 0.8 if colour == OURS else 0.38
            ax.add_patch(Rectangle((at + i, row - 0.4), 0.92, high, facecolor=colour, alpha=0.85))
        low, high = (row - 0.4, 0.8) if kept == drafted else (row + 0.02, 0.38)
        ax.add_patch(Rectangle((at + kept, low), 0.92, high, facecolor=ACCENT, alpha=0.9))
        if words is not None and length <= MOST_NAMED:
            for i in range(kept + 1):
                middle = row + (0.21 if i == kept < drafted else 0)
                word = readable(words[at + i], 9)
                ax.text(at + i + 0.46, middle, word, ha="center", va="center", fontsize=7.5, color="white")
        at += kept + 1
    widest = max([1, *(sum(k + 1 for _, k in rounds[:n]) + drafted for n, (drafted, _) in enumerate(rounds))])
    ax.set(xlim=(0, max(widest, length)), ylim=(len(rounds) - 0.5 if rounds else 0.5, -0.5))
    ax.set_yticks(range(len(rounds)), [str(i + 1) for i in range(len(rounds))])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="token of the text", ylabel="round", title=title_of(title or "What becomes of the drafts"))
    _legend(ax)
    kept, drafted = sum(kept for _, kept in rounds), sum(drafted for drafted, _ in rounds)
    figures = f"{plural(len(rounds), 'round')} for {plural(length, 'token')}: {kept} of {drafted} drafts kept"
    describe(ax, f"{title or 'rounds'}. {f'‹{figures}›' if varies else figures}")
    return ax


def _legend(ax: Axes) -> None:
    kinds = {"draft, kept": OURS, "refused": WRONG, "behind it, not looked at": QUIET, "the large model's own": ACCENT}
    for name, colour in kinds.items():
        ax.add_patch(Rectangle((0, 0), 0, 0, facecolor=colour, label=name))
    legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8.5)


def draw_draft_lengths(
    drafts: Array,
    measured: Mapping[str, Array],
    formula: Mapping[str, Array] | None = None,
    ylabel: str = "tokens for each run of the large model",
    varies: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """What rounds of each length bring, as points for each draft model, and as lines what the formula says.

    Raises:
        ValueError: if a row is not as long as `drafts`, or a formula has no measured points of its name.
    """
    x = floats(drafts)
    ax = axes(ax, width=7.5, height=3.8)
    unknown = set(formula or {}) - set(measured)
    if unknown:
        raise ValueError(f"a formula came for {min(unknown)!r}, of which nothing was measured")
    told = []
    for index, (name, values) in enumerate(measured.items()):
        y, style = floats(values), series(index)
        same_length(drafts=x, values=y)
        label = readable(name, 40)
        ax.plot(x, y, linestyle="", marker=style["marker"], color=style["color"], markersize=7, label=label)
        if formula and name in formula:
            line = floats(formula[name])
            same_length(drafts=x, formula=line)
            ax.plot(x, line, color=style["color"], linestyle=style["linestyle"], linewidth=1.5)
        known = np.flatnonzero(np.isfinite(y))
        if len(known):
            best = known[y[known].argmax()]
            told.append(f"{name}: most {number(y[best], varies)} with {number(x[best], varies)} drafts")
    ax.axhline(1, color=QUIET, linewidth=1.2)
    ax.xaxis.set_major_locator(FixedLocator(x[np.isfinite(x)].tolist()))
    ax.set(xlabel="drafts in a round", ylabel=ylabel, title=title_of(title or "How many tokens to draft"))
    if measured:
        legend(ax, title="points: measured; lines: formula" if formula else None, fontsize=9, title_fontsize=8.5)
    describe(ax, f"{title or 'draft lengths'}. {'; '.join(told) or 'nothing given'}")
    return ax
