"""Slides to lecture from: reveal.js pages made from the stored notebooks, which need no network and no kernel."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.workbench import notebooks, typesetting
from labkit.workbench.names import unknown
from labkit.workbench.publishing import assets, decks

FOLDER = "_slides"
ASSETS = "assets"
TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Deck:
    """The slides of one notebook: where they are, how many, how large the page is."""

    notebook: str
    path: Path
    slides: int
    bytes: int
    embedded: bool


def make(
    names: Iterable[str | Path] = (),
    out: str | Path | None = None,
    theme: str = "white",
    embed: bool = False,
    reveal: str | Path | None = None,
    mathjax: str | Path | None = None,
) -> list[Deck]:
    """Make slides of notebooks from their stored outputs; nothing is run, and the slides ask no network for anything.

    A page lies in `out` (default `_slides` beside the folder of the notebooks) with the folder `assets` beside it, or
    alone with everything inside where `embed` is set.

    Raises:
        ValueError: if a notebook or a theme does not exist, or `reveal` or `mathjax` is not what it should be.
        RuntimeError: if what makes slides is not installed.
    """
    if theme not in assets.THEMES:
        raise ValueError(unknown("theme", theme, assets.THEMES))
    paths = notebooks.find(names)
    assets.needed("nbconvert", "nbformat")
    sources = assets.reveal_folder(reveal), typesetting.located(mathjax)
    place = folder_for(paths, out, FOLDER)
    place.mkdir(parents=True, exist_ok=True)
    if not embed:
        assets.copied(sources[0], theme, sources[1], place / ASSETS)
    exporter = _exporter(theme)
    return [_deck(path, place, exporter, _parts(*sources, theme, embed)) for path in paths]


def folder_for(paths: list[Path], out: str | Path | None, name: str) -> Path:
    """Give `out`, or the folder `name` beside that of the notebooks, or `name` here.

    Raises:
        ValueError: if `out` is a file, or the folder of the notebooks itself.
    """
    if out is None:
        in_course = paths and paths[0].parent.name == "notebooks"
        return (paths[0].parent.parent if in_course else Path.cwd()) / name
    place = Path(out).resolve()
    if place.is_file():
        raise ValueError(f"--out is {str(out)!r}, which is a file; name a folder")
    if place in {path.resolve().parent for path in paths}:
        raise ValueError(f"--out is {str(out)!r}, the folder of the notebooks themselves; name another folder")
    return place


def sentence(deck: Deck) -> str:
    """Give what was made, in one line."""
    size = f"{deck.bytes / 1e6:.1f} MB"
    with_it = "everything inside" if deck.embedded else f"needs the folder {ASSETS} beside it"
    count = "1 slide" if deck.slides == 1 else f"{deck.slides} slides"
    return f"{deck.notebook}: {count}, {size}, {with_it}: {deck.path}"


def _exporter(theme: str) -> Any:
    from nbconvert.exporters import SlidesExporter

    exporter = SlidesExporter(
        template_name="labkit_slides",
        extra_template_basedirs=[str(TEMPLATES)],
        theme="dark" if theme in assets.DARK else "light",
        embed_images=True,
    )
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = exporter.exclude_anchor_links = True
    return exporter


def _parts(reveal: Path, mathjax: Path, theme: str, embed: bool) -> dict[str, Any]:
    """Give what the template puts into the head: the addresses of the files, or the files themselves."""
    styles = ("reveal/dist/reset.css", "reveal/dist/reveal.css", f"reveal/dist/theme/{theme}.css")
    scripts = ("reveal/dist/reveal.js", "reveal/plugin/notes/notes.js", f"mathjax/{typesetting.NAME}")
    if not embed:
        return {"styles": [f"{ASSETS}/{name}" for name in styles], "scripts": [f"{ASSETS}/{name}" for name in scripts]}
    sheets = [_text(reveal / name.removeprefix("reveal/")) for name in styles[:2]]
    programs = [*(reveal / name.removeprefix("reveal/") for name in scripts[:2]), mathjax]
    return {
        "style_texts": [*sheets, assets.theme_css(reveal, theme, alone=True)],
        "script_texts": [typesetting.inline(program) for program in programs],
    }


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _deck(path: Path, place: Path, exporter: Any, parts: dict[str, Any]) -> Deck:
    import nbformat

    from labkit.workbench import storing

    try:
        arranged = decks.arranged(storing.normalise(notebooks.read(path)))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    own = {name: _text(TEMPLATES / "labkit_slides" / f"slides.{name}") for name in ("css", "js")}
    about = {
        "metadata": {"name": path.stem, "path": str(path.parent)},
        "labkit": {**parts, **own, "title": _title(arranged), "tex": typesetting.TEX},
    }
    page, _ = exporter.from_notebook_node(nbformat.from_dict(arranged), about)
    target = place / f"{path.stem}.slides.html"
    target.write_text(page, encoding="utf-8")
    return Deck(path.stem, target, _count(arranged), target.stat().st_size, "style_texts" in parts)


def _count(arranged: dict[str, Any]) -> int:
    """Give the number of slides: the first cell that is shown begins one, whatever it asks for."""
    kinds = [cell["metadata"]["slideshow"]["slide_type"] for cell in arranged["cells"]]
    shown = [kind for kind in kinds if kind != "notes"]
    return 1 + sum(kind in ("slide", "subslide") for kind in shown[1:])


def _title(arranged: dict[str, Any]) -> str:
    first = next((cell["source"] for cell in arranged["cells"] if decks.heading(cell) == 1), "")
    return first.lstrip("# ").partition("\n")[0].strip()
