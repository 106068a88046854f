"""Releasing notebooks: what is handed out, the same bytes every time, nothing half written, mistakes in a sentence."""

import copy
import errno
import io
import json
import os
import zipfile
from datetime import UTC, datetime, timedelta, timezone

import pytest

from labkit.workbench import coursefile, notebooks
from labkit.workbench.course import Course, Manual, scaled
from labkit.workbench.releasing import answer_cells, handouts, writing
from labkit.workbench.releasing.handouts import release, release_from
from labkit.workbench.releasing.leaks import leaks
from labkit.workbench.releasing.records import read_release
from tests.project import ROOT

STEM = "02_ngram_models"
PAGE = ROOT / "notebooks" / f"{STEM}.ipynb"
WHY = Manual(STEM, "why", "Why is a bigram model blind?", 5.0, "exercise-bigrams")


def course(*stems, **changes):
    stems = stems or (STEM,)
    given = {"deadlines": {STEM: datetime(2030, 1, 2, 23, 59, tzinfo=timezone(timedelta(hours=1)))}, **changes}
    return Course("Models: a course", "2030", stems, scaled(dict.fromkeys(stems, 1.0)), **given)


def handed_out(folder, stem=STEM):
    return notebooks.read(folder / f"{stem}.ipynb")


def cells(page):
    return {cell["id"]: cell for cell in page["cells"]}


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """One notebook, released once; nobody may write into it."""
    folder = tmp_path_factory.mktemp("released") / "handout"
    release(course(manual={STEM: (WHY,)}), [STEM], folder)
    return folder


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder of notebooks of which one, 02_ngram_models, has five cells; `change` it before it is released."""
    page = notebooks.read(PAGE)
    kept = ("question", "parameters", "exercise-bigrams", "exercise-2", "exercise-relative-frequency")
    page["cells"] = [cells(page)[name] for name in kept]
    folder = tmp_path / "notebooks"
    folder.mkdir()

    def change(**changed):
        changed_page = copy.deepcopy(page)
        for name, source in changed.items():
            cells(changed_page)[name.replace("_", "-")]["source"] = source
        return write(changed_page)

    def write(made):
        (folder / f"{STEM}.ipynb").write_text(json.dumps(made), encoding="utf-8")
        return folder / f"{STEM}.ipynb"

    monkeypatch.setenv("LABKIT_NOTEBOOKS", str(folder))
    change.page, change.write = page, write
    change()
    return change


def test_every_hole_is_empty_and_has_its_points_behind_it(released):
    page = handed_out(released)
    order = [cell["id"] for cell in page["cells"]]
    for exercise, name in page["metadata"]["labkit"]["exercises"].items():
        cell, points = cells(page)[name], page["cells"][order.index(name) + 1]
        assert cell["source"].endswith(":\n    ...")
        assert points["id"] == f"{name}-points"
        assert points["source"].startswith(f'labkit.points("{exercise}", ')
        most = page["metadata"]["labkit"]["points"][exercise]
        assert points["metadata"]["nbgrader"]["points"] == most


def test_all_other_cells_are_those_of_the_page_without_outputs(released):
    original, page = cells(notebooks.read(PAGE)), cells(handed_out(released))
    assert list(original) == [name for name in page if name in original]
    assert {name: cell["source"] for name, cell in original.items()} == {
        name: page[name]["source"] for name in original
    }
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in page.values())


def test_outputs_stay_by_choice(tmp_path):
    release(course(), [STEM], tmp_path, outputs=True)
    original, page = cells(notebooks.read(PAGE)), cells(handed_out(tmp_path))
    assert all(page[name]["outputs"] == cell["outputs"] for name, cell in original.items() if "outputs" in cell)


def test_a_release_is_a_valid_notebook_with_all_a_grader_must_know(released):
    import nbformat

    nbformat.validate(nbformat.read(released / f"{STEM}.ipynb", as_version=4))
    told = handed_out(released)["metadata"]["labkit"]
    assert (told["course"], told["term"], told["notebook"]) == ("Models: a course", "2030", STEM)
    assert told["deadline"] == "2030-01-02T23:59:00+01:00"
    assert told["questions"] == {"why": {"cell": "answer-why", "points": 5.0}}
    assert read_release(released).notebooks[0].version == told["version"]


def test_the_zip_holds_what_the_folder_holds(released):
    archive = read_release(released).archive
    with zipfile.ZipFile(archive) as content:
        inside = {name.partition("/")[2]: content.read(name) for name in content.namelist()}
    assert inside == {
        name: made for name, made in files(released).items() if not name.endswith(("release.json", ".zip"))
    }


def test_the_same_notebooks_give_the_same_bytes(released, tmp_path):
    again = release(course(manual={STEM: (WHY,)}), [STEM], tmp_path / "other")
    assert files(tmp_path / "other") == files(released)
    assert again.sha256 == writing.digest(again.archive.read_bytes())


def test_the_public_course_file_can_be_read_again(released):
    public = coursefile.read_course(released / "course.toml")
    assert (public.name, public.notebooks) == ("Models: a course", (STEM,))
    assert "blind" not in (released / "course.toml").read_text(encoding="utf-8")


def test_a_question_comes_after_the_points_of_its_exercise(released):
    order = list(cells(handed_out(released)))
    place = order.index("exercise-bigrams")
    assert order[place : place + 4] == ["exercise-bigrams", "exercise-bigrams-points", "question-why", "answer-why"]


def test_another_course_or_other_points_give_another_version(small, tmp_path):
    others = (asking("exercise-2"), course(), course(points={"ngrams.bigrams": 3.0}), course(seeds="student"))
    done = [release(other, [STEM], tmp_path / str(number)) for number, other in enumerate(others)]
    assert len({each.notebooks[0].version for each in done}) == 4


@pytest.mark.parametrize(("language", "said"), [("de", "**Frage** (5 Punkte)"), ("zh", "**问题**（5 分）")])
def test_the_frame_speaks_other_languages(small, tmp_path, language, said):
    release(course(manual={STEM: (WHY,)}), [STEM], tmp_path / "out", language=language)
    assert cells(handed_out(tmp_path / "out"))["question-why"]["source"].startswith(said)
    readme = (tmp_path / "out" / "README.txt").read_text(encoding="utf-8")
    assert "How to" not in readme
    assert "2030-01-02 23:59 (UTC+0100)" in readme


def test_with_numbers_of_ones_own_one_cell_asks_who_it_is(small, tmp_path):
    release(course(seeds="student"), [STEM], tmp_path / "out", students=["4711", 'Zoë O\'Hara, "Zo"'])
    assert "into the cell that begins with\n     student =" in (tmp_path / "out" / "README.txt").read_text(
        encoding="utf-8"
    )
    order = list(cells(handed_out(tmp_path / "out")))
    assert order[order.index("parameters") + 1] == "course-student"
    zips = sorted((tmp_path / "out" / "students").iterdir())
    assert [path.name[:4] for path in zips] == ["4711", "Zoë-"]
    with zipfile.ZipFile(zips[1]) as content:
        name = next(name for name in content.namelist() if name.endswith(".ipynb"))
        page = json.load(io.BytesIO(content.read(name)))
    source = "".join(cells(page)["course-student"]["source"])
    assert source.startswith('student = "Zoë O\'Hara, \\"Zo\\""')
    assert page["metadata"]["labkit"]["student"] == 'Zoë O\'Hara, "Zo"'


def test_a_filled_hole_is_handed_out_empty_and_that_is_said(small, tmp_path):
    answer = '@labkit.check("ngrams.bigrams")\ndef all_bigrams(sentence):\n    return list(pairwise(sentence))'
    small(exercise_bigrams=f"aid = 1  # my own\n{answer}")
    done = release(course(), [STEM], tmp_path / "out")
    assert cells(handed_out(tmp_path / "out"))["exercise-bigrams"]["source"] == (
        '@labkit.check("ngrams.bigrams")\ndef all_bigrams(sentence):\n    ...'
    )
    assert "cell 'exercise-bigrams' held more than the hole of ngrams.bigrams" in done.summary()


@pytest.mark.parametrize(
    ("source", "hole"),
    [
        ('labkit.check("workbench.sequences", ...)', 'answer = ...\nlabkit.check("workbench.sequences", answer)'),
        ('n = 10**12\nlabkit.check("workbench.sequences", n)', 'n = ...\nlabkit.check("workbench.sequences", n)'),
        ('labkit.check("workbench.sequences", value=7)', 'answer = ...\nlabkit.check("workbench.sequences", answer)'),
    ],
)
def test_a_question_for_a_value_gets_a_name_for_its_answer(source, hole):
    from labkit.workbench.checking import find

    assert answer_cells.answer_cell(source, find("workbench.sequences")).hole == hole


def test_every_page_and_every_exercise_of_the_course_is_released(tmp_path, monkeypatch):
    from labkit.workbench.checking import all_exercises

    monkeypatch.setattr(handouts, "leaks", lambda page, exercises: [])  # the gate has tests of its own on these pages
    done = release_from(None, (), tmp_path / "all")
    assert [each.notebook for each in done.notebooks] == [path.stem for path in notebooks.find()]
    assert {name for each in done.notebooks for name in each.exercises} == {each.id for each in all_exercises()}
    assert done.notes == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"exercise_bigrams": '@labkit.check("ngrams.bigram")\ndef f(s):\n    ...'}, "did you mean 'ngrams.bigrams'"),
        ({"exercise_bigrams": '@labkit.check("ngrams.bigrams")\ndef f(s:\n    ...'}, "is no Python"),
        ({"exercise_bigrams": '@labkit.check("ngrams.bigrams")\ndef f(s, t):\n    ...'}, "as many arguments"),
        ({"exercise_bigrams": '@labkit.check("ngrams.bigrams")\ndef f(s=max(1, 2)):\n    ...'}, "plain values"),
        ({"exercise_bigrams": 'labkit.check("ngrams.bigrams")(lambda s: ...)'}, "does not stand over a function"),
        (
            {"exercise_relative_frequency": '@labkit.check("ngrams.bigrams")\ndef f(s):\n    ...'},
            "exercise 'ngrams.bigrams' stands in cell 'exercise-bigrams' already",
        ),
        ({"question": "padded = ['<s>', *sentence, '</s>']\nreturn list(pairwise(padded))"}, "solution of 'ngrams.big"),
    ],
)
def test_a_page_that_cannot_be_handed_out_is_refused_and_nothing_is_written(small, tmp_path, changed, said):
    small(**changed)
    with pytest.raises(ValueError, match=STEM) as refused:
        release(course(), [STEM], tmp_path / "out")
    assert said in str(refused.value)
    assert STEM in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_cells_without_an_id_and_ids_that_come_twice_are_refused(small, tmp_path):
    page = copy.deepcopy(small.page)
    page["cells"][1]["id"] = page["cells"][0]["id"]
    small.write(page)
    with pytest.raises(ValueError, match="2 cells with the id 'question'"):
        release(course(), [STEM], tmp_path / "out")
    del page["cells"][1]["id"]
    small.write(page)
    with pytest.raises(ValueError, match="has no id, and answers are found again by it"):
        release(course(), [STEM], tmp_path / "out")
    page["cells"][1]["id"] = "exercise-bigrams-points"
    small.write(page)
    with pytest.raises(ValueError, match="a release adds one with this id"):
        release(course(), [STEM], tmp_path / "out")


def refused(tmp_path, match, *, of=None, names=(STEM,), **options):
    with pytest.raises(ValueError, match=match):
        release(of or course(), list(names), options.pop("out", tmp_path / "out"), **options)


def test_what_a_teacher_can_mistype_is_one_sentence(small, tmp_path):
    refused(tmp_path, "there is no notebook '02_ngrma'.*did you mean", names=["02_ngrma"])
    refused(tmp_path, "there is no language 'fr' .known: en, de, zh.", language="fr")
    refused(
        tmp_path, "which 02_ngram_models does not have; did you mean 'exercise-bigrams'", of=asking("exercise-bigram")
    )
    refused(tmp_path, "everybody gets the same", students=["4711"])
    own = course(seeds="student")
    refused(tmp_path, "'ada  X' stands twice", of=own, students=["Ada x", "ada  X"])
    refused(tmp_path, "has no name or number", of=own, students=["Ada", " "])
    refused(tmp_path, "not .* in the course file|no notebook '02_ngram_models'", of=course("06_attention_math"))
    (tmp_path / "file").write_text("x")
    refused(tmp_path, "is a file; --out wants a folder", out=tmp_path / "file")
    refused(tmp_path, "holds the notebooks themselves", out=tmp_path / "notebooks")
    assert not (tmp_path / "out").exists()


def asking(after):
    return course(manual={STEM: (Manual(STEM, "why", "Why?", 5.0, after),)})


def test_a_roster_is_read_by_the_column_that_says_who_somebody_is(small, tmp_path):
    roster = tmp_path / "roster.csv"
    roster.write_text("\ufeffName,ID\nAda,17\nBob,18\n", encoding="utf-8")
    release(course(seeds="student"), [STEM], tmp_path / "out", students=roster)
    assert sorted(path.name for path in (tmp_path / "out" / "students").iterdir()) == ["17.zip", "18.zip"]
    roster.write_text("who\nAda\n")
    refused(tmp_path, "expected one of id, student, number, name; got who", of=course(seeds="student"), students=roster)


def test_files_of_others_stay_and_are_never_overwritten(small, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    release(course(), [STEM], out)
    release(course(points={"ngrams.bigrams": 1.0}), [STEM], out)
    assert (out / "mine.txt").read_text() == "mine"
    (out / "README.txt").write_text("my own words")
    before = files(out)
    refused(tmp_path, "README.txt was changed since it was released", out=out)
    assert files(out) == before
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "course.toml").write_text("the teacher's own")
    refused(tmp_path, "course.toml is not from a release", out=tmp_path / "new")


def test_a_folder_keeps_what_was_released_before_of_the_same_course(tmp_path):
    both = course(STEM, "00_start_here")
    release(both, [STEM], tmp_path)
    first = files(tmp_path)
    done = release(both, ["00"], tmp_path)
    assert {each.notebook for each in read_release(tmp_path).notebooks} == {STEM, "00_start_here"}
    assert files(tmp_path)[f"{STEM}.ipynb"] == first[f"{STEM}.ipynb"]
    assert done.archive.name == "Models-a-course-00.zip"
    assert STEM in (tmp_path / "README.txt").read_text(encoding="utf-8")
    other = Course("Another", "", both.notebooks, both.weights)
    refused(tmp_path, "holds what was released of Models: a course · 2030", of=other, out=tmp_path)


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_a_disk_that_fills_up_leaves_everything_as_it_was(small, tmp_path, monkeypatch, fails_at):
    out = tmp_path / "out"
    release(course(), [STEM], out)
    before = files(out)
    moves, replace = [], os.replace

    def full(source, target):
        moves.append(target)
        if len(moves) == 2 * fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(writing.os, "replace", full)
    with pytest.raises(OSError, match=r"is as it was: it could not be written \(No space left on device\)"):
        release(course(points={"ngrams.bigrams": 1.0}), [STEM], out)
    assert files(out) == before


def test_a_first_release_that_fails_leaves_no_folder(small, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "_write_one", full)
    with pytest.raises(OSError, match="nothing was released"):
        release(course(), [STEM], tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_a_release_that_was_killed_in_the_middle_can_be_repeated(small, tmp_path, monkeypatch):
    out = tmp_path / "out"
    release(course(), [STEM], out)

    def killed(folder, staging, names, record):
        pending = json.dumps({"files": record["files"]})
        (folder / writing.PENDING).write_text(pending)
        os.replace(staging / "new" / f"{STEM}.ipynb", folder / f"{STEM}.ipynb")

    other = course(points={"ngrams.bigrams": 1.0})
    with monkeypatch.context() as patched:
        patched.setattr(writing, "_exchange", killed)
        release(other, [STEM], out)
    release(course(points={"ngrams.bigrams": 2.0}), [STEM], out)
    assert handed_out(out)["metadata"]["labkit"]["points"]["ngrams.bigrams"] == 2.0
    assert not (out / writing.PENDING).exists()


def test_a_folder_without_a_release_says_so(tmp_path):
    with pytest.raises(ValueError, match="holds no release"):
        read_release(tmp_path)
    (tmp_path / "release.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be read"):
        read_release(tmp_path)


def test_the_summary_says_what_a_teacher_checks_and_does_next(small, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    done = release(course(manual={STEM: (WHY,)}), [STEM], tmp_path / "out")
    for said in (
        STEM,
        "2030-01-02T23:59:00+01:00",
        "2 exercises",
        done.sha256,
        "README.txt",
        done.notebooks[0].version,
        f"keep {done.folder}: labkit grade SUBMISSIONS --released {done.folder}",
    ):
        assert said in done.summary()


def test_widgets_and_kernels_of_the_teacher_are_not_handed_out(small, tmp_path):
    page = copy.deepcopy(small.page)
    page["metadata"] |= {"widgets": {"state": {}}, "papermill": {"input_path": "x"}}
    small.write(page)
    release(course(), [STEM], tmp_path / "out")
    assert {"widgets", "papermill"}.isdisjoint(handed_out(tmp_path / "out")["metadata"])


def test_what_is_handed_out_passes_the_gate_itself(released):
    from labkit.workbench.checking import all_exercises

    assert leaks(handed_out(released), all_exercises()) == []
    assert handouts.COURSE_FILE == "course.toml"
    assert datetime.now(UTC).isoformat()[:10] not in json.dumps(handed_out(released))
