import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from labkit.workbench import cli, notebooks, runner, storing
from tests.workbench.notebook_files import CLAIM, CLAIM_TYPE, course, write

ROOT = Path(__file__).parents[2]
RECORD = {
    "kind": "published",
    "statement": "困惑度 of Table 2",
    "measured": 12.25,
    "expected": 12.2,
    "tolerance": "1%",
    "source": "Table 2",
    "passed": True,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(notebooks.FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv("LABKIT_DEBUG", raising=False)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    return course(tmp_path, n00_start_here=["1"], n02_ngram_models=[CLAIM, "claim('a = b')"])


def labkit(*arguments):
    return CliRunner().invoke(cli.cli, list(arguments), prog_name="labkit")


def outside(*arguments, **environment):
    """The command line in a process of its own, as a user meets it."""
    command = [sys.executable, "-m", "labkit.workbench.cli", *arguments]
    # The tests' own encoding must not help: this is what the child makes of a bare environment.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)


def test_help_lists_every_command_with_a_sentence_and_says_where_to_start():
    shown = labkit("--help").output
    for command in ("doctor", "run", "save", "data", "lab", "exercises", "claims"):
        assert re.search(rf"^  {command} +\w.*\.$", shown, re.MULTILINE), command
        assert labkit(command, "--help").exit_code == 0
    assert "labkit doctor" in shown
    assert "labkit run 02 --scale laptop" in labkit("run", "--help").output


def test_help_comes_without_importing_anything_heavy():
    code = (
        "import sys; from labkit.workbench import cli; heavy = {'numpy', 'matplotlib', 'torch', 'pandas', 'papermill', "
        "'nbformat', 'nbconvert', 'psutil', 'tqdm', 'IPython'} & set(sys.modules); sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_version_is_that_of_the_distribution():
    assert re.fullmatch(r"llm-labkit \S.*\n", labkit("--version").output)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["docter"], "there is no command 'docter'. Did you mean 'doctor'?"),
        (["data", "fecth"], "there is no command 'fecth'. Did you mean 'fetch'?"),
        (["run", "02", "--scale", "laptpo"], "there is no scale 'laptpo'. Did you mean 'laptop'?"),
        (["run", "02_ngram_modles"], "there is no notebook '02_ngram_modles'; did you mean '02_ngram_models'?"),
        (["save", "ngarm"], "did you mean '02_ngram_models'?"),
        (["claims", "99"], "there is no notebook '99'"),
        (["data", "fetch", "wikipeda"], "Did you mean 'wikipedia'?"),
        (["data", "verify", "sangou"], "Did you mean 'sanguo'?"),
        (["run", "02", "--jobs", "0"], "0 is not in the range x>=1"),
        (["run", "02", "--timeout", "soon"], "'soon' is not a valid integer"),
        (["run", "02", "-p", "seed"], "--parameter wants NAME=VALUE"),
        (["run", "02", "--out", "notebooks"], "executed copies would overwrite"),
        (["run", "nowhere/02.ipynb"], "there is no file 'nowhere/02.ipynb'"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest_right_one_and_exit_code_2(folder, arguments, sentence):
    result = labkit(*arguments)
    assert sentence in result.stderr
    assert result.exit_code == 2
    assert result.stdout == ""


def test_an_error_of_the_user_is_one_sentence_and_shows_its_origin_only_when_asked(tmp_path):
    plain = outside("run", "nosuch", LABKIT_NOTEBOOKS=str(tmp_path / "nosuch"))
    assert plain.returncode == 2
    assert plain.stderr.count(b"\n") == 1 and b"Traceback" not in plain.stderr
    debug = outside("run", "nosuch", LABKIT_NOTEBOOKS=str(tmp_path / "nosuch"), LABKIT_DEBUG="1")
    assert debug.returncode != 0
    assert b"Traceback" in debug.stderr


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX closes the streams")
def test_streams_that_are_closed_are_replaced_so_that_kernels_start(tmp_path):
    write(tmp_path / "a.ipynb", "import os\nos.fstat(2)")
    line = [sys.executable, "-m", "labkit.workbench.cli", "run", "a.ipynb", "--out", "out"]
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *line]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(closed, cwd=tmp_path, env=environment, timeout=120, check=False).returncode == 0


def test_a_console_that_cannot_show_a_character_gets_a_substitute(folder):
    stored_claims(folder)
    table = outside("claims", "02", PYTHONIOENCODING="cp1252", LABKIT_NOTEBOOKS=str(folder))
    assert (table.returncode, table.stderr) == (0, b"")
    assert "??? of Table 2" in table.stdout.decode("cp1252")
    as_json = outside("claims", "02", "--json", PYTHONIOENCODING="cp1252", LABKIT_NOTEBOOKS=str(folder))
    assert json.loads(as_json.stdout)[0]["statement"] == RECORD["statement"]


def stored_claims(folder):
    nb = json.loads((folder / "02_ngram_models.ipynb").read_text(encoding="utf-8"))
    output = {"output_type": "display_data", "metadata": {}, "data": {CLAIM_TYPE: RECORD, "text/plain": "x"}}
    nb["cells"][-1]["outputs"] = [
        output,
        {**output, "data": {CLAIM_TYPE: {**RECORD, "kind": "equation", "passed": False}}},
    ]
    (folder / "02_ngram_models.ipynb").write_text(json.dumps(nb), encoding="utf-8")


def test_claims_are_read_from_the_stored_notebooks(folder):
    stored_claims(folder)
    found = json.loads(labkit("claims", "--json").output)
    assert found[0] == {"notebook": "02_ngram_models", **RECORD}
    assert list(found[0]) == ["notebook", "kind", "statement", "measured", "expected", "tolerance", "source", "passed"]
    table = labkit("claims").output
    assert "1 of 2 claims passed: 0 of 1 equation, 1 of 1 published" in table
    assert "12.2 ± 1%" in table
    assert labkit("claims", "00").output == "no claims\n"


def test_exercises_are_listed_with_everything_a_school_asks(monkeypatch):
    wrong = SimpleNamespace(name="forgets the padding")
    one = SimpleNamespace(
        id="ngrams.mle",
        notebook="02_ngram_models",
        difficulty=2,
        minutes=10,
        hints=("a", "b"),
        wrong=(wrong, wrong, wrong),
    )
    monkeypatch.setattr("labkit.workbench.checking.all_exercises", lambda: (one,))
    assert json.loads(labkit("exercises", "--json").output) == [
        {
            "id": "ngrams.mle",
            "notebook": "02_ngram_models",
            "difficulty": 2,
            "minutes": 10,
            "hints": 2,
            "wrong_answers": ["forgets the padding"] * 3,
        }
    ]
    assert re.search(r"ngrams.mle +02_ngram_models +\*\* +10 +2 +forgets", labkit("exercises").output)


def test_the_real_exercises_can_be_listed():
    assert isinstance(json.loads(labkit("exercises", "--json").output), list)


def test_run_prints_both_tables_and_leaves_the_notebooks_alone(folder):
    before = [path.read_bytes() for path in sorted(folder.iterdir())]
    result = labkit("run", "--jobs", "2")
    assert result.exit_code == 0, result.output
    assert re.search(r"02_ngram_models +[\d.]+ +[\d,]+ MB +1 of 1 +ok", result.stdout)
    assert re.search(r"02_ngram_models +equation +a = b +1.5 +1.5 ± 1e-09 +passed", result.stdout)
    assert "1 of 1 claims passed: 1 of 1 equation" in result.stdout
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == before
    assert (folder.parent / "_runs" / "02_ngram_models.ipynb").is_file()


def test_run_names_what_failed_goes_on_and_exits_with_1(folder):
    write(folder / "01_bad.ipynb", "x = 1\nprint(x / 0)")
    (folder / "03_garbage.ipynb").write_text("not json")
    result = labkit("run", "01", "02", "03", "--out", "kept", "-p", "seed=3")
    assert result.exit_code == 1
    assert "01_bad: code cell [2] (id cell-1), line 2, `print(x / 0)`, failed with ZeroDivisionError" in result.stderr
    assert "03_garbage: 03_garbage.ipynb is not a notebook" in result.stderr
    assert re.search(r"02_ngram_models .* ok", result.stdout)
    assert "seed = 3" in (folder.parent / "kept" / "02_ngram_models.ipynb").read_text(encoding="utf-8")


def test_an_interrupted_run_exits_with_130(folder, monkeypatch):
    stopped = runner.Failure("interrupted", interrupted=True)
    run = runner.NotebookRun("02_ngram_models", folder / "02_ngram_models.ipynb", failure=stopped)
    monkeypatch.setattr(runner, "run", lambda *arguments: [run])
    assert labkit("run", "02").exit_code == 130


def test_save_stores_says_what_changed_and_has_nothing_to_do_the_second_time(folder):
    assert "not in its stored form" in labkit("save", "--check").output
    assert labkit("save", "--check").exit_code == 1
    first = labkit("save", "02")
    assert (first.exit_code, "02_ngram_models: saved, 1 cells changed" in first.stdout) == (0, True)
    before = (folder / "02_ngram_models.ipynb").read_bytes()
    assert "02_ngram_models: unchanged" in labkit("save", "02").stdout
    assert (folder / "02_ngram_models.ipynb").read_bytes() == before
    assert labkit("save", "--check", "02").exit_code == 0


def test_save_keeps_a_notebook_that_fails_and_exits_with_1(folder):
    bad = write(folder / "01_bad.ipynb", "1 / 0")
    before = bad.read_bytes()
    result = labkit("save", "01")
    assert result.exit_code == 1
    assert "01_bad: not saved" in result.stdout
    assert result.stderr.count("ZeroDivisionError") == 1
    assert bad.read_bytes() == before


def test_save_says_why_a_notebook_that_ran_was_not_saved(folder):
    large = write(folder / "01_large.ipynb", f"print('x' * {storing.LARGEST})")
    result = labkit("save", str(large))
    assert (result.exit_code, "01_large: the file has" in result.stderr) == (1, True)


def test_data_lists_what_there_is(folder):
    listed = json.loads(labkit("data", "list", "--json").output)
    assert {"wikipedia", "sanguo", "grammar"} <= {each["name"] for each in listed}
    assert all(each["licence"] and isinstance(each["cached"], bool) for each in listed)
    assert "wikipedia" in labkit("data", "list").output


def test_data_list_names_what_lies_outside_the_course(folder, monkeypatch, tmp_path):
    cache, progress = tmp_path / "cache", tmp_path / "progress.db"
    monkeypatch.setenv("LABKIT_CACHE", str(cache))
    monkeypatch.setenv("LABKIT_PROGRESS", str(progress))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no spare cache"))
    assert labkit("data", "list").output.endswith("Nothing is kept on this machine outside the folder of the course.\n")
    cache.mkdir()
    (cache / "text").write_bytes(bytes(2_000_000))
    progress.touch()
    told = labkit("data", "list").output
    assert f"  {cache} (2.0 MB in 1 files): can be deleted" in told
    assert f"  {progress}: your progress; once deleted, it is gone" in told


def test_data_verify_says_what_is_damaged(folder, monkeypatch):
    assert labkit("data", "verify").exit_code == 0
    check = SimpleNamespace(name="sanguo", file="x.whl", state="damaged")
    monkeypatch.setattr("labkit.corpora.verify", lambda name: (check,))
    result = labkit("data", "verify", "sanguo")
    assert (result.exit_code, "damaged" in result.output) == (1, True)


def test_data_fetch_goes_on_after_one_that_cannot_be_had(folder, monkeypatch):
    from labkit import corpora

    def fetch(name):
        if name == "sanguo":
            raise corpora.CorpusUnavailable("no network\nhere")
        return SimpleNamespace(line=f"{name} is here")

    monkeypatch.setattr(corpora, "fetch", fetch)
    result = labkit("data", "fetch", "sanguo", "wikipedia")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "wikipedia is here\n", "Error: no network here\n")


@pytest.mark.parametrize("system", ["linux", "win32"])
def test_lab_opens_the_start_page_without_news_and_passes_the_rest_on(folder, monkeypatch, system):
    called = []
    monkeypatch.setattr(cli.subprocess, "call", lambda line, env: called.append((line, env)) or 0)
    monkeypatch.setattr(cli.os, "execve", lambda path, line, env: called.append((line, env)) or sys.exit(0))
    monkeypatch.setattr(sys, "platform", system)
    assert labkit("lab", "--no-browser", "--port", "9999").exit_code == 0
    ((line, environment),) = called
    assert line[1:3] == ["-m", "jupyterlab"]
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb" in line
    assert f"--ServerApp.root_dir={folder.parent}" in line
    assert line[-3:] == ["--no-browser", "--port", "9999"]
    settings = Path(
        environment["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0], "labconfig", "default_setting_overrides.json"
    )
    overrides = json.loads(settings.read_text(encoding="utf-8"))
    assert overrides["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


def test_lab_without_jupyterlab_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = labkit("lab")
    assert (result.exit_code, "pip install -e '.[lab]'" in result.stderr) == (1, True)


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("missing", 1)])
def test_doctor_exits_by_the_core_alone(monkeypatch, state, code):
    from labkit.workbench import doctor

    findings = (
        doctor.Finding("core", "numpy", state, "2.0"),
        doctor.Finding("tools", "lmplz", "missing", "-", "build it"),
    )
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert labkit("doctor").exit_code == code
    result = labkit("doctor", "--json")
    assert (result.exit_code, [each["state"] for each in json.loads(result.output)]) == (code, [state, "missing"])
