import json
import os
import stat
import unicodedata
import zipfile
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.workbench.course import Course
from labkit.workbench.grading.handing_in import handedin
from labkit.workbench.grading.handing_in.collecting import collect
from labkit.workbench.grading.handing_in.handedin import clean, files_in
from labkit.workbench.grading.handing_in.handedout import page
from labkit.workbench.grading.handing_in.layouts import whose
from labkit.workbench.grading.handing_in.moments import moment_in
from labkit.workbench.grading.handing_in.roster import folded, forms, read_moments, read_roster
from labkit.workbench.grading.handing_in.submissions import Submission, Unreadable
from tests.project import ROOT
from tests.workbench.notebook_files import code, notebook

CELLS = (
    code('student = ""\nseed = labkit.seed_for(student)', id="course-student", metadata={"tags": ["course-student"]}),
    code("import math", id="start"),
    code('@labkit.check("demo.twice")\ndef twice(x):\n    ...', id="exercise-twice"),
)
TWO_PAGES = ("00_start_here", "02_ngram_models")
DEMO, OTHER = "01_demo", "02_other"
CEST = timezone(timedelta(hours=2))


def raw(body="return 2 * x", student="", cells=CELLS, **metadata):
    changed = [{**cell, "source": cell["source"].replace("...", body).replace('""', repr(student))} for cell in cells]
    return json.dumps(notebook(*changed, **metadata)).encode()


others = [code('@labkit.check("other.thing")\ndef thing(x):\n    ...', id="exercise-thing"), code("1 + 1", id="more")]
PAGES = {
    DEMO: page(raw("..."), DEMO),
    OTHER: page(json.dumps(notebook(code("z = 1", id="z"), *others)).encode(), OTHER),
}


def put(place, files):
    """Write files under their paths; a number is what the answer in it returns."""
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else raw(f"return {content}"))
    return place


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else raw(f"return {content}"))
    return path


def taken(place, **options):
    return collect(place, None, PAGES, **options)


def bodies(found):
    return {(each.student, each.answers["demo.twice"].split()[-1]) for each in found if isinstance(each, Submission)}


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("ada/01_demo.ipynb", "bo/01_demo.ipynb", ("ada", "bo")),
        ("class/ada/01_demo.ipynb", "class/bo/01_demo.ipynb", ("ada", "bo")),
        ("week 1/ada/01_demo.ipynb", "week 2/bo/01_demo.ipynb", ("ada", "bo")),
        ("01_demo/ada/work.ipynb", "01_demo/bo/01_demo.ipynb", ("ada", "bo")),
        ("ada_01_demo.ipynb", "bo-01_demo (1).ipynb", ("ada", "bo")),
        ("01_demo_ada.ipynb", "01_demo - bo.ipynb", ("ada", "bo")),
        ("Ada Beispiel_123_assignsubmission_file/01_demo.ipynb", "Bo, Kim_45_assignsubmission_file_/x/nb.ipynb",
         ("Ada Beispiel", "Bo, Kim")),
        ("Ada Beispiel_123_assignsubmission_file_01_demo.ipynb", "Kim_45_assignsubmission_file_nb.ipynb",
         ("Ada Beispiel", "Kim")),
        ("beispielada_12_345_01_demo.ipynb", "kimbo_LATE_13_346_01_demo-2.ipynb", ("beispielada", "kimbo")),
        ("submitted/ada/ps1/01_demo.ipynb", "submitted/bo/ps1/01_demo.ipynb", ("ada", "bo")),
        ("ada/ps1/01_demo.ipynb", "bo/ps1/01_demo.ipynb", ("ada", "bo")),
        ("ada/.ipynb_checkpoints/01_demo-checkpoint.ipynb", "bo/01_demo.ipynb", ("bo",)),
        ("__MACOSX/ada/._01_demo.ipynb", "bo/01_demo.ipynb", ("bo",)),
        ("ada/01_demo.ipynb.txt", "bo/Untitled.ipynb", ("ada", "bo")),
        ("..-Otto_1_assignsubmission_file/01_demo.ipynb", "bo_2_assignsubmission_file/a.ipynb", ("..-Otto", "bo")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_every_layout_says_whose_a_file_is(tmp_path, first, second, names, packed):
    files = {first: 1, second: 2}
    place = zipped(tmp_path / "all.zip", files) if packed else put(tmp_path / "all", files)
    found = taken(place)
    assert tuple(each.student for each in found) == names
    assert all(isinstance(each, Submission) and each.notebook == DEMO for each in found)
    assert not [note for each in found for note in each.notes if "nothing" in note or "several" in note]


def test_one_student_alone_with_two_notebooks_is_one_student(tmp_path):
    content = json.dumps(notebook(code("z = 1", id="z"), *others)).encode()
    found = taken(put(tmp_path, {"ada/01_demo.ipynb": 1, "ada/02_other.ipynb": content}))
    assert [(each.student, each.notebook) for each in found] == [("ada", DEMO), ("ada", OTHER)]


def test_zips_in_zips_are_read_without_unpacking(tmp_path):
    inner = zipped(
        tmp_path / "inner.zip", {"deep/01_demo.ipynb": 7, "__MACOSX/deep/._01_demo.ipynb": b"?"}
    ).read_bytes()
    place = zipped(
        tmp_path / "all.zip", {"ada_1_assignsubmission_file/work.zip": inner, "bo_2_assignsubmission_file/a.ipynb": 2}
    )
    before = sorted(tmp_path.rglob("*"))
    found = taken(place)
    assert bodies(found) == {("ada", "7"), ("bo", "2")} and sorted(tmp_path.rglob("*")) == before


def packed(tmp_path, *members, encrypted=False):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members:
            archive.writestr(member, content)
    if encrypted:
        content = bytearray(path.read_bytes())
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(mark) + offset] |= 1
        path.write_bytes(content)
    return path.read_bytes()


