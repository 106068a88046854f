"""`labkit` on the command line. Nothing heavy is imported before a command needs it, so that --help comes at once."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click

from labkit.workbench import listing, teaching
from labkit.workbench.forgiving import Choice, Forgiving, as_text, one_sentence
from labkit.workbench.notebooks import SCALES


def _version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from labkit.workbench import installing

        version = installing.installed("llm-labkit") or "from a checkout that is not installed"
        click.echo(f"llm-labkit {version}")
        ctx.exit()


@click.group(cls=Forgiving, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """A course you can run: language models from n-grams to serving, every claim executed and checked.

    \b
    Start here:
      labkit doctor           is everything here, and how do I get what is missing?
      labkit lab              open the course in JupyterLab
      labkit run 02           run the notebook on n-gram models and check its claims

    A notebook is named by its number (02), its name (02_ngram_models), the beginning of its topic
    (ngram) or its path. Without a name, all notebooks of the course are meant.

    LABKIT_NOTEBOOKS names the folder of the notebooks, LABKIT_CACHE the folder for text;
    LABKIT_DEBUG=1 shows where an error came from.
    """


@cli.command(short_help="Is everything here, and how to get what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of text.")
@one_sentence
def doctor(as_json: bool) -> None:
    """Examine this machine: packages, device, notebooks, text, tools, room.

    Each missing thing comes with the way to get it. The exit code is 0 when the core is fine (every
    notebook opens), 1 when it is not; what only some notebooks need does not count.
    """
    from labkit.workbench import doctor as examination

    findings = examination.examine()
    click.echo(as_text([asdict(each) for each in findings]) if as_json else examination.text(findings))
    sys.exit(0 if examination.healthy(findings) else 1)


@cli.command(short_help="Run notebooks and check every claim.")
@click.argument("notebooks", nargs=-1)
@click.option(
    "--scale",
    type=Choice(SCALES),
    default="ci",
    show_default=True,
    help="ci: a minute, laptop: minutes, gpu: the real thing.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Notebooks at a time.")
@click.option("--html", is_flag=True, help="A page per notebook, pictures inside, and report.html on the whole run.")
@click.option(
    "--timeout", type=click.IntRange(min=1), help="Seconds for one cell.  [default: 600, more at other scales]"
)
@click.option("--out", type=click.Path(file_okay=False), help="Folder for the executed copies.  [default: _runs]")
@click.option("--parameter", "-p", multiple=True, metavar="NAME=VALUE", help="Set another parameter, as in -p seed=3.")
@click.option("--fresh", is_flag=True, help="A new interpreter for each kernel, not a fork (LABKIT_FRESH_KERNELS=1).")
@one_sentence
def run(
    notebooks: tuple[str, ...],
    scale: str,
    jobs: int,
    html: bool,
    timeout: int | None,
    out: str | None,
    parameter: tuple[str, ...],
    fresh: bool,
) -> None:
    """Run notebooks from top to bottom and check every claim.

    The notebooks themselves are not touched; executed copies and results.json are kept in _runs/. A
    notebook that fails does not stop the others: the end names its cell, the line and the error, and
    the exit code is 1. Ctrl-C ends all kernels and prints what there is.

    \b
    Examples:
      labkit run                         the whole course, small
      labkit run 02 --scale laptop       one notebook with better numbers
      labkit run 00 02 --jobs 2          two at a time
      labkit run 02 --html --out report  a page to hand in
    """
    from labkit.workbench import notebooks as course
    from labkit.workbench import report, reporting, runner

    paths = course.find(notebooks)
    runs = runner.run(paths, scale, jobs, html, timeout, out, dict(map(_pair, parameter)), fresh)
    _show_runs(runs)
    click.echo(f"\n{report.claims_table([{'notebook': run.name, **claim} for run in runs for claim in run.claims])}")
    for run in runs:
        if run.report:
            click.echo(f"report: {run.report}")
    if html and runs:
        click.echo(f"report on all: {reporting.overview(runs, runner.out_folder(paths, out))}")
    _leave(runs)


@cli.command(short_help="Refresh the outputs stored in notebooks.")
@click.argument("notebooks", nargs=-1)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Notebooks at a time.")
@click.option("--timeout", type=click.IntRange(min=1), help="Seconds for one cell.  [default: 600]")
@click.option("--check", is_flag=True, help="Run nothing: only tell which files are not in their stored form.")
@one_sentence
def save(notebooks: tuple[str, ...], jobs: int, timeout: int | None, check: bool) -> None:
    """Run notebooks at scale ci and refresh the outputs stored in them.

    A file is replaced only when its notebook ran through and is whole; otherwise it stays as it was.
    Saving an unchanged notebook changes nothing in its file.

    \b
    Examples:
      labkit save 02
      labkit save --check       what a reviewer wants to know, in a second
    """
    from labkit.workbench import notebooks as course
    from labkit.workbench import storing

    paths = course.find(notebooks)
    if check:
        problems = [problem for path in paths for problem in storing.is_stored(path)]
        click.echo("\n".join(problems) or f"{len(paths)} notebooks are in their stored form")
        sys.exit(bool(problems))
    results = storing.save(paths, jobs=jobs, timeout=timeout)
    _show_runs([each.run for each in results if each.run])
    click.echo()
    for each in results:
        done = f"saved, {each.changed} cells changed" if each.changed else "unchanged"
        click.echo(f"{each.name}: {'not saved' if each.problems else done}")
        for problem in each.problems if each.run is None or each.run.failure is None else ():
            click.echo(f"{each.name}: {problem}", err=True)
    if any(each.run and each.run.failure and each.run.failure.interrupted for each in results):
        sys.exit(130)
    sys.exit(any(each.problems for each in results))


@cli.command(
    short_help="Open the course in JupyterLab.",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@one_sentence
def lab(arguments: tuple[str, ...]) -> None:
    """Open the course in JupyterLab, on the start page.

    Everything after `lab` goes to JupyterLab:

    \b
      labkit lab --no-browser --port 9999
    """
    from importlib import util

    from labkit.workbench import installing
    from labkit.workbench import notebooks as course

    if util.find_spec("jupyterlab") is None:
        raise RuntimeError(f"jupyterlab is not installed; get it with {installing.command('lab')}")
    place = course.folder()
    line = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={place.parent}"]
    line += [f"--LabApp.default_url=/lab/tree/{place.name}/00_start_here.ipynb", *arguments]
    # JupyterLab would ask about its news before a learner has seen a notebook; this folder turns that off.
    settings = [str(Path(__file__).with_name("jupyter")), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    environment = {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(settings)}
    if sys.platform != "win32":  # it takes our place: who ends this process ends it, and Ctrl-C is asked about by it
        os.execve(line[0], line, environment)
    sys.exit(subprocess.call(line, env=environment))


def main() -> NoReturn:
    """Run the command line; a console that cannot show a character gets a question mark, never a traceback."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us; the next file opened would stand in its place
            nothing = open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")  # noqa: SIM115
            os.set_inheritable(nothing.fileno(), True)
            setattr(sys, name, nothing)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    cli(prog_name="labkit")
    raise SystemExit(0)


def _pair(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise ValueError(f"--parameter wants NAME=VALUE, as in seed=3; got {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:  # words need no quotes
        return name, value


def _show_runs(runs: list[Any]) -> None:
    from labkit.workbench import report

    if runs:
        click.echo(report.runs_table(runs))
    for sentence in report.failures(runs):
        click.echo(sentence, err=True)


def _leave(runs: list[Any]) -> NoReturn:
    interrupted = any(run.failure and run.failure.interrupted for run in runs)
    sys.exit(130 if interrupted else any(run.failure for run in runs))


for command in (listing.data, listing.exercises, listing.claims, *teaching.COMMANDS):
    cli.add_command(command)

if __name__ == "__main__":
    main()
