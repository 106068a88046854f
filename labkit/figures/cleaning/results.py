"""What a pipeline did: documents left, scores of its steps, languages confused, labels before and after."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from labkit.figures.attention.labels import Array, Number, Words, legend, number, plural, readable, title_of
from labkit.figures.optimizers.curves import floats, same_length
from labkit.figures.style import ACCENT, DATA, INK, OURS, QUIET, REFERENCE, WRONG, axes, describe
from labkit.figures.transformer.counting import short_count

CROWDED = 18  # languages; more of them get smaller letters
_LOST = {
    "removed": {"facecolor": QUIET, "hatch": "//", "edgecolor": "white", "linewidth": 0},
    "removed though good": {"facecolor": WRONG, "hatch": "xx", "edgecolor": "white", "linewidth": 0},
}
# Frames of different sizes around a filled dot: all three are seen when they fall on one place.
_MEASURES = (("precision", REFERENCE, "s", 9), ("recall", INK, "^", 14), ("F1", OURS, "o", 5))
_GROUND = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
_AT = {"textcoords": "offset points", "va": "center", "fontsize": 8, "color": INK}


def draw_funnel(
    steps: Words, kept: Array, undeserved: Array | None = None, title: str = "", ax: Axes | None = None
) -> Axes:
    """The documents left after each step, and those that it removed; `undeserved` of them were good by the truth.

    The first row is what came in: it removes nothing.

    Raises:
        ValueError: if there is not one number for each step.
    """
    left = floats(kept)
    good = np.zeros(len(left)) if undeserved is None else floats(undeserved)
    same_length(steps=steps, kept=left, undeserved=good)
    seen = np.nan_to_num(left)
    gone = np.clip(-np.diff(seen, prepend=seen[:1]), 0, None)
    wrong = np.clip(np.nan_to_num(good), 0, gone)
    ax = axes(ax, width=8, height=1.3 + 0.36 * max(1, len(seen)))
    rows = np.arange(len(seen))
    ax.barh(rows, seen, height=0.7, color=OURS)
    ax.barh(rows, gone - wrong, left=seen, height=0.7, **_LOST["removed"])
    ax.barh(rows, wrong, left=seen + gone - wrong, height=0.7, **_LOST["removed though good"])
    for row in rows:
        minus = f"  (−{gone[row]:,.0f}{f', {wrong[row]:,.0f} of them good' if wrong[row] else ''})" if gone[row] else ""
        text = f"{seen[row]:,.0f}{minus}" if np.isfinite(left[row]) else "unknown"
        ax.annotate(text, (seen[row] + gone[row], row), (5, 0), **_AT)
    ax.set_yticks(rows, [readable(step, 32) for step in steps])
    ax.set(ylim=(max(1, len(rows)) - 0.45, -0.55), xlim=(0, 1.38 * max([1.0, *seen])), xlabel="documents")
    ax.set_title(title_of(title or "What each step leaves"))
    ax.grid(visible=False, axis="y")
    names = ("removed", "removed though good")[: 1 + (undeserved is not None)]
    handles = [Patch(facecolor=OURS, label="left"), *(Patch(label=name, **_LOST[name]) for name in names)]
    ax.legend(handles=handles, ncols=3, **_below(ax, 36))
    describe(ax, f"{title or 'documents left'}. {_funnel(steps, seen, gone, wrong, undeserved is not None)}")
    return ax


def _funnel(steps: Words, left: np.ndarray, gone: np.ndarray, wrong: np.ndarray, truth: bool) -> str:
    if not len(left):
        return "no steps"
    said = [f"{steps[0]}: {left[0]:,.0f}"]
    for i in range(1, len(left)):
        good = f", {wrong[i]:,.0f} of them good" if truth and gone[i] else ""
        said.append(f"{steps[i]}: {left[i]:,.0f}" + (f" ({gone[i]:,.0f} removed{good})" if gone[i] else ""))
    return "; ".join(said)


def draw_scores(
    scores: Mapping[str, Array],
    asked: Number | None = None,
    of: str = "step",
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Precision, recall and F1 of each step (or `of` each "language"), with a line at the F1 that is `asked` for.

    Raises:
        ValueError: if a step does not have three numbers.
    """
    for name, three in scores.items():
        if len(three) != 3:
            raise ValueError(f"{name} has {len(three)} numbers; give precision, recall and F1")
    table = np.array([floats(three) for three in scores.values()]).reshape(-1, 3)
    ax = axes(ax, width=7.5, height=1.4 + 0.34 * max(1, len(table)))
    rows = np.arange(len(table))
    for row in rows[np.isfinite(table).all(axis=1)]:
        ax.plot([table[row].min(), table[row].max()], [row, row], color=QUIET, linestyle="-", linewidth=1.5, zorder=1)
    for column, (name, colour, marker, size) in enumerate(_MEASURES):
        dots = {"marker": marker, "markersize": size, "color": colour, "linestyle": "", "markeredgewidth": 1.4}
        ax.plot(table[:, column], rows, label=name, **dots | ({} if name == "F1" else {"markerfacecolor": "none"}))
    for row in rows:
        text = f"{table[row, 2]:.3f}" if np.isfinite(table[row, 2]) else "no score"
        ax.annotate(f"F1 {text}", (1, row), (6, 0), xycoords=("axes fraction", "data"), annotation_clip=False, **_AT)
    if asked is not None:
        ax.axvline(asked, color=ACCENT, linestyle="--", linewidth=1.5, label=f"asked for {asked:.3g}")
    low = min([0.95, *table[np.isfinite(table)], *([asked] if asked is not None else [])])
    ax.set_xlim(max(-0.02, low - 0.12 * (1 - low) - 0.005), 1 + 0.04 * (1 - low) + 0.004)
    ax.set_ylim(max(1, len(rows)) - 0.4, -0.6)
    ax.set_yticks(rows, [readable(name, 32) for name in scores])
    ax.set_title(title_of(title or f"How good each {of} is"))
    ax.grid(visible=False, axis="y")
    ax.legend(ncols=4, **_below(ax, 20))
    said = [f"{name}: {', '.join(_three(three, varies))}" for name, three in zip(scores, table, strict=True)]
    describe(ax, f"{title or 'scores'} of {plural(len(said), of)}. {'; '.join(said)}")
    return ax


