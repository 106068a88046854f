"""The pages of the site as files for Sphinx: notebooks, documents, the start page, the lists of exercises and claims.

A file is written only when its text changes, so that only what changed is built again.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from labkit.workbench import notebooks, report, storing

COLAB = "https://colab.research.google.com/github"
BRANCH = "main"
ALIVE = "run the notebook to change"  # what the caption of a stored explorable says
_LINK = re.compile(r"(\]\()([^)\s]+)((?:\s+\"[^\"]*\")?\))")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|$~^:@&])")
_EXERCISE = re.compile(
    r"○ (?P<id>[\w.]+): not started \(difficulty (?P<stars>\d) of 3, about (?P<minutes>\d+) minutes?\)"
)


@dataclass(frozen=True)
class Course:
    """What the site is made of: the root of the checkout (or None) and the notebooks, in order."""

    root: Path | None
    paths: tuple[Path, ...]
    repository: str

    def address(self, path: str) -> str:
        """Where a file of the repository is read on the web."""
        return f"{self.repository}/blob/{BRANCH}/{path}"

    def colab(self, path: Path) -> str:
        """Where a notebook of the course opens in Colab."""
        owner = self.repository.removeprefix("https://github.com/").rstrip("/")
        return f"{COLAB}/{owner}/blob/{BRANCH}/notebooks/{path.name}"


def course_of(paths: list[Path]) -> Course:
    """Give the course that notebooks belong to; its README and docs are taken when they lie above the notebooks."""
    root = paths[0].resolve().parent.parent
    return Course(root if (root / "README.md").is_file() else None, tuple(paths), notebooks.repository())


def sources(course: Course) -> dict[str, str]:
    """Give every page as a file name and its text.

    Raises:
        ValueError: if a notebook cannot be read.
    """
    read = {path: notebooks.read(path) for path in course.paths}
    pages = {f"notebooks/{path.name}": notebook_page(nb, course, path) for path, nb in read.items()}
    for name in ("teaching", "authoring"):
        text = _document(course, f"docs/{name}.md")
        if text:
            pages[f"docs/{name}.md"] = text
    pages["exercises.md"] = exercises_page(read)
    pages["claims.md"] = claims_page(read)
    pages["index.md"] = index_page(course, read, [name for name in pages if name.startswith("docs/")])
    return pages


def written(pages: Mapping[str, str], place: Path) -> None:
    """Write the pages that changed below `place`, and take away what is there from before and belongs to no page."""
    for name, text in pages.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
            path.write_text(text, encoding="utf-8", newline="\n")
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.suffix in (".md", ".ipynb") and path.relative_to(place).as_posix() not in pages:
            path.unlink()


def notebook_page(notebook: Mapping[str, Any], course: Course, path: Path) -> str:
    """Give a notebook as the site shows it: a way to Colab below its title, a word where something is alive there."""
    cells = []
    colab = course.colab(path)
    for position, cell in enumerate(storing.normalise(notebook)["cells"]):
        cell = copy.deepcopy(cell)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(notebooks.CLAIM, None)
        if cell["cell_type"] == "markdown":
            cell["source"] = linked(cell["source"], course, "notebooks")
        if 'find_spec("labkit")' in cell["source"]:
            cell["metadata"]["tags"] = [*notebooks.tags(cell), "remove-cell"]
        cells.append(cell)
        if position == 0:
            cells.append(_words("open-in-colab", f"[Open this page in Colab]({colab}) to run and change it."))
        if _is_explorable(cell):
            sentence = f"This picture has sliders where the page runs: [open it in Colab]({colab}), or in JupyterLab."
            cells.append(_words(f"alive-{cell['id']}"[:64], sentence))
    return storing.written({**storing.normalise(notebook), "cells": cells})


def _words(name: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": text}


def _is_explorable(cell: Mapping[str, Any]) -> bool:
    pages = (output.get("data", {}).get("text/html", "") for output in cell.get("outputs", []))
    return any(ALIVE in page for page in pages)


def linked(text: str, course: Course, folder: str) -> str:
    """Give a text whose links to files of the repository lead to a page of the site, or to the file on the web."""

    def turned(found: re.Match[str]) -> str:
        target, _, part = found[2].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        inside = _inside(folder, unquote(target))
        if inside is None or _has_page(inside, course):
            return found[0]
        return f"{found[1]}{course.address(inside)}{'#' + part if part else ''}{found[3]}"

    return _LINK.sub(turned, text)


def _inside(folder: str, target: str) -> str | None:
    """Give the path in the repository that a link of a file in `folder` means, or None when it leads out of it."""
    parts: list[str] = folder.split("/") if folder else []
    for part in target.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _has_page(inside: str, course: Course) -> bool:
    docs = {f"docs/{name}.md" for name in ("teaching", "authoring") if _exists(course, f"docs/{name}.md")}
    return inside in docs | {f"notebooks/{path.name}" for path in course.paths}


def _exists(course: Course, name: str) -> bool:
    return course.root is not None and (course.root / name).is_file()


def _document(course: Course, name: str) -> str:
    if not _exists(course, name):
        return ""
    return linked((course.root / name).read_text(encoding="utf-8"), course, name.rpartition("/")[0])


def index_page(course: Course, read: Mapping[Path, Mapping[str, Any]], documents: list[str]) -> str:
    """Give the start page: the first words of the README, its table of notebooks, and the table of contents."""
    readme = (course.root / "README.md").read_text(encoding="utf-8") if course.root else ""
    about = _readme_rows(readme)
    rows = ["| notebook | question | seconds | try it |", "|---|---|---|---|"]
    for path, notebook in read.items():
        question, seconds = about.get(path.name, (_title(notebook), ""))
        page = f"[{path.stem[:2]}](notebooks/{path.name})"
        rows.append(f"| {page} | {question} | {seconds} | [open in Colab]({course.colab(path)}) |")
    title = readme.partition("\n")[0] if readme.startswith("# ") else "# llm-labkit"
    claims = [claim for notebook in read.values() for claim in notebooks.claims_in(notebook)]
    words = [
        f"{len(claims)} claims stand on these pages, each executed and checked; [all of them](claims.md). "
        "[All exercises](exercises.md) with minutes and difficulty.",
        "The pages show what the notebooks computed when they were stored; nothing runs here. To change something, "
        "open a page in Colab, or take the course home:",
        f"```\ngit clone {course.repository} && cd {course.repository.rpartition('/')[2]}\nmake lab\n```",
    ]
    trees = [_tree("Notebooks", [f"notebooks/{path.stem}" for path in read]), _tree("Look up", ["exercises", "claims"])]
    trees += [_tree("For teachers and authors", [name.removesuffix(".md") for name in documents])] if documents else []
    lead = _lead(readme)
    return "\n\n".join([title, *([lead] if lead else []), "\n".join(rows), *words, *trees]) + "\n"


def _lead(readme: str) -> str:
    """Give the sentence of the README that says what the course is: its first bold one, without how far it is."""
    found = re.search(r"^\*\*(.+?)\*\*", readme, flags=re.DOTALL | re.MULTILINE)
    return f"**{' '.join(found[1].split()).rstrip(':.')}.**" if found else ""


def _readme_rows(readme: str) -> dict[str, tuple[str, str]]:
    """Give question and seconds of each notebook, from the table of the README."""
    found = {}
    for line in readme.splitlines():
        match = re.match(r"\| \[\d\d\]\(notebooks/([\w.]+)\) \| (.+?) \| (.+?) \| (.+?) \|", line)
        if match:
            found[match[1]] = (match[2], match[4])
    return found


def _title(notebook: Mapping[str, Any]) -> str:
    first = next((cell["source"] for cell in notebook["cells"] if cell["source"].startswith("# ")), "# ")
    return escaped(first[2:].partition("\n")[0])


def _tree(caption: str, pages: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```"])


def exercises_page(read: Mapping[Path, Mapping[str, Any]]) -> str:
    """Give the list of exercises as the stored notebooks show them: nothing is imported or run for it."""
    parts = ["# Exercises"]
    total = minutes = 0
    for path, notebook in read.items():
        found = [each for cell in notebooks.code_cells(notebook) for each in exercises_in(cell)]
        if found:
            total, minutes = total + len(found), minutes + sum(int(each["minutes"]) for each in found)
            rows = [
                f"| {escaped(each['id'])} | {'★' * int(each['stars'])} | {each['minutes']} | {each['words']} |"
                for each in found
            ]
            head = ["| exercise | difficulty | minutes | what is asked |", "|---|---|---|---|"]
            parts.append(f"## [{_title(notebook)}](notebooks/{path.name})\n\n" + "\n".join([*head, *rows]))
    count = "1 exercise" if total == 1 else f"{total} exercises"
    parts.insert(1, f"{count}, about {minutes} minutes. Each is checked where it stands: at once, on fresh inputs.")
    return "\n\n".join(parts) + "\n"


def exercises_in(cell: Mapping[str, Any]) -> list[dict[str, str]]:
    """Give id, difficulty, minutes and words of the exercise whose card a cell shows; none where nothing is asked."""
    found = []
    for output in cell.get("outputs", []):
        plain = str(output.get("data", {}).get("text/plain", ""))
        match = _EXERCISE.match(plain)
        if match:
            lines = plain.splitlines()[1:]
            asked = " ".join(line for line in lines if not line.startswith("Replace the"))
            found.append({**match.groupdict(), "words": escaped(asked)})
    return found


def claims_page(read: Mapping[Path, Mapping[str, Any]]) -> str:
    """Give the table of all claims that the stored notebooks make."""
    claims = {path: notebooks.claims_in(notebook) for path, notebook in read.items()}
    parts = ["# Claims", f"{report.totals([claim for made in claims.values() for claim in made])}."]
    for path, made in claims.items():
        if made:
            head = ["| verdict | kind | statement | measured | expected | source |", "|---|---|---|---|---|---|"]
            rows = [_claim_row(claim) for claim in made]
            parts.append(f"## [{_title(read[path])}](notebooks/{path.name})\n\n" + "\n".join([*head, *rows]))
    return "\n\n".join(parts) + "\n"


def _claim_row(claim: Mapping[str, Any]) -> str:
    sign = "✓" if claim.get("passed") else "✗"
    around = claim.get("tolerance")
    expected = report.short(claim.get("expected")) + ("" if around is None else f" ± {report.short(around)}")
    cells = (
        claim.get("kind"),
        claim.get("statement"),
        report.short(claim.get("measured")),
        expected,
        claim.get("source"),
    )
    return f"| {sign} | " + " | ".join(escaped(str(cell or "")) for cell in cells) + " |"


def escaped(text: str) -> str:
    """Give a text in one line that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