def link():
    member = zipfile.ZipInfo("01_demo.ipynb")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    ("members", "encrypted", "words"),
    [
        ([("../../01_demo.ipynb", raw())], False, "leads out of the archive"),
        ([("/etc/01_demo.ipynb", raw())], False, "leads out of the archive"),
        ([("C:\\x\\01_demo.ipynb", raw())], False, "leads out of the archive"),
        ([(link(), b"/etc/passwd")], False, "is a link"),
        ([("01_demo.ipynb", raw())], True, "encrypted"),
        ([(f"{i}.txt", b"") for i in range(10_000)], False, "10,000 files"),
        ([], False, "without any file"),
    ],
)
def test_a_dangerous_zip_is_refused_and_the_others_are_read(tmp_path, members, encrypted, words):
    evil = packed(tmp_path, *members, encrypted=encrypted)
    found = taken(put(tmp_path / "all", {"ada/work.zip": evil, "bo/01_demo.ipynb": 2}))
    assert isinstance(found[0], Unreadable) and words in found[0].reason and found[0].student == "ada"
    assert bodies(found) == {("bo", "2")}


@pytest.mark.parametrize("content", [b"PK\x03\x04 no zip", b"", b"PK\x05\x06" + b"\xff" * 18])
def test_a_zip_that_is_none_is_refused(tmp_path, content):
    found = taken(put(tmp_path, {"ada/work.zip": content, "bo/01_demo.ipynb": 2}))
    assert isinstance(found[0], Unreadable) and "work.zip" in found[0].reason


def test_a_zip_is_refused_for_what_it_would_unpack_to_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(handedin, "MOST_IN_ZIP", 50_000)
    bomb = zipped(tmp_path / "bomb.zip", {f"{i}.ipynb": b" " * 20_000 for i in range(3)}).read_bytes()
    (one,) = taken(put(tmp_path / "all", {"ada/bomb.zip": bomb}))
    assert "would unpack to" in one.reason


def test_a_damaged_member_is_named_and_the_rest_is_read(tmp_path):
    place = zipped(tmp_path / "all.zip", {"ada/01_demo.ipynb": 1, "bo/01_demo.ipynb": 2})
    content = bytearray(place.read_bytes())
    at = content.index(b"ada/01_demo.ipynb") + 40
    content[at : at + 30] = b"?" * 30
    place.write_bytes(content)
    found = taken(place)
    assert (
        isinstance(found[0], Unreadable)
        and "damaged inside its zip" in found[0].reason
        and bodies(found) == {("bo", "2")}
    )


def test_zips_deeper_than_three_are_refused(tmp_path):
    content = zipped(tmp_path / "0.zip", {"01_demo.ipynb": 1}).read_bytes()
    for depth in range(1, 5):
        content = zipped(tmp_path / f"{depth}.zip", {"in.zip": content}).read_bytes()
    (one,) = taken(put(tmp_path / "all", {"ada/x.zip": content}))
    assert "too many zips" in one.reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes")
