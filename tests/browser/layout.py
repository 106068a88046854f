"""The layout of a page: nothing sticks out or covers another, and the whole looks as it did (small golden pictures).

A golden picture is 160 pixels wide, grey, blurred, and holds the notebook's own part of the window. What is compared is
the mean grey of squares: letters are far too small to be seen there, and rows that hold nothing but text may come and
go. A card that lost its ground, a figure that is gone, too wide or in another place changes many squares at once.

    LABKIT_GOLDEN=write make test      writes the golden pictures anew; then look at them
"""

import base64
import io
import os
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageFilter

from tests.browser.lab import PAINTED, SCROLL, USUAL

GOLDEN = Path(__file__).with_name("golden")
WIDTH = 160  # pixels of a golden picture
LEVELS = 12  # greys of it: its file has a few kB
SQUARE = 5  # pixels of it that are compared as one: a line of text, and three letters of it
FAR = 48  # of 255: a line of text darkens a white square by about 30
MOST = 0.03  # of the squares may be far off; other fonts and words make less than 0.005, a broken layout more than 0.06
# What a row that only one of the pictures has counts, against a row of squares that are all far off: one of nothing but
# text and ground, one that is like its neighbour (a card that is a line taller), and any other.
TEXT, TALLER, OTHER = 0.1, 0.3, 1.0
TOP = 2400  # pixels of a page, from its first line on

# The fonts that come with matplotlib, so that lines break at the same words on every machine.
FONTS = {"content": "DejaVuSans", "ui": "DejaVuSans", "code": "DejaVuSansMono"}
WRITE = """async ([fonts, rules]) => {
  await Promise.all(Object.entries(fonts).map(async ([name, data]) => {
    document.fonts.add(await new FontFace(name, `url(data:font/ttf;base64,${data})`).load());
  }));
  for (const [property, value] of Object.entries(rules)) document.body.style.setProperty(property, value);
}"""
BOX = """() => {
  const box = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer');
  const {x, y, width, height} = box.getBoundingClientRect();
  return {x, y, width, height};
}"""
# What is wrong with where things are, as sentences.
BROKEN = """() => {
  const found = [], box = part => part.getBoundingClientRect();
  const name = part => (part.alt || part.getAttribute('aria-label') || part.innerText || part.tagName).slice(0, 60);
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
  for (const output of document.querySelectorAll('.jp-OutputArea-output')) {
    const frame = box(output);
    for (const image of output.querySelectorAll('img')) {
      if (!image.complete || !image.naturalWidth) found.push(`a picture did not load: ${name(image)}`);
    }
    for (const part of output.querySelectorAll('figure.labkit, [role=note], [role=region], figure.labkit > img')) {
      const {left, right, width, height} = box(part);
      if (!width || !height) found.push(`nothing is to be seen of: ${name(part)}`);
      if (left < frame.left - 2 || right > frame.right + 2) found.push(`sticks out of its output: ${name(part)}`);
    }
    for (const explorable of output.querySelectorAll('.widget-vbox:has(figure.labkit)')) {
      const rows = [...explorable.children].map(row => row.querySelector('figure.labkit') ?? row);
      rows.forEach((row, i) => rows.slice(i + 1).forEach(other => {
        if (meet(box(row), box(other))) found.push(`covers another part of its explorable: ${name(row)}`);
        if (box(other).top < box(row).top - 2) found.push(`stands above what comes before it: ${name(other)}`);
      }));
      for (const control of explorable.querySelectorAll('input, select, textarea, .noUi-target')) {
        if (!box(control).width || !box(control).height) found.push(`a control without a size: ${name(control)}`);
      }
    }
  }
  for (const cell of document.querySelectorAll('.jp-Cell')) {
    const after = cell.nextElementSibling;
    if (after?.classList.contains('jp-Cell') && meet(box(cell), box(after))) found.push(`covers: ${name(cell)}`);
  }
  return found;
}"""


def broken(page):
    """What sticks out of its place, covers another part or has no size, as sentences."""
    return page.evaluate(BROKEN)


