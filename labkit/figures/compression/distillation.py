"""What a student is taught with: soft targets and their gradient by temperature, a class unseen, readers compared."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from labkit.figures.attention.labels import Array, Number, Words, legend, log_axis, number, positive, readable, title_of
from labkit.figures.optimizers.curves import floats, same_length
from labkit.figures.style import ACCENT, DATA, OURS, QUIET, REFERENCE, WRONG, axes, describe, new, series

_plain = FuncFormatter(lambda value, _: f"{value:g}")


def draw_soft_targets(
    classes: Words,
    teacher: Array,
    student: Array,
    temperatures: Array,
    plain: Array,
    scaled: Array,
    at: Number,
    title: str = "",
) -> Figure:
    """Left the probabilities of both at one temperature; right the size of the gradient at all of them.

    Args:
        plain, scaled: the norm of the gradient at each of `temperatures`, without T² and with it.
        at: the temperature of the left side.

    Raises:
        ValueError: if there is not a probability for each class, or a gradient for each temperature.
    """
    teacher, student, temperatures = floats(teacher), floats(student), floats(temperatures)
    plain, scaled = floats(plain), floats(scaled)
    same_length(classes=list(classes), teacher=teacher, student=student)
    same_length(temperatures=temperatures, plain=plain, scaled=scaled)
    figure, (left, right) = new(8.6, 3.5, ncols=2)
    _draw_shares(left, classes, teacher, student, title_of(title or f"At T = {float(at):g}"))
    _draw_fading(right, temperatures, plain, scaled, float(at))
    both = "; ".join(
        f"{word} {number(t)} and {number(s)}" for word, t, s in zip(classes, teacher, student, strict=True)
    )
    fades = ""
    if len(plain):
        ends = (
            f"{number(plain[0])} to {number(plain[-1])} without T², {number(scaled[0])} to {number(scaled[-1])} with it"
        )
        fades = f". Gradient from T = {number(temperatures[0])} to {number(temperatures[-1])}: {ends}"
    describe(figure, f"Teacher and student at T = {number(at)}: {both or 'no class'}{fades}")
    return figure


def _draw_shares(ax: Axes, classes: Words, teacher: np.ndarray, student: np.ndarray, title: str) -> None:
    place = np.arange(len(classes))
    for shift, shares, name, look in (
        (-0.2, teacher, "teacher", {"color": REFERENCE, "hatch": "//"}),
        (0.2, student, "student", {"color": OURS}),
    ):
        ax.bar(place + shift, np.nan_to_num(shares), width=0.38, label=name, edgecolor="white", linewidth=0.3, **look)
    ax.set_xticks(place, [readable(word) for word in classes])
    ax.set(ylim=(0, 1.02), ylabel="probability", xlabel="class", title=title)
    legend(ax, fontsize=8)


def _draw_fading(ax: Axes, temperatures: np.ndarray, plain: np.ndarray, scaled: np.ndarray, at: float) -> None:
    log_axis(ax, "x", temperatures)
    log_axis(ax, "y", plain, scaled)
    ax.plot(temperatures, positive(plain), color=WRONG, linestyle="--", label="without T²")
    ax.plot(temperatures, positive(scaled), color=OURS, label="times T²")
    ax.axvline(at, color=QUIET, linestyle=":")
    ax.set(xlabel="temperature T", ylabel="norm of the gradient")
    ax.xaxis.set(major_formatter=_plain, minor_formatter=NullFormatter())
    seen = temperatures[np.isfinite(temperatures) & (temperatures > 0)]
    if len(seen) > 1 and seen.min() < seen.max():
        ax.set_xlim(seen.min(), seen.max())
    fades = np.isfinite(positive(plain)).any() or not len(plain)
    ax.set_title("Without T² the gradient fades" if fades else "No gradient at any temperature", fontsize=10)
    if fades:
        legend(ax, fontsize=8)
    else:
        ax.set(ylim=(0, 1), yticks=[0])


def draw_unseen(
    temperatures: Array,
    missing: Array,
    others: Array,
    by_labels: Number = 0.0,
    name: str = "the missing class",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The share of right answers by temperature: about a class the student never saw, and about all others.

    `by_labels` is what a student of labels alone knows of it.

    Raises:
        ValueError: if there is not one share of each kind for every temperature.
    """
    temperatures, missing, others = floats(temperatures), floats(missing), floats(others)
    same_length(temperatures=temperatures, missing=missing, others=others)
    ax = axes(ax, height=3.4)
    log_axis(ax, "x", temperatures)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(np.unique(temperatures[temperatures > 0]))
    ax.xaxis.set_major_formatter(_plain)
    ax.plot(temperatures, missing, color=ACCENT, marker="o", label=readable(name))
    ax.plot(temperatures, others, color=DATA, linestyle="--", marker="s", label="all others")
    ax.axhline(float(by_labels), color=WRONG, linestyle=":", label=f"{readable(name)}, from labels alone")
    ax.set(ylim=(-0.03, 1.03), xlabel="temperature of the teacher", ylabel="share answered rightly")
    ax.set_title(title_of(title or "A class that the student never saw"))
    legend(ax, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 0.08))
    if np.isfinite(missing).any():
        best = int(np.nanargmax(missing))
        found = f"at T = {number(temperatures[best])} {number(missing[best], varies=True)} right"
    else:
        found = "nothing given"
    describe(ax, f"{readable(name)}, never seen: {found}; from labels alone {number(by_labels, varies=True)}")
    return ax


def draw_readers(
    scores: Mapping[str, Sequence[Number]],
    chance: Number | None = None,
    target: Number | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The score of each reader with its interval: (score, low, high) by name; guessing and a target as lines.

    Raises:
        ValueError: for a score without its interval.
    """
    for name, row in scores.items():
        if len(row) != 3:
            raise ValueError(f"{name!r} has {len(row)} numbers; give (score, low, high)")
    ax = axes(ax, height=1.3 + 0.5 * max(1, len(scores)))
    for i, row in enumerate(scores.values()):
        score, low, high = (float(value) for value in row)
        style = series(i)
        ax.errorbar(
            score,
            i,
            xerr=[[max(0.0, score - low)], [max(0.0, high - score)]],
            fmt=style["marker"],
            color=style["color"],
            capsize=4,
            markersize=7,
        )
    for value, look, words in ((chance, ":", "guessing"), (target, "--", "95 % of the teacher")):
        if value is not None:
            ax.axvline(float(value), color=QUIET, linestyle=look, label=words)
    ax.set_yticks(range(len(scores)), [readable(name) for name in scores])
    ax.set(ylim=(len(scores) - 0.4, -0.6), xlabel="share answered rightly, 95 % interval", ylabel="reader")
    ax.set_title(title_of(title or "Readers on held-out texts"))
    legend(ax, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    told = [
        f"{readable(name)} {number(row[0], varies=True)} ({number(row[1], varies=True)} to "
        f"{number(row[2], varies=True)})"
        for name, row in scores.items()
    ]
    describe(ax, f"share answered rightly: {'; '.join(told) or 'nothing given'}")
    return ax
