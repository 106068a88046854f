"""What is here and what is missing: packages, device, notebooks, text, tools, room; and how to get what is missing."""

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from labkit.workbench import installing, notebooks, room

OLDEST, NEWEST = (3, 11), (3, 14)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
CJK_FONTS = (
    "Noto Sans CJK",
    "Noto Serif CJK",
    "Noto Sans SC",
    "Source Han",
    "WenQuanYi",
    "SimHei",
    "SimSun",
    "Microsoft YaHei",
    "PingFang",
    "Heiti",
    "Songti",
    "Hiragino Sans GB",
    "Arial Unicode MS",
    "AR PL",
    "LXGW",
)
LEAST_DISK = 2e9  # bytes: PyTorch, the corpora and what a few runs leave
WHAT_EXTRAS_ARE_FOR = {
    "extra text": "real English text",
    "extra torch": "neural networks",
    "extra models": "real pretrained weights",
    "extra training": "checkpoints, token files, the search for settings, curves in a browser",
    "extra cleaning": "cleaning a crawl",
    "extra scale": "cleaning on many machines",
    "extra parallel": "many processes from a cell",
    "extra deepspeed": "DeepSpeed, on Linux",
    "extra compression": "compressed weights beside torchao and ONNX Runtime",
    "extra grading": "labkit grade",
    "extra site": "labkit site and labkit slides",
    "extra lab": "JupyterLab, labkit run and labkit save",
    "extra proof": "proofs against KenLM",
    "extra test": "make test",
    "extra bench": "make bench",
}
SIGNS = {"ok": "✓", "missing": "✗", "note": "·"}


@dataclass(frozen=True)
class Finding:
    """One line of the examination: `state` is ok, missing or note; `advice` says how to get what is missing."""

    group: str
    name: str
    state: str
    value: str
    advice: str = ""


def examine() -> tuple[Finding, ...]:
    """Look at this machine and give everything found, the core first; nothing is changed or downloaded."""
    groups = (_python, _packages, _device, _notebooks, _text, _tools, _room)
    return tuple(finding for group in groups for finding in group())


def healthy(findings: Iterable[Finding]) -> bool:
    """Tell whether the core is fine: without it no notebook runs; everything else is only needed here and there."""
    return all(finding.state != "missing" for finding in findings if finding.group == installing.CORE)


def text(findings: Iterable[Finding]) -> str:
    """Give the findings as lines to read, group by group, and a verdict at the end."""
    findings = list(findings)
    width = max(len(finding.name) for finding in findings)
    lines, group = [], ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            purpose = WHAT_EXTRAS_ARE_FOR.get(group, "")
            lines += ["", group + (f" ({purpose})" if purpose else "")]
        lines.append(f"  {SIGNS[finding.state]} {finding.name:<{width}}  {finding.value}".rstrip())
        if finding.advice:
            lines.append(f"    {' ' * width}  → {finding.advice}")
    lacking = sum(finding.state == "missing" for finding in findings)
    verdict = "The core is fine." if healthy(findings) else "The core is not complete: no notebook can run yet."
    rest = f" {lacking} thing{'s are' if lacking != 1 else ' is'} missing; the arrows say how to get what you need."
    return "\n".join([*lines[1:], "", verdict + (rest if lacking else " Nothing is missing.")])


def _found(group: str, name: str, there: object, value: str, advice: str) -> Finding:
    return Finding(group, name, "ok" if there else "missing", value, "" if there else advice)


def _python() -> Iterable[Finding]:
    version = platform.python_version()
    fits = OLDEST <= sys.version_info[:2] <= NEWEST
    wanted = f"install Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}, then {installing.command()}"
    yield _found(installing.CORE, "python", fits, f"{version} at {sys.executable}", wanted)


