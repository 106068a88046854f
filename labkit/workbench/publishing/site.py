"""The course as a web site, built by Sphinx from the stored outputs: nothing is run, no network is asked."""

import os
import pprint
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.workbench import notebooks, runner, typesetting
from labkit.workbench.publishing import assets, pages
from labkit.workbench.publishing.slides import folder_for

FOLDER = "_site"
STYLE = Path(__file__).with_name("templates") / "site" / "labkit.css"
LONGEST_REPORT = 6  # warnings


@dataclass(frozen=True)
class Site:
    """A site after its build."""

    path: Path
    pages: int
    bytes: int
    seconds: float


def build(
    names: Iterable[str | Path] = (),
    out: str | Path | None = None,
    *,
    fresh: bool = False,
    mathjax: str | Path | None = None,
    work: str | Path | None = None,
) -> Site:
    """Build the site of the named notebooks (without names, of the course) and give where it is.

    It lies in `out` (default `_site` beside the folder of the notebooks) and opens from a disk, a server or below any
    address. What Sphinx remembers is kept in `work` (default `_runs/site`), so that only changed pages are made again;
    `fresh` makes all of them.

    Raises:
        ValueError: if a notebook does not exist or cannot be read, or `out` is no folder to write to.
        RuntimeError: if Sphinx is not installed, or warns.
    """
    begun = time.perf_counter()
    paths = notebooks.find(names)
    if not paths:
        raise ValueError("there is no notebook to make a site of")
    assets.needed("sphinx", "myst_nb", "sphinx_book_theme")
    program = typesetting.located(mathjax)
    place = folder_for(paths, out, FOLDER)
    memory = Path(work).resolve() if work else runner.out_folder(paths) / "site"
    source = memory / "source"
    course = pages.course_of(paths)
    pages.written({**pages.sources(course), "conf.py": configuration(course)}, source)
    assets.put(program, source / "static" / "mathjax" / typesetting.NAME)
    assets.put(STYLE, source / "static" / STYLE.name)
    place.mkdir(parents=True, exist_ok=True)
    built = memory / "html"  # not where the site shall lie: what reads the notebooks leaves a folder beside its pages
    _sphinx(source, built, memory / "doctrees", fresh)
    for page in built.rglob("*.html"):
        _without_stamp(page)
    shutil.copytree(built, place, dirs_exist_ok=True)
    made = [path for path in place.rglob("*") if path.is_file()]
    count = sum(path.suffix == ".html" for path in made)
    return Site(place, count, sum(path.stat().st_size for path in made), time.perf_counter() - begun)


def sentence(site: Site) -> str:
    """Give what was built, in one line."""
    size = f"{site.bytes / 1e6:.0f} MB"
    return f"{site.pages} pages, {size}, {site.seconds:.0f} s: open {site.path / 'index.html'} in a browser"


def configuration(course: pages.Course) -> str:
    """Give the text of Sphinx's conf.py."""
    values: dict[str, Any] = {
        "project": "llm-labkit",
        "author": "The llm-labkit authors",
        "extensions": ["myst_nb", "sphinx.ext.mathjax", "labkit.workbench.publishing.formulas"],
        "nb_execution_mode": "off",
        "myst_enable_extensions": ["dollarmath", "amsmath"],
        "myst_heading_anchors": 3,
        "mathjax_path": f"mathjax/{typesetting.NAME}",
        "mathjax3_config": {"svg": {"fontCache": "global"}, "options": {"enableMenu": False}},
        "html_theme": "sphinx_book_theme",
        "html_title": "llm-labkit",
        "html_static_path": ["static"],
        "html_css_files": [STYLE.name],
        "html_copy_source": False,
        "html_show_sourcelink": False,
        "html_show_copyright": False,
        "html_show_sphinx": False,
        "html_context": {"default_mode": "auto"},
        "html_theme_options": {
            "repository_url": course.repository,
            "repository_branch": pages.BRANCH,
            "path_to_docs": "",
            "use_repository_button": True,
            "launch_buttons": {"colab_url": pages.COLAB.removesuffix("/github")},
            "show_toc_level": 2,
            "navbar_persistent": [],
            "use_download_button": False,
        },
    }
    lines = [f"{name} = {pprint.pformat(value, width=100)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _sphinx(source: Path, place: Path, memory: Path, fresh: bool) -> None:
    """Run Sphinx in a process of its own, with the same hashes in every run, and read its warnings."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "--no-color"]
    command += ["-d", str(memory), *(["-E", "-a"] if fresh else []), str(source), str(place)]
    found = {**os.environ, "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "0", "PYTHONWARNINGS": "ignore"}
    found["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[3]), *filter(None, [found.get("PYTHONPATH")])])
    done = subprocess.run(command, env=found, capture_output=True, text=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise RuntimeError(_what_went_wrong(done.stderr or done.stdout, source))


def _without_stamp(page: Path) -> None:
    """Take away what a page has only when it is built a second time: myst-nb adds its style sheet after the pages."""
    text = page.read_bytes()
    same = re.sub(rb"(mystnb\.[0-9a-f]+\.css)\?v=[0-9a-f]+", rb"\1", text)
    if same != text:
        page.write_bytes(same)


def _what_went_wrong(said: str, source: Path) -> str:
    lines = [line.replace(f"{source}{os.sep}", "") for line in said.splitlines()]
    warnings = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    shown = warnings[:LONGEST_REPORT] or lines[-LONGEST_REPORT:]
    more = f" (and {len(warnings) - len(shown)} more)" if len(warnings) > len(shown) else ""
    return f"the site was not built without a warning: {' · '.join(shown)}{more}"