def _below(ax: Axes, points: int) -> dict:
    """The place of a legend under an axis of any height."""
    down = ScaledTranslation(0, -points / 72, ax.get_figure(root=True).dpi_scale_trans)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 0.0}
    return place | {"bbox_transform": ax.transAxes + down, "fontsize": 8}


def _three(values: np.ndarray, varies: bool) -> list[str]:
    return [f"{name} {number(value, varies)}" for (name, *_), value in zip(_MEASURES, values, strict=True)]


def draw_confusion(
    languages: Words, counts: Array, found: Words | None = None, title: str = "", ax: Axes | None = None
) -> Axes:
    """How often each language (row) was taken for each other (column); `found` names the columns if they differ.

    Raises:
        ValueError: if the matrix does not have a row and a column for each name.
    """
    columns = languages if found is None else found
    table = np.asarray(counts, dtype=float)
    table = table if table.size else np.zeros((len(languages), len(columns)))
    if table.shape != (len(languages), len(columns)):
        raise ValueError(f"counts have shape {table.shape}; give {len(languages)} rows and {len(columns)} columns")
    many = max(table.shape) > CROWDED
    size = min(7.0, max(2.6, 0.36 * max(table.shape)))
    ax = axes(ax, width=size + 1.6, height=size + 0.7)
    table = np.nan_to_num(table)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1e-30)
    if table.size:
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for row, column in zip(*np.nonzero(table), strict=True):
        look = {"color": "white" if shares[row, column] > 0.6 else INK, "fontsize": 5 if many else 7.5}
        ax.text(column, row, short_count(table[row, column]), ha="center", va="center", **look)
    ax.set_xticks(range(len(columns)), [readable(name, 12) for name in columns], fontsize=7 if many else 8, rotation=90)
    ax.set_yticks(range(len(languages)), [readable(name, 12) for name in languages], fontsize=7 if many else 8)
    ax.grid(visible=False)
    ax.set(xlabel="found", ylabel="truth", title=title_of(title or "Taken for"))
    describe(ax, f"{title or 'languages'}. {_confused(languages, columns, table)}")
    return ax


def _confused(rows: Words, columns: Words, table: np.ndarray) -> str:
    right = sum(table[i, j] for i, row in enumerate(rows) for j, column in enumerate(columns) if row == column)
    words = f"{plural(round(table.sum()), 'document')} in {plural(len(rows), 'language')}: {right:,.0f} rightly named"
    wrong = [
        (table[i, j], f"{row} taken for {column}")
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
        if row != column and table[i, j]
    ]
    worst = sorted(wrong, key=lambda each: -each[0])[:3]
    named = ", ".join(f"{name} {count:,.0f} times" for count, name in worst)
    return f"{words}; most often {named}" if named else words


def draw_balance(
    labels: Words, before: Array, after: Array, even: bool = False, title: str = "", ax: Axes | None = None
) -> Axes:
    """The share of each label before and after, with its count; `even` marks the share that equal classes would have.

    Raises:
        ValueError: if there are not as many numbers as labels.
    """
    old, new = np.nan_to_num(floats(before)), np.nan_to_num(floats(after))
    same_length(labels=labels, before=old, after=new)
    ax = axes(ax, width=7.5, height=1.5 + 0.46 * max(1, len(old)))
    rows = np.arange(len(old))
    looks = ((old, "before", -0.2, {"facecolor": DATA, "hatch": "//"}), (new, "after", 0.2, {"facecolor": OURS}))
    for values, name, shift, look in looks:
        shares = 100 * values / max(values.sum(), 1e-30)
        ax.barh(rows + shift, shares, height=0.38, label=name, edgecolor="white", linewidth=0, **look)
        for row, (share, count) in enumerate(zip(shares, values, strict=True)):
            ax.annotate(f"{share:.1f}%  ({count:,.0f})", (share, row + shift), (4, 0), bbox=_GROUND, **_AT)
    if even and len(rows):
        ax.axvline(100 / len(rows), color=ACCENT, linestyle="--", linewidth=1.5, label="equal classes")
    ax.set_yticks(rows, [readable(label, 24) for label in labels])
    ax.set(ylim=(max(1, len(rows)) - 0.4, -0.6), xlabel="share (%)", title=title_of(title or "Before and after"))
    ax.margins(x=0.22)
    ax.grid(visible=False, axis="y")
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    said = [f"{label}: {old[i]:,.0f} before, {new[i]:,.0f} after" for i, label in enumerate(labels)]
    describe(ax, f"{title or 'balance'} of {plural(len(said), 'label')}. {'; '.join(said)}")
    return ax