def test_links_and_pipes_are_not_followed(tmp_path):
    place = put(tmp_path / "all", {"bo/01_demo.ipynb": 2, "secret/key.txt": b"x"})
    (place / "ada").mkdir()
    (place / "ada" / "01_demo.ipynb").symlink_to(place / "secret" / "key.txt")
    (place / "cy").symlink_to(place / "bo")
    (place / "dee").mkdir()
    os.mkfifo(place / "dee" / "01_demo.ipynb")
    reasons = {each.student: each.reason for each in taken(place) if isinstance(each, Unreadable)}
    assert "a link" in reasons["ada"] and "no ordinary file" in reasons["dee"] and bodies(taken(place)) == {("bo", "2")}


@pytest.mark.parametrize(("name", "content", "words"), [
    ("answers.py", b"def twice(x): return x", "and no notebook"),
    ("work.pdf", b"%PDF-1.7", "and no notebook"),
    ("01_demo.ipynb", b"%PDF-1.7", "is a PDF"),
    ("01_demo.ipynb", raw()[:300], "cut off"),
    ("01_demo.ipynb", b"", "is empty"),
    ("foreign.ipynb", json.dumps(notebook(code("print(1)"))).encode(), "not one that was handed out"),
    ("03_more.ipynb", json.dumps(notebook(code("1"), labkit={"notebook": "03_more"})).encode(), "'03_more'"),
])  # fmt: skip
def test_what_cannot_be_read_is_named_and_stops_nobody(tmp_path, name, content, words):
    found = taken(put(tmp_path, {f"ada/{name}": content, "bo/01_demo.ipynb": 2}))
    assert isinstance(found[0], Unreadable) and words in found[0].reason and name in found[0].reason
    assert found[0].student == "ada" and bodies(found) == {("bo", "2")} and "\n" not in found[0].reason


def test_other_files_beside_a_notebook_are_no_news(tmp_path):
    (one,) = taken(
        put(tmp_path, {"ada/01_demo.ipynb": 1, "ada/photo.png": b"\x89PNG", "desktop.ini": b"?", "course.toml": b""})
    )
    assert one.notes == ()


def test_a_renamed_notebook_is_known_by_its_cells(tmp_path):
    found = taken(put(tmp_path, {"ada/02_other.ipynb": 1, "bo/homework final.ipynb": 2}))
    assert [each.notebook for each in found] == [DEMO, DEMO] and "by its cells it is 01_demo" in found[0].notes[0]


def test_another_version_is_read_with_a_note(tmp_path):
    stamped = raw("return 4", labkit={"notebook": DEMO, "version": "abc"})
    (one,) = taken(put(tmp_path, {"ada/01_demo.ipynb": stamped}))
    assert one.version == "abc" and "made from version abc" in one.notes[0] and "return 4" in one.answers["demo.twice"]


def at(path, moment):
    os.utime(path, (moment.timestamp(),) * 2)


def test_of_several_files_the_last_counts(tmp_path):
    place = put(tmp_path, {"ada/01_demo.ipynb": 1, "ada/again/01_demo.ipynb": 2, "ada/broken/01_demo.ipynb": b"{"})
    for name, hour in (("01_demo", 12), ("again/01_demo", 10), ("broken/01_demo", 14)):
        at(place / "ada" / f"{name}.ipynb", datetime(2026, 11, 1, hour, tzinfo=UTC))
    (one,) = taken(place)
    assert one.answers["demo.twice"].endswith("return 1") and one.submitted == datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert "the last counts" in one.notes[0] and "another file cannot be read" in one.notes[1]


def test_the_number_of_a_resubmission_counts(tmp_path):
    names = {f"adab_12_{345 + i}_01_demo{suffix}.ipynb": i for i, suffix in enumerate(["", "-1", "-2"])}
    place = put(tmp_path, names)
    for path in place.iterdir():
        at(path, datetime(2026, 11, 1, tzinfo=UTC))
    assert bodies(taken(place)) == {("adab", "2")}