def _packages() -> Iterable[Finding]:
    course = installing.installed(notebooks.DISTRIBUTION)
    place = f"{course or 'used without being installed'} at {Path(__file__).parents[1]}"
    yield Finding(installing.CORE, notebooks.DISTRIBUTION, "ok" if course else "note", place)
    for extra, texts in installing.requirements().items():
        group = extra if extra == installing.CORE else f"extra {extra}"
        lacking = set(installing.missing(extra))
        for needed in texts:
            name = installing.parse(needed).name
            version = installing.installed(name)
            if needed in lacking:
                value = f"{version} is too old or too new: {needed} is needed" if version else "not installed"
                yield Finding(group, name, "missing", value, installing.command(extra))
            else:
                yield Finding(group, name, "ok", version or "")


def _device() -> Iterable[Finding]:
    yield Finding("device", "processor", "ok", f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}")
    if util.find_spec("torch") is None:
        yield Finding("device", "torch", "missing", "torch not installed", installing.command("torch"))
        return
    try:
        torch = importlib.import_module("torch")
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        name = torch.cuda.get_device_name() if cuda else "Apple GPU" if mps else "no GPU that torch can use"
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # a broken build or driver; the rest goes on
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        yield Finding("device", "torch", "missing", f"cannot be imported: {reason}", installing.command("torch"))
        return
    kind = "cuda" if cuda else "mps" if mps else "cpu"
    yield Finding("device", "torch", "ok", f"{kind} ({name}), torch {torch.__version__}")


def _notebooks() -> Iterable[Finding]:
    try:
        place, found = notebooks.folder(), notebooks.find()
    except ValueError as error:
        clone = f"git clone {notebooks.repository()}"
        yield Finding("course", "notebooks", "missing", str(error), f"{clone}, and run labkit inside it")
        return
    yield Finding("course", "notebooks", "ok", f"{len(found)} in {place}: {', '.join(path.stem for path in found)}")


def _text() -> Iterable[Finding]:
    try:
        corpora = importlib.import_module("labkit.corpora")
    except ImportError as error:  # something of the core is missing, and the first group says what
        yield Finding("corpora", "corpora", "note", f"cannot be examined: {error}")
        return
    yield Finding("corpora", "cache folder", "note", f"{corpora.cache_folder()} ({held(corpora.cache_folder())})")
    for entry in (*corpora.catalogue(), *corpora.model_catalogue()):
        if entry.cached:
            yield Finding("corpora", entry.name, "ok", "ready")
        else:
            get = f"labkit data fetch {entry.name} (or by itself on first use)"
            yield Finding("corpora", entry.name, "note", f"not fetched yet, {entry.size}", get)


def held(folder: Path) -> str:
    """Give how much a folder holds, in words."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return f"{sum(sizes) / 1e6:,.1f} MB in {len(sizes)} files" if sizes else "empty"


def _tools() -> Iterable[Finding]:
    kenlm = installing.installed("kenlm")
    advice = "only for the proofs against KenLM: " + installing.command("proof")
    yield _found("tools", "kenlm (Python)", kenlm, kenlm or "not installed", advice)
    lmplz = shutil.which("lmplz")
    advice = "only for make bench: build it from https://github.com/kpu/kenlm and put it on the PATH"
    yield _found("tools", "lmplz (KenLM)", lmplz, lmplz or "not on the PATH", advice)
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    advice = "only for the browser tests: install Chromium or Chrome with your system's packages"
    yield _found("tools", "chromium", browser, browser or "not on the PATH", advice)
    font = _cjk_font()
    advice = "only for Chinese text in figures: on Debian and Ubuntu, apt-get install fonts-noto-cjk"
    yield _found("tools", "Chinese font", font, font or "none found", advice)


def _cjk_font() -> str | None:
    if util.find_spec("matplotlib") is None:
        return None
    manager = importlib.import_module("matplotlib.font_manager").fontManager
    return next((font.name for font in manager.ttflist if font.name.startswith(CJK_FONTS)), None)


def _room() -> Iterable[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    enough = free >= LEAST_DISK
    advice = f"make room: the course wants {LEAST_DISK / 1e9:.0f} GB"
    yield _found("room", "free disk", enough, f"{free / 1e9:,.1f} GB", advice)
    memory = room.free("cpu")
    if memory is not None:
        yield Finding("room", "free memory", "ok", f"{memory / 1e9:,.1f} GB")
