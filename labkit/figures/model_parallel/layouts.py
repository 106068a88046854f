"""Who has what: blocks of matrices by owner, and ranks on a mesh with the groups along each of its dimensions."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from labkit.figures.attention.labels import Array, Number, plural, readable, title_of
from labkit.figures.style import ACCENT, CYCLE, INK, OURS, QUIET, REFERENCE, axes, describe, new

ALL = -1  # the owner of a block that every rank has
MOST_BLOCKS = 16  # blocks of a matrix carry a number up to so many along a side
MOST_RANKS = 8  # a mesh is drawn up to so many ranks along a side
_FRAMES = (OURS, REFERENCE, ACCENT)


def draw_matrix_split(a: Array, b: Array, c: Array, title: str = "") -> Figure:
    """Three matrices A · B = C cut into blocks: the colour and number of each block is the rank that has it.

    Each is an array of owners by (row of blocks, column of blocks); −1 is a block that all ranks have.

    Raises:
        ValueError: if one of them has not two dimensions.
    """
    given = {"A": np.asarray(a), "B": np.asarray(b), "C": np.asarray(c)}
    for name, owners in given.items():
        if owners.ndim != 2 or not owners.size:
            raise ValueError(f"{name} has shape {owners.shape}; give the owner of each block, by row and column")
    figure, grid = new(7.5, 2.8, ncols=3)
    for ax, sign, (name, owners) in zip(grid, ("", "·", "="), given.items(), strict=True):
        _draw_blocks(ax, owners)
        ax.set_title(name, fontsize=10, loc="center")
        ax.text(-0.1, 0.5, sign, transform=ax.transAxes, ha="center", va="center", fontsize=18)
    if title:
        figure.suptitle(title_of(title), fontsize=11)
    said = "; ".join(f"{name}: {_owned(owners)}" for name, owners in given.items())
    describe(figure, f"{title}{'. ' * bool(title)}blocks by owner. {said}")
    return figure


def _draw_blocks(ax: Axes, owners: np.ndarray) -> None:
    height, width = owners.shape
    small = max(height, width) <= MOST_BLOCKS
    for row in range(height):
        for column in range(width):
            owner = int(owners[row, column])
            style = {"facecolor": "#f1f3f4", "hatch": "//"} if owner == ALL else {"facecolor": _pale(owner)}
            place = (column / width, 1 - (row + 1) / height)
            ax.add_patch(Rectangle(place, 1 / width, 1 / height, edgecolor="white", linewidth=1.5, **style))
            if small:
                x, y = place[0] + 0.5 / width, place[1] + 0.5 / height
                ax.text(x, y, "all" if owner == ALL else str(owner), ha="center", va="center", fontsize=10)
    ax.add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor=INK, linewidth=1.2))
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ax.set_axis_off()


def _pale(owner: int) -> tuple[float, ...]:
    """A colour for a rank, light enough to read a number on it."""
    return tuple(0.45 + 0.55 * part for part in to_rgb(CYCLE[owner % len(CYCLE)]))


def _owned(owners: np.ndarray) -> str:
    if owners.size > 16:
        distinct = np.unique(owners[owners != ALL])
        return f"{owners.shape[0]} × {owners.shape[1]} blocks of {plural(len(distinct), 'rank')}"
    return " / ".join(" ".join("all" if owner == ALL else str(int(owner)) for owner in row) for row in owners)


def draw_mesh(
    mesh: Array,
    names: Sequence[str] = ("data", "tensor"),
    group: str | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Ranks on a grid of one to three dimensions, framed by the groups that talk to each other along a dimension.

    Rows are the last but one dimension, columns the last, a third one has its panels side by side, and its groups are
    the ranks at the same place of each panel. `group` shows one kind of groups only, by default all of them.

    Raises:
        ValueError: if the mesh has not as many dimensions as names, one to three, or no dimension is called `group`.
    """
    grid = np.asarray(mesh)
    if grid.ndim != len(names) or grid.ndim not in (1, 2, 3) or not grid.size:
        raise ValueError(f"a mesh of shape {grid.shape} with names {tuple(names)}; give one to three, one a dimension")
    if group is not None and group not in names:
        raise ValueError(f"group = {group!r}; the dimensions are {', '.join(names)}")
    chosen = [names.index(group)] if group else list(range(grid.ndim))
    cells = grid.reshape((1,) * (3 - grid.ndim) + grid.shape)
    shown = cells[: max(1, 2 * MOST_RANKS // cells.shape[2]), :MOST_RANKS, :MOST_RANKS]
    ax = axes(ax, width=3.2 + 0.55 * shown.shape[0] * (shown.shape[2] + 0.6), height=1.1 + 0.55 * shown.shape[1])
    places = _draw_ranks(ax, shown)
    for dimension in chosen:
        label = f"{readable(names[dimension], 20)} groups of {grid.shape[dimension]:,}"
        _draw_groups(ax, shown, dimension + 3 - grid.ndim, places, _FRAMES[dimension], label)
    if grid.ndim == 3:
        for plane in range(len(shown)):
            x = plane * (shown.shape[2] + 0.6) + (shown.shape[2] - 1) / 2
            ax.text(x, 0.5, f"{readable(names[0], 20)} {plane}", ha="center", va="bottom", fontsize=8)
    if shown.size < cells.size:
        note = {"transform": ax.transAxes, "ha": "right", "va": "top", "fontsize": 8}
        ax.text(1, -0.01, f"{shown.size} of {cells.size:,} ranks", **note)
    size = " × ".join(f"{count} {name}" for count, name in zip(grid.shape, names, strict=True))
    ax.set(aspect="equal", anchor="W")
    ax.set_title(title_of(title or f"A mesh of {size}"), loc="left")
    ax.set_axis_off()
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    said = "; ".join(_groups_said(grid, dimension, names[dimension]) for dimension in chosen)
    describe(ax, f"{title}{'. ' * bool(title)}{size}, {plural(grid.size, 'rank')}. {said}")
    return ax


def _draw_ranks(ax: Axes, cells: np.ndarray) -> dict[tuple[int, ...], tuple[Number, Number]]:
    planes, rows, columns = cells.shape
    places = {}
    for index in np.ndindex(planes, rows, columns):
        plane, row, column = index
        x, y = plane * (columns + 0.6) + column, -row
        places[index] = (x, y)
        ax.add_patch(Rectangle((x - 0.22, y - 0.22), 0.44, 0.44, facecolor="#eef1f3", edgecolor=QUIET))
        ax.text(x, y, str(int(cells[index])), ha="center", va="center", fontsize=9)
    right = planes * (columns + 0.6) - 0.6
    ax.set(xlim=(-0.5, right - 0.5), ylim=(-rows + 0.5, 0.5 if planes == 1 else 0.85))
    return places


def _draw_groups(
    ax: Axes,
    cells: np.ndarray,
    axis: int,
    places: dict[tuple[int, ...], tuple[Number, Number]],
    colour: str,
    label: str,
) -> None:
    """A frame around each group, except for those across panels, which a frame could not hold."""
    reach = 0.3 + 0.07 * (axis == 1)
    if axis == 0:
        ax.plot([], [], linestyle="", label=f"{label}: same place")
        return
    others = [range(size) if at != axis else range(1) for at, size in enumerate(cells.shape)]
    for start in product(*others):
        last = tuple(cells.shape[axis] - 1 if at == axis else place for at, place in enumerate(start))
        (x, y), (far_x, far_y) = places[start], places[last]
        box = (x - reach, far_y - reach), far_x - x + 2 * reach, y - far_y + 2 * reach
        dashes = "-" if axis == 2 else "--"
        shape = {"boxstyle": "round,pad=0,rounding_size=0.12", "fill": False, "linewidth": 1.8, "linestyle": dashes}
        ax.add_patch(FancyBboxPatch(*box, edgecolor=colour, label=label, **shape))
        label = "_"


def _groups_said(grid: np.ndarray, dimension: int, name: str) -> str:
    groups = np.moveaxis(grid, dimension, -1).reshape(-1, grid.shape[dimension])
    words = f"{plural(len(groups), f'{name} group')} of {grid.shape[dimension]}"
    if grid.size > 16:
        return words
    return f"{words}: {', '.join(' '.join(str(int(rank)) for rank in group) for group in groups)}"
