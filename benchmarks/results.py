"""One page of measurements: RESULTS.md, rendered from one file for each section in the folder `measured`.

    python -m benchmarks.results

Whoever measures something writes a section with `write`, which makes the page anew from all of them. A section is a
dict of

    title, about    a heading, and a paragraph that says what was measured and how
    command         what a reader types to measure it again
    date            when, as 2026-11-23
    machine         of `machine()`
    versions        of `versions([...])`
    headers, rows   a table; a cell is text, a number, True, False or None
    notes           sentences below the table

and, if it likes, `verdict` (one sentence for the top of the page), `passed` (False: something asked for was missed),
`summary` (comparisons for the top of the page: dicts of what, ours, peer, unit, ratio, spread, asked and met).
"""

import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "benchmarks" / "measured"
PAGE = ROOT / "benchmarks" / "RESULTS.md"
BENCHMARKS = (
    *("ngrams", "attention", "optimizers", "transformer", "training"),
    *("cleaning", "parallel", "compression", "grading"),
)
PROOFS = ("budget", "endurance", "colab", "fresh_machine", "gpu_need")
NAMES = (*BENCHMARKS, *PROOFS)
KEYS = ("title", "about", "command", "date", "machine", "versions", "headers", "rows", "notes")
OPTIONAL = ("verdict", "passed", "summary")
TABLES = ("machine", "versions")


def write(name: str, section: Mapping[str, Any], folder: Path = MEASURED) -> Path:
    """Write a section, in place of an older one of that name, render the page anew, and give the section's file.

    Raises:
        ValueError: if the name is none of the page's, or the section is not complete, or tells of a place on this
            machine.
    """
    check(name, section)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name}.json"
    draft = place.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(section, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(place)  # whoever reads meanwhile has the old one or the new one
    if folder == MEASURED:
        main()
    return place


def check(name: str, section: Mapping[str, Any]) -> None:
    """Refuse a section that the page cannot show to a stranger.

    Raises:
        ValueError: and what to change.
    """
    if name not in NAMES:
        raise ValueError(f"no section is called {name!r}; the page has {', '.join(NAMES)}")
    missing = [key for key in KEYS if key not in section]
    unknown = [key for key in section if key not in (*KEYS, *OPTIONAL)]
    if missing or unknown:
        raise ValueError(f"section {name}: missing keys {missing}, unknown keys {unknown}; it needs {', '.join(KEYS)}")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", str(section["date"])):
        raise ValueError(f"section {name}: the date is {section['date']!r}, expected one like 2026-11-23: use today()")
    for key in TABLES:
        if not isinstance(section[key], Mapping):
            raise ValueError(f"section {name}: {key} is {section[key]!r}, expected a dict: use {key}()")
    widths = {len(row) for row in section["rows"]} - {len(section["headers"])}
    if widths:
        raise ValueError(f"section {name}: rows of {sorted(widths)} cells below {len(section['headers'])} headers")
    private = places_in(json.dumps(section, ensure_ascii=False))
    if private:
        raise ValueError(f"section {name} names {', '.join(private)}: give paths from the folder of the course")


def places_in(text: str) -> list[str]:
    """Give the folders of this machine that a text names: the course's, the home, the temporary one."""
    home = Path("~").expanduser()
    places = {str(place) for place in (ROOT, home, Path(tempfile.gettempdir())) if len(place.parts) > 1}
    # Not in the middle of a path: a course that lies in /data is not named by tests/data.
    return sorted(place for place in places if re.search(rf"(?<![\w.-]){re.escape(place)}", text))


def today() -> str:
    """Give the date of a section."""
    return date.today().isoformat()


def machine() -> dict[str, str]:
    """Give what a stranger needs to know of this machine: processor, cores, memory, system; no names."""
    return {
        "processor": _processor(),
        "cores": str(cores()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release().split('-')[0]} ({platform.machine()})",
        "Python": platform.python_version(),
    }


def cores() -> int:
    """Give how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Give the version of each package, "missing" for one that is not installed."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", file.read_text(encoding="utf-8")) if file.is_file() else None
    return named[1].strip() if named else platform.processor() or platform.machine()


def _memory() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return "unknown"
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"


def sections(folder: Path = MEASURED) -> dict[str, dict[str, Any]]:
    """Give the sections that were measured, in the order of the page.

    Raises:
        ValueError: if a file holds no section; the message names it.
    """
    files = {name: folder / f"{name}.json" for name in NAMES}
    return {name: _read(file) for name, file in files.items() if file.is_file()}


def _read(file: Path) -> dict[str, Any]:
    try:
        section = json.loads(file.read_text(encoding="utf-8"))
        missing = [key for key in KEYS if key not in section]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file.name} is no section ({error}); measure it anew, or delete it") from error
    if missing or not isinstance(section, dict):
        raise ValueError(f"{file.name} is no section (it lacks {', '.join(missing)}); measure it anew, or delete it")
    return section


def main() -> None:
    """Render the page."""
    from benchmarks.results_page import page

    PAGE.write_text(page(sections()), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(sections())} of {len(NAMES)} sections")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # also when it was started as a file
    main()