def test_where_the_time_comes_from(tmp_path):
    files = {
        "ada/01_demo.ipynb": 1,
        "ada/timestamp.txt": b"2026-11-02 15:58:23.9 UTC",
        "bo_2026-11-03T10-20-30_01_demo.ipynb": 2,
        "cy/01_demo.ipynb": 3,
        "dee/01_demo.ipynb": 4,
        "submitted.csv": b"student,notebook,submitted\ndee,01_demo,2026-11-04 10:00\n",
    }
    place = put(tmp_path, files)
    at(place / "cy" / "01_demo.ipynb", datetime(2026, 11, 5, tzinfo=UTC))
    found = {each.student: (each.submitted, each.submitted_from) for each in taken(place, zone=CEST)}
    assert found["ada"] == (datetime(2026, 11, 2, 15, 58, 23, 900_000, UTC), "timestamp.txt")
    assert found["bo"] == (datetime(2026, 11, 3, 10, 20, 30, tzinfo=CEST), "name")
    assert found["cy"] == (datetime(2026, 11, 5, tzinfo=UTC), "file")
    assert found["dee"] == (datetime(2026, 11, 4, 10, tzinfo=CEST), "submitted.csv")


def test_the_clock_in_a_zip_has_no_time_zone_and_gets_the_course_s(tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("ada/01_demo.ipynb", (2026, 11, 2, 9, 30, 0)), raw())
        unix = zipfile.ZipInfo("bo/01_demo.ipynb", (2026, 11, 2, 9, 30, 0))
        unix.extra = b"UT\x05\x00\x01" + int(datetime(2026, 11, 2, 8, tzinfo=UTC).timestamp()).to_bytes(4, "little")
        archive.writestr(unix, raw())
        archive.writestr(zipfile.ZipInfo("cy/01_demo.ipynb"), raw())
    ada, bo, cy = taken(path, zone=CEST)
    assert ada.submitted == datetime(2026, 11, 2, 9, 30, tzinfo=CEST) and ada.submitted_from == "zip"
    assert bo.submitted == datetime(2026, 11, 2, 8, tzinfo=UTC)
    assert cy.submitted is None


def test_names_of_a_mac_and_of_others_are_one_name(tmp_path):
    name = "Zoë Müller"
    files = {f"{unicodedata.normalize(form, name)}/{n}.ipynb": n for form, n in (("NFC", 1), ("NFD", 2))}
    place = zipped(tmp_path / "all.zip", {**files, "bo/01_demo.ipynb": 3})
    found = taken(place)
    assert [each.student for each in found] == ["bo", "Zoë Müller"]


def test_two_students_of_one_name_are_kept_apart_by_their_numbers(tmp_path):
    files = {f"Kim Beispiel_{n}_assignsubmission_file/01_demo.ipynb": n for n in (11, 22)}
    found = taken(put(tmp_path, files))
    assert bodies(found) == {("Kim Beispiel (11)", "11"), ("Kim Beispiel (22)", "22")}
    assert all("2 students are called “Kim Beispiel”" in each.notes[0] for each in found)


def test_two_students_whom_only_the_place_keeps_apart_are_both_kept_and_named(tmp_path):
    roster = listed(tmp_path, "id,name\n1,Kim Beispiel\n2,Kim Beispiel\n3,x\n")
    files = {"group a/Kim Beispiel/01_demo.ipynb": 1, "group b/kim beispiel/01_demo.ipynb": 2, "c/x/y.ipynb": 3}
    found = taken(put(tmp_path, files), students=roster)
    kims = [each for each in found if each.name.lower().startswith("kim")]
    assert len({each.student for each in kims}) == 2 and {body for _, body in bodies(kims)} == {"1", "2"}
    assert all(any("there may be several people" in note for note in each.notes) for each in kims)


def test_what_was_typed_keeps_two_of_one_name_apart(tmp_path):
    files = {"x/Kim/01_demo.ipynb": raw("return 1", "k-1"), "y/kim/01_demo.ipynb": raw("return 2", "k-2")}
    roster = listed(tmp_path, "id,name\nk-1,Kim\nk-2,Kim\n")
    assert bodies(taken(put(tmp_path / "all", files), students=roster)) == {("k-1", "1"), ("k-2", "2")}


