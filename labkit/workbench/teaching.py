"""The commands for teaching: release, grade, slides, site; and a learner's own progress."""

import sys
from pathlib import Path

import click

from labkit.workbench.forgiving import Choice, one_sentence
from labkit.workbench.publishing.assets import THEMES

MATHJAX = "A file tex-svg.js of MathJax 3.  [default: the one that comes with the extra site]"


@click.command(short_help="What you have done, what is next, what is left.")
@click.option("--notebook", "-n", multiple=True, metavar="NAME", help="Only this notebook.")
@click.option("--json", "as_json", is_flag=True, help="Print an object instead of text.")
@click.option("--html", type=click.Path(dir_okay=False), help="Write a page to keep or to print.")
@click.option("--forget", is_flag=True, help="Show what is kept, then delete it.")
@click.option("--yes", is_flag=True, help="With --forget: do not ask.")
@one_sentence
def progress(notebook: tuple[str, ...], as_json: bool, html: str | None, forget: bool, yes: bool) -> None:
    """Show what you have done: exercises per notebook, what is next, minutes by estimate, hints taken.

    It is kept in one file of yours on this machine, without answers and without a name; LABKIT_PROGRESS names
    another file, or is "off".

    \b
    Examples:
      labkit progress
      labkit progress -n 02
      labkit progress --forget
    """
    from labkit.workbench import learner

    if html:
        if as_json or forget or yes:
            raise ValueError("--html writes a page; leave --json, --forget and --yes away")
        from labkit.workbench.grading.reports.progresspage import progress_page

        page = progress_page(learner.standing(notebook))
        Path(html).write_text(page, encoding="utf-8")
        click.echo(f"Written: {html}")
        return
    sys.exit(learner.command(notebook, as_json, forget, yes))


@click.command(short_help="Hand out notebooks: holes empty, points in, no solution inside.")
@click.argument("notebooks", nargs=-1)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False),
    help="Folder for the handed-out files; what else lies in it stays.",
)
@click.option(
    "--course", type=click.Path(exists=True, dir_okay=False), help="The course file.  [default: course.toml here]"
)
@click.option("--outputs", is_flag=True, help="Keep the stored outputs; without it pages are handed out unrun.")
@click.option("--language", help="Of README.txt and of what is added to the pages: en, de or zh.  [default: en]")
@click.option(
    "--students",
    type=click.Path(exists=True, dir_okay=False),
    help='A CSV with a column student: one zip each with the name filled in (needs seeds = "student").',
)
@click.option("--no-zip", is_flag=True, help="Write the folder only.")
@one_sentence
def release(
    notebooks: tuple[str, ...],
    out: str,
    course: str | None,
    outputs: bool,
    language: str | None,
    students: str | None,
    no_zip: bool,
) -> None:
    """Write notebooks as they are handed out, as a folder and as one zip for a learning platform.

    Holes are empty, outputs are stripped, points and deadlines come from course.toml, and cell metadata
    is such that nbgrader grades the same files. Nothing is written when a solution stands anywhere in a
    notebook. Without NOTEBOOKS all that course.toml names are released.

    \b
    Examples:
      labkit release --out handout
      labkit release 02 06 --out week-3 --language de
    """
    from labkit.workbench.releasing import handouts

    options = {"outputs": outputs, "language": language, "students": students, "archive": not no_zip}
    click.echo(handouts.release_from(course, notebooks, out, **options).summary())