@cache
def fonts():
    """The fonts of matplotlib as base64, by the names that the page will know them by."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    named = {f"golden{font}": (folder / f"{font}.ttf").read_bytes() for font in sorted(set(FONTS.values()))}
    return {name: base64.b64encode(data).decode() for name, data in named.items()}


def shot(page, part=None):
    """The beginning of the notebook, or one part of it, as a PNG in fonts that every machine has."""
    rules = {f"--jp-{use}-font-family": f"golden{font}" for use, font in FONTS.items()}
    page.evaluate(WRITE, [fonts(), rules])
    page.set_viewport_size({**USUAL, "height": TOP})
    try:
        page.evaluate(SCROLL, 0)
        page.evaluate(PAINTED)
        return page.screenshot(clip=page.evaluate(BOX)) if part is None else part.screenshot()
    finally:
        page.set_viewport_size(USUAL)


def small(picture):
    """A screenshot as a golden picture: grey, blurred, 160 pixels wide, its last odd rows cut off."""
    grey = Image.open(io.BytesIO(picture)).convert("L")
    height = max(SQUARE, round(grey.height * WIDTH / grey.width) // SQUARE * SQUARE)
    blurred = grey.resize((WIDTH, height), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(1))
    return blurred.quantize(LEVELS, dither=Image.Dither.NONE)


def squares(image):
    """The mean grey of every square of a golden picture."""
    grey = np.asarray(image.convert("L"), dtype=float)
    rows, columns = (length // SQUARE for length in grey.shape)
    return grey[: rows * SQUARE, : columns * SQUARE].reshape(rows, SQUARE, columns, SQUARE).mean((1, 3))


def far_off(seen, golden):
    """The share of squares that differ by more than text can, the rows of both paired as they agree best.

    A row without a partner counts, too, the less the more it looks like text.
    """
    a, b = squares(seen), squares(golden)
    alone = [[cost(rows, i, np.median(b)) for i in range(len(rows))] for rows in (a, b)]
    framed = np.pad(b, [(1, 1), (0, 0)], mode="edge")
    around = np.stack([framed[:-2], b, framed[2:]])  # an edge may lie anywhere between two rows of squares
    off = np.maximum(a[:, None] - around.max(0), around.min(0) - a[:, None])
    apart = (off > FAR).mean(-1)
    best = np.zeros((len(a) + 1, len(b) + 1))
    best[1:, 0], best[0, 1:] = np.cumsum(alone[0]), np.cumsum(alone[1])
    for i in range(len(a)):
        for j in range(len(b)):
            skipped = min(best[i, j + 1] + alone[0][i], best[i + 1, j] + alone[1][j])
            best[i + 1, j + 1] = min(best[i, j] + apart[i, j], skipped)
    return float(best[-1, -1] / max(len(a), len(b)))


def cost(rows, i, ground):
    """What it counts that a row of squares has no partner in the other picture."""
    if (np.abs(rows[i] - ground) <= FAR).all():
        return TEXT
    beside = (rows[j] for j in (i - 1, i + 1) if 0 <= j < len(rows))
    return TALLER if any((np.abs(rows[i] - other) <= FAR).all() for other in beside) else OTHER


def writing():
    """Whether golden pictures are to be written and not to be compared with."""
    return os.environ.get("LABKIT_GOLDEN") == "write"


def unlike(name, picture):
    """What is wrong with a screenshot against its golden picture: no sentence or one; writes the picture when told."""
    path, seen = GOLDEN / f"{name}.png", small(picture)
    if writing():
        GOLDEN.mkdir(exist_ok=True)
        seen.save(path, optimize=True)
        return []
    again = "look at it, and if it is right, write it anew with LABKIT_GOLDEN=write"
    if not path.is_file():
        return [f"there is no golden picture {path.name}; {again}"]
    share = far_off(seen, Image.open(path))
    return [f"{share:.1%} of {name} is not where the golden picture has it; {again}"] if share > MOST else []