def listed(tmp_path, text, name="class.csv", encoding="utf-8"):
    path = tmp_path.parent / f"{tmp_path.name}-{name}"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("label", [
    "s07", "Ada Beispiel", "beispiel, ada", "ADA  BEISPIEL", "ada.beispiel", "beispielada_7_9_01_demo.ipynb",
    "Ada Béispiel_7_assignsubmission_file", "ada@example.org",
])  # fmt: skip
@pytest.mark.parametrize("text", [
    "id,name,email\ns07,Ada Beispiel,ada@example.org\ns08,Bo,\n",
    "ID;Full name;E-Mail\ns07;Beispiel, Ada;ada@example.org\ns08;Bo;b@example.org\n",
    "First name,Last name,ID number,Email address\nAda,Beispiel,s07,ada@example.org\nBo,Kim,s08,bo@example.org\n",
    'Student,ID,SIS User ID,SIS Login ID,Section\n    Points Possible,,,,\n"Beispiel, Ada",7,s07,ada@example.org,A\n'
    '"Student, Test",9,,,\n',
])  # fmt: skip
def test_a_student_is_found_in_every_kind_of_list_by_every_kind_of_name(tmp_path, label, text):
    roster = read_roster(listed(tmp_path, text, encoding="utf-8-sig"))
    where = label if label.endswith(".ipynb") else f"{label}/01_demo.ipynb"
    label = label.replace("é", "e")
    files = put(tmp_path / "all", {where.replace("é", "e"): 1, "zz/01_demo.ipynb": 2})
    found = taken(files, students=roster)
    assert "s07" in {each.student for each in found}
    assert any(
        "is not in the list of the class" in note for each in found if each.student == "zz" for note in each.notes
    )