@click.command(short_help="Grade what came in, in a sandbox; safe to repeat.")
@click.argument("submissions", type=click.Path(exists=True))
@click.option(
    "--out",
    default="grades.csv",
    show_default=True,
    help="The table of grades; everything else is written beside it.",
)
@click.option(
    "--course",
    type=click.Path(exists=True, dir_okay=False),
    help="The course file.  [default: course.toml beside the submissions, or here]",
)
@click.option(
    "--released",
    type=click.Path(exists=True),
    help="What labkit release made, folder or zip: what students were given.",
)
@click.option(
    "--students",
    type=click.Path(exists=True, dir_okay=False),
    help="The list of the class (CSV; Moodle's and Canvas's exports are read): who is missing gets 0.",
)
@click.option(
    "--by-hand",
    type=click.Path(exists=True, dir_okay=False),
    help="The filled-in by_hand.csv.  [default: the one beside --out]",
)
@click.option(
    "--submitted",
    type=click.Path(exists=True, dir_okay=False),
    help="A CSV of student, notebook and time, where the files do not say when they were handed in.",
)
@click.option("--anonymous", is_flag=True, help="The report on the class names nobody.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 64), help="Submissions at a time.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    help="For the secret inputs.  [default: a random one, kept in the gradebook]",
)
@click.option("--only", multiple=True, metavar="NAME", help="Grade only this notebook; may come several times.")
@click.option("--again", is_flag=True, help="Grade anew what the gradebook already has.")
@one_sentence
def grade(
    submissions: str,
    out: str,
    course: str | None,
    released: str | None,
    students: str | None,
    by_hand: str | None,
    submitted: str | None,
    anonymous: bool,
    jobs: int,
    seed: int | None,
    only: tuple[str, ...],
    again: bool,
) -> None:
    """Grade submissions: a folder or a zip, as Moodle, Canvas, nbgrader or a mailbox leaves them.

    Only the definitions of students run, in a sandbox, on inputs that nobody has seen; their values are
    compared outside. Beside the table: CSV for Moodle and Canvas, JSON, a feedback page per student, a
    report on the class. Ctrl-C or a crash loses nothing: the same command goes on where it stopped.

    \b
    Examples:
      labkit grade submissions --released handout --out grades/grades.csv
      labkit grade week-3.zip --students class.csv --jobs 4
    """
    from labkit.workbench.grading import run

    graded = run.grade(
        submissions,
        course,
        out,
        released=released,
        students=students,
        by_hand=by_hand,
        submitted=submitted,
        anonymous=anonymous,
        jobs=jobs,
        seed=seed,
        only=only or None,
        again=again,
    )
    click.echo(graded.table())
    sys.exit(graded.exit_code)


@click.command(short_help="Make slides of notebooks, to lecture from.")
@click.argument("notebooks", nargs=-1)
@click.option("--out", type=click.Path(file_okay=False), help="Folder for the slides.  [default: _slides]")
@click.option(
    "--theme",
    type=Choice(THEMES),
    default="white",
    show_default=True,
    help="Look of reveal.js; black, night and moon are dark.",
)
@click.option("--embed", is_flag=True, help="One file with everything inside, to mail or to put on a stick.")
@click.option(
    "--reveal",
    type=click.Path(exists=True, file_okay=False),
    help="Folder of reveal.js (holds dist/reveal.js).  [default: the one that comes with the extra site]",
)
@click.option("--mathjax", type=click.Path(exists=True, dir_okay=False), help=MATHJAX)
@one_sentence
def slides(
    notebooks: tuple[str, ...], out: str | None, theme: str, embed: bool, reveal: str | None, mathjax: str | None
) -> None:
    """Make slides of notebooks with their stored outputs; they need no network.

    A heading begins a slide, an exercise has one of its own. A cell's tag `slide`, `subslide`, `fragment`,
    `skip` or `notes` says otherwise.

    \b
    Examples:
      labkit slides 02
      labkit slides 06 --theme black --embed
    """
    from labkit.workbench.publishing import slides as publishing

    for deck in publishing.make(notebooks, out, theme, embed, reveal, mathjax):
        click.echo(publishing.sentence(deck))


@click.command(short_help="Build the course as a web site, from the stored outputs.")
@click.argument("notebooks", nargs=-1)
@click.option("--out", type=click.Path(file_okay=False), help="Folder of the site.  [default: _site]")
@click.option("--fresh", is_flag=True, help="Build every page anew, not only what changed.")
@click.option("--mathjax", type=click.Path(exists=True, dir_okay=False), help=MATHJAX)
@one_sentence
def site(notebooks: tuple[str, ...], out: str | None, fresh: bool, mathjax: str | None) -> None:
    """Build a web site of the course: every notebook with its pictures, search, light and dark.

    Nothing is executed and nothing fetched: the pages show the outputs that are stored in the notebooks.

    \b
    Examples:
      labkit site
      labkit site 02 06 --out public
    """
    from labkit.workbench.publishing import site as publishing

    click.echo(publishing.sentence(publishing.build(notebooks, out, fresh=fresh, mathjax=mathjax)))


COMMANDS = (progress, release, grade, slides, site)
