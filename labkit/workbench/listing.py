"""The commands that look things up: the course's text, its exercises, its claims."""

import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from labkit.workbench import learnerfile
from labkit.workbench.forgiving import Forgiving, as_text, one_sentence


@click.group(cls=Forgiving, short_help="List, fetch and verify the text of the course.")
def data() -> None:
    """The course's text: what there is, get it, check it.

    \b
    Examples:
      labkit data list
      labkit data fetch wikipedia sanguo
      labkit data verify
    """


@data.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of a table.")
@one_sentence
def data_list(as_json: bool) -> None:
    """List every corpus and model with its size, licence and whether it is here; and what lies outside the course."""
    from labkit import corpora
    from labkit.workbench import report

    entries = corpora.catalogue() + corpora.model_catalogue()
    if as_json:
        click.echo(as_text([{**asdict(entry), "cached": entry.cached} for entry in entries]))
        return
    rows = [(e.name, e.language, e.size, e.licence, "yes" if e.cached else "no", e.fallback or "-") for e in entries]
    click.echo(report.table(("name", "language", "size", "licence", "here", "fallback"), rows))
    click.echo("\n".join(["", *_kept()]))


def _kept() -> Iterator[str]:
    """Name what the course keeps on this machine outside its own folder, so that whoever leaves can delete it."""
    from labkit.corpora.cache import cache_folders
    from labkit.workbench.doctor import held

    folders = [folder for folder in cache_folders() if folder.is_dir()]
    progress = learnerfile.place()
    if not folders and not (progress and progress.is_file()):
        yield "Nothing is kept on this machine outside the folder of the course."
        return
    yield "Kept outside the folder of the course, and not removed with it:"
    for folder in folders:
        yield f"  {folder} ({held(folder)}): can be deleted, and is fetched or made again when it is needed"
    if progress and progress.is_file():
        yield f"  {progress}: your progress; once deleted, it is gone"


@data.command("fetch")
@click.argument("names", nargs=-1)
@one_sentence
def data_fetch(names: tuple[str, ...]) -> None:
    """Get corpora or models into the cache and print licence and source; without names, all corpora."""
    from labkit import corpora

    failed = 0
    for entry in [corpora.describe(name) for name in names] or corpora.catalogue():
        try:
            found = corpora.fetch(entry.name)
        except corpora.CorpusUnavailable as reason:  # the others may be had
            click.echo(f"Error: {' '.join(str(reason).split())}", err=True)
            failed += 1
        else:
            click.echo(getattr(found, "line", None) or f"{entry.name}: ready")
    sys.exit(bool(failed))


@data.command("verify")
@click.argument("names", nargs=-1)
@one_sentence
def data_verify(names: tuple[str, ...]) -> None:
    """Hash the files in the cache again; a damaged one makes the exit code 1 and is fetched anew on its next use."""
    from labkit import corpora
    from labkit.workbench import report

    checks = [check for name in names or (None,) for check in corpora.verify(name)]
    click.echo(report.table(("corpus", "file", "state"), [(check.name, check.file, check.state) for check in checks]))
    sys.exit(any(check.state == "damaged" for check in checks))


@click.command(short_help="List the checked exercises.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of a table.")
@one_sentence
def exercises(as_json: bool) -> None:
    """List the checked exercises: notebook, difficulty, minutes, hints, known wrong answers."""
    from labkit.workbench import report
    from labkit.workbench.checking import all_exercises

    found = [
        {
            "id": each.id,
            "notebook": each.notebook,
            "difficulty": each.difficulty,
            "minutes": each.minutes,
            "hints": len(each.hints),
            "wrong_answers": [wrong.name for wrong in each.wrong],
        }
        for each in all_exercises()
    ]
    if as_json:
        click.echo(as_text(found))
        return
    rows = [
        (e["id"], e["notebook"], "*" * e["difficulty"], e["minutes"], e["hints"], ", ".join(e["wrong_answers"]))
        for e in found
    ]
    click.echo(
        report.table(
            ("exercise", "notebook", "difficulty", "minutes", "hints", "known wrong answers"), rows, right=(3, 4)
        )
    )
    click.echo(f"\n{len(found)} exercises, {sum(each['minutes'] for each in found)} minutes")


@click.command(short_help="Show the claims stored in the notebooks.")
@click.argument("notebooks", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of a table.")
@one_sentence
def claims(notebooks: tuple[str, ...], as_json: bool) -> None:
    """Show the claims ledger as it is stored in the notebooks; nothing is run.

    \b
    Examples:
      labkit claims 02
      labkit claims --json | jq '.[] | select(.kind == "published")'
    """
    from labkit.workbench import notebooks as course
    from labkit.workbench import report

    keys = ("kind", "statement", "measured", "expected", "tolerance", "source", "passed")
    found = [
        {"notebook": path.stem, **{key: claim.get(key) for key in keys}}
        for path in course.find(notebooks)
        for claim in course.claims_in(course.read(path))
    ]
    click.echo(as_text(found) if as_json else report.claims_table(found))
