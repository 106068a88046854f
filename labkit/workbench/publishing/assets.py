"""Where reveal.js lies on this machine, and its themes: a page made here must not ask the network for them."""

import re
import shutil
from importlib import util
from pathlib import Path

from labkit.workbench.names import unknown
from labkit.workbench.typesetting import GET, NAME, in_package

THEMES = ("white", "black", "white-contrast", "black-contrast", "serif", "simple", "night", "moon", "dracula", "sky")
DARK = {"black", "black-contrast", "night", "moon", "dracula"}
_FROM_ELSEWHERE = re.compile(r"@import\s+url\(\s*['\"]?(?:https?:)?//[^)]*\)\s*;?")
_ANY_IMPORT = re.compile(r"@import\s+url\([^)]*\)\s*;?")


def needed(*modules: str) -> None:
    """Go on only when the modules that make pages are installed.

    Raises:
        RuntimeError: if one of them is missing; the sentence says how to get it.
    """
    missing = [name for name in modules if util.find_spec(name) is None]
    if missing:
        raise RuntimeError(f"{', '.join(missing)} is missing, which makes the pages; get it with {GET}")


def reveal_folder(named: str | Path | None = None) -> Path:
    """Give the folder of reveal.js, which holds `dist/reveal.js`: `named`, or the one of the extra `site`.

    Raises:
        ValueError: if `named` is not such a folder.
        RuntimeError: if there is none on this machine.
    """
    if named is not None:
        if not (Path(named) / "dist" / "reveal.js").is_file():
            raise ValueError(f"{str(named)!r} is no folder of reveal.js: it holds no dist/reveal.js")
        return Path(named)
    found = in_package("sphinx_revealjs", "_static/revealjs")
    if found is None or not (found / "dist" / "reveal.js").is_file():
        raise RuntimeError(
            f"reveal.js is not on this machine, and slides must work without a network; get it with {GET}, "
            "or unpack reveal.js somewhere and name its folder with --reveal"
        )
    return found


def theme_css(reveal: Path, theme: str, *, alone: bool) -> str:
    """Give the style sheet of a theme without what it would fetch from elsewhere; `alone` also without its fonts.

    Raises:
        ValueError: if there is no such theme.
    """
    path = reveal / "dist" / "theme" / f"{theme}.css"
    if not path.is_file():
        raise ValueError(unknown("theme", theme, sorted(each.stem for each in path.parent.glob("*.css"))))
    text = _FROM_ELSEWHERE.sub("", path.read_text(encoding="utf-8"))
    return _ANY_IMPORT.sub("", text) if alone else text


def copied(reveal: Path, theme: str, mathjax: Path, target: Path) -> None:
    """Put reveal.js with one theme, its speaker's window and MathJax into `target`, each with its licence's text."""
    for name in ("dist/reset.css", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js", "LICENSE"):
        if (reveal / name).is_file():
            put(reveal / name, target / "reveal" / name)
    fonts = reveal / "dist" / "theme" / "fonts"
    if fonts.is_dir():
        for path in sorted(fonts.rglob("*")):
            if path.suffix in (".css", ".woff", ".woff2") or path.name == "LICENSE":
                put(path, target / "reveal/dist/theme/fonts" / path.relative_to(fonts))
    sheet = target / "reveal" / "dist" / "theme" / f"{theme}.css"
    sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet.write_text(theme_css(reveal, theme, alone=False), encoding="utf-8")
    put(mathjax, target / "mathjax" / NAME)


def put(source: Path, target: Path) -> None:
    """Copy a file, unless the same is there already."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_file() or target.read_bytes() != source.read_bytes():
        shutil.copyfile(source, target)