def test_the_worksheet_of_moodle_tells_numbers_and_times(tmp_path):
    text = (
        "Identifier,Full name,Email address,Last modified (submission)\n"
        "Participant 123,Kim,k1@example.org,2026-11-02 10:00\nParticipant 124,Kim,k2@example.org,-\n"
    )
    roster = read_roster(listed(tmp_path, text, encoding="utf-16"))
    files = {f"Kim_{n}_assignsubmission_file/01_demo.ipynb": n for n in (123, 124)}
    found = taken(put(tmp_path / "all", files), students=roster, zone=UTC)
    assert [each.student for each in found] == ["k1@example.org", "k2@example.org"]
    assert found[0].submitted == datetime(2026, 11, 2, 10, tzinfo=UTC) and found[1].submitted_from == "file"
    assert roster.students[0].numbers["Identifier"] == "Participant 123"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column with ids or names"),
        ("colour,size\nred,3\n", "no column with ids or names"),
        ("id,name\n", "no column"),
        ("id,name\n1,Ada\n1,Bo\n", "lines 2 and 3"),
        ("id,name\n,Points Possible\n", "names nobody"),
        ('id,name\n"' + "x" * 200_000, "is no CSV"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read_roster(listed(tmp_path, text))


@pytest.mark.parametrize("text", ["student,submitted\nada,soon\n", "student\nada\n", "when\n2026\n"])
def test_a_list_of_times_that_cannot_be_read_is_refused_with_its_line(tmp_path, text):
    with pytest.raises(ValueError, match=r"(line 2 of )?.* (is no time|lacks)"):
        read_moments(listed(tmp_path, text), UTC)


def test_the_name_that_was_typed_is_compared_with_the_place(tmp_path):
    files = {"ada/01_demo.ipynb": raw("return 1", "Ada"), "bo/01_demo.ipynb": raw("return 2", "eve")}
    ada, bo = taken(put(tmp_path, files))
    assert ada.notes == () and ada.typed == "Ada" and "says “eve”" in bo.notes[0] and bo.student == "bo"


def test_a_file_without_any_name_is_its_typed_student_s_or_unknown(tmp_path):
    found = taken(put(tmp_path, {"01_demo.ipynb": raw("return 1", "ada"), "Untitled.ipynb": 2}))
    assert {each.student for each in found} == {"ada", "unknown (Untitled.ipynb)"}
    assert "nothing says whose" in found[1].notes[0]


@pytest.mark.parametrize("files", [{}, {"readme.md": b"x"}, {"__MACOSX/x.ipynb": b""}])
def test_a_place_with_nothing_in_it_is_refused(tmp_path, files):
    with pytest.raises(ValueError, match="nobody handed in anything"):
        taken(put(tmp_path, files))


def test_a_place_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no folder or zip"):
        taken(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is no zip that can be read"):
        taken(Path(__file__))
    with pytest.raises(ValueError, match="holds no notebook"):
        collect(tmp_path, None, tmp_path)


def test_a_release_as_a_zip_or_folder_is_what_was_handed_out(tmp_path):
    released = zipped(tmp_path / "out.zip", {"01_demo.ipynb": raw("...")})
    put(tmp_path / "all", {"ada/01_demo.ipynb": 1})
    folder = put(tmp_path / "out", {"01_demo.ipynb": raw("...")})
    for given_out in (released, folder):
        assert bodies(collect(tmp_path / "all", None, given_out)) == {("ada", "1")}


def test_nothing_that_was_handed_in_is_run(tmp_path):
    trap = tmp_path / "sprung"
    body = f"return 1\nopen({str(trap)!r}, 'w').write('!')\n!touch {trap}"
    taken(put(tmp_path / "all", {"ada/01_demo.ipynb": raw(body)}))
    assert not trap.exists()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0"), min_size=1, max_size=12)
PARTS = st.lists(st.lists(NAMES, min_size=1, max_size=4).map(tuple), max_size=5)


@given(PARTS)
def test_any_path_has_somebody_or_nobody(all_parts):
    assert len(whose(all_parts, [DEMO, OTHER])) == len(all_parts)


@given(st.text(max_size=20))
def test_a_name_is_one_name_however_it_is_composed(name):
    both = [folded(clean(unicodedata.normalize(form, name))) for form in ("NFC", "NFD")]
    assert both[0] == both[1] and "\n" not in clean(name) and all(forms(name))


def test_an_archive_is_closed_again(tmp_path):
    with ExitStack() as stack:
        found = files_in(zipped(tmp_path / "all.zip", {"ada/01_demo.ipynb": 1}), stack)
        assert found[0].read().startswith(b"{")


GROUPS = "id,name,group\n1,Ada Beispiel,Gruppe 3\n2,Bo Kim,Gruppe 3\n3,Cy,Team B\n"
PARTICIPANTS = "Identifier,Last modified (submission)\nParticipant 1234,{}\nParticipant 1235,-\n"


@pytest.mark.parametrize(
    ("files", "text", "keys"),
    [
        (["Gruppe 3_77_assignsubmission_file/01_demo.ipynb", "Cy_78_assignsubmission_file/a.ipynb"], GROUPS, "1 2 3"),
        (["Team B-Default group_7_assignsubmission_file/a.ipynb"], GROUPS, "3"),
        (["Group A-Ada Beispiel_77_assignsubmission_file/01_demo.ipynb"], GROUPS, "1"),
        (["Bo Kim_1_assignsubmission_file/01_demo.ipynb"], GROUPS, "2"),
        (["Participant_1234_assignsubmission_file/01_demo.ipynb", "Participant_1235_assignsubmission_file/a.ipynb"],
         "", "Participant#1234 Participant#1235"),
        (["anon_1a2B3_34567_01_demo.ipynb", "anon_LATE_1a2B3_34568_01_demo-1.ipynb"], "", "anon_1a2B3"),
        (["Copy of 01_demo.ipynb - Bo Kim.ipynb"], GROUPS, "2"),
        (["007/01_demo.ipynb", "8/01_demo.ipynb"], "id,name\n7,Ada\n8.0,Bo\n", "7 8.0"),
        (["muellerzoe_9_9_01_demo.ipynb", "lukasz zak/a.ipynb"], "id,name\n21,Zoë Müller\n22,Łukasz Żak\n", "21 22"),
        (["Ada_9_assignsubmission_file/a.ipynb"],
         "ID,Vollständiger Name,E-Mail-Adresse\nTeilnehmer/in9,Ada,a@example.org\n", "a@example.org"),
        (["ada/01_demo.ipynb"], "sep=;\r\nid;name\r\n1;Ada\r\n1;Ada\r\n", "1"),
        (["ada/01_demo.ipynb"], "\nid,name\n1,Ada\n", "1"),
    ],
)  # fmt: skip
def test_who_is_meant_by_groups_anonymous_markings_and_untidy_lists(tmp_path, files, text, keys):
    roster = listed(tmp_path, text) if text else None
    found = taken(put(tmp_path / "all", dict.fromkeys(files, 1)), students=roster)
    assert sorted({each.student for each in found}) == [key.replace("#", " ") for key in keys.split()]


@pytest.mark.parametrize("content", [b"PK\x03\x04rest", b"\xd0\xcf\x11\xe0rest"])
def test_a_list_that_is_a_workbook_is_refused_with_what_to_do(tmp_path, content):
    (tmp_path / "class.xlsx").write_bytes(content)
    with pytest.raises(ValueError, match="save it as CSV"):
        read_roster(tmp_path / "class.xlsx")


@pytest.mark.parametrize(
    "text",
    [
        "Monday, 30 November 2026, 11:59 PM", "Montag, 30. November 2026, 23:59", "Nov 30, 2026 at 11:59pm",
        "30.11.2026 23:59", "2026-11-30 22:59 UTC", "2026-11-30T22:59:00Z", "2026-11-30 23:59 +0100",
    ],
)  # fmt: skip
def test_the_times_of_a_platform_are_read_and_not_replaced_by_those_of_the_files(tmp_path, text):
    roster = read_roster(listed(tmp_path, PARTICIPANTS.format(f'"{text}"')))
    zone = timezone(timedelta(hours=1))
    place = put(tmp_path / "all", {"Participant_1234_assignsubmission_file/01_demo.ipynb": 1})
    (one,) = taken(place, students=roster, zone=zone)
    assert one.submitted == datetime(2026, 11, 30, 23, 59, tzinfo=zone) and one.submitted_from == "worksheet"


def test_a_time_that_cannot_be_read_is_named_and_midnight_has_two_names(tmp_path):
    roster = read_roster(listed(tmp_path, PARTICIPANTS.format("soon after 9")))
    (one,) = taken(put(tmp_path / "all", {"Participant_1234_assignsubmission_file/a.ipynb": 1}), students=roster)
    assert "“soon after 9”" in one.notes[0] and one.submitted_from == "file"
    assert moment_in("2026-11-30 24:00") == moment_in("2026-12-01 00:00") and moment_in("2026-11-30 24:01") is None


def test_a_later_attempt_counts_although_the_clock_went_back(tmp_path):
    place = put(tmp_path, {"adab_12_345_01_demo.ipynb": 1, "adab_12_346_01_demo-1.ipynb": 2})
    at(place / "adab_12_345_01_demo.ipynb", datetime(2026, 11, 2, tzinfo=UTC))
    at(place / "adab_12_346_01_demo-1.ipynb", datetime(2026, 11, 1, tzinfo=UTC))
    assert bodies(taken(place)) == {("adab", "2")}


def test_where_numbers_differ_an_empty_name_is_a_note(tmp_path):
    asked = code('n = labkit.given("demo.twice")', id="asked")
    own = Course("A", "", (DEMO,), {DEMO: 1.0}, seeds="student")
    pages = {DEMO: page(raw("...", cells=(*CELLS, asked)), DEMO)}
    files = {"ada/a.ipynb": raw("return 1", "ada", (*CELLS, asked)), "bo/a.ipynb": raw("return 1", "", (*CELLS, asked))}
    ada, bo = collect(put(tmp_path, files), own, pages)
    assert ada.notes == () and "nobody's name stands in the cell `course-student`" in bo.notes[0]


def test_a_file_after_the_deadline_beside_one_in_time_is_named(tmp_path):
    due = datetime(2026, 11, 1, 12, tzinfo=UTC)
    place = put(tmp_path, {"ada/01_demo.ipynb": 1, "ada/again/01_demo.ipynb": 2})
    at(place / "ada" / "01_demo.ipynb", due - timedelta(hours=1))
    at(place / "ada" / "again" / "01_demo.ipynb", due + timedelta(hours=1))
    (one,) = collect(place, Course("A", "", (DEMO,), {DEMO: 1.0}, {DEMO: due}), PAGES)
    assert bodies([one]) == {("ada", "2")} and "after the deadline, and ada/01_demo.ipynb in time" in one.notes[1]


def test_another_page_of_the_course_is_not_taken_for_the_one_that_was_handed_out(tmp_path):
    place = put(tmp_path, {f"ada/{name}.ipynb": (ROOT / f"notebooks/{name}.ipynb").read_bytes() for name in TWO_PAGES})
    other, one = sorted(
        collect(place, Course("A", "", TWO_PAGES[1:], {TWO_PAGES[1]: 1.0}), None), key=lambda each: str(each.path)
    )
    assert isinstance(other, Unreadable) and "not one that was handed out (02_ngram_models)" in other.reason
    assert one.notebook == "02_ngram_models" and not any("several" in note for note in one.notes)
