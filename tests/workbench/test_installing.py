import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
from packaging.requirements import Requirement

from labkit.workbench import installing, session

DECLARED = [
    "numpy>=2.0",
    "click>=8; python_version >= '3'",
    "colorama; platform_system == 'NoSuchSystem'",
    "gensim>=4.4; extra == 'text'",
    "kenlm>=0.3; (platform_system != 'NoSuchSystem') and extra == 'proof'",
    "winonly; (platform_system == 'NoSuchSystem') and extra == 'proof'",
    "gensim>=4.4; extra == 'dev'",
    "kenlm>=0.3; extra == 'dev'",
    "llm-labkit[text]; extra == 'dev'",
]


@pytest.fixture
def declared(monkeypatch):
    monkeypatch.setattr(installing, "_declared", lambda: DECLARED)
    monkeypatch.setattr(installing, "_names_of_extras", lambda: ("text", "proof", "dev"))
    monkeypatch.setattr(installing, "installed", {"llm-labkit": "1", "numpy": "2.1", "click": "8.1"}.get)
    installing._complete_core.cache_clear()
    yield monkeypatch
    installing._complete_core.cache_clear()


def test_requirements_are_sorted_by_extra_for_this_system_without_the_one_that_gathers(declared):
    assert installing.requirements() == {
        "core": ["numpy>=2.0", "click>=8"],
        "text": ["gensim>=4.4"],
        "proof": ["kenlm>=0.3"],
    }
    assert (installing.missing(), installing.missing("text")) == ([], ["gensim>=4.4"])


def test_the_project_itself_is_read_and_its_core_is_complete_here():
    found = installing.requirements()
    assert {"core", "text", "torch", "lab", "proof", "test"} <= set(found)
    assert all(str(Requirement(text)) == text for texts in found.values() for text in texts)
    assert installing.missing() == []


def test_a_checkout_that_is_not_installed_is_read_from_pyproject(monkeypatch):
    installed = installing.requirements()

    def absent(name):
        raise installing.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installing.metadata, "requires", absent)
    monkeypatch.setattr(installing.metadata, "metadata", absent)
    installing._names_of_extras.cache_clear()
    read = installing.requirements()
    installing._names_of_extras.cache_clear()
    assert {extra: set(texts) for extra, texts in read.items()} == {e: set(t) for e, t in installed.items()}


@pytest.mark.parametrize(
    ("module", "extra"),
    [("gensim", "text"), ("papermill", "lab"), ("sklearn", "test"), ("numpy", "core"), ("nothing_such", None)],
)
def test_the_extra_that_brings_a_module_is_known(module, extra):
    assert installing.extra_for(module) == extra


def fake_pip(returncode=0, stderr=""):
    calls = []

    def run(line, **options):
        constraints = Path(line[line.index("-c") + 1]).read_text(encoding="utf-8")
        calls.append((line, constraints))
        return SimpleNamespace(returncode=returncode, stderr=stderr)

    return calls, run


def test_nothing_is_run_or_said_when_all_is_well(declared, capsys):
    calls, run = fake_pip()
    declared.setattr(installing.subprocess, "run", run)
    declared.setattr(installing, "_tell_when_stale", lambda: None)
    installing.complete()
    assert calls == []
    assert capsys.readouterr() == ("", "")


def test_what_is_missing_is_installed_with_everything_present_as_a_constraint(declared):
    calls, run = fake_pip()
    declared.setattr(installing.subprocess, "run", run)
    declared.setattr(installing, "installed", {"llm-labkit": "1", "numpy": "2.1"}.get)
    installing.complete()
    installing.complete()  # once per process
    ((line, constraints),) = calls
    assert line[:4] == [sys.executable, "-m", "pip", "install"]
    assert line[line.index("-c") + 2 :] == ["click>=8"]
    import numpy

    assert f"numpy=={numpy.__version__}\n" in constraints


def test_a_package_that_would_have_to_move_is_named_and_left_alone(declared):
    declared.setattr(installing, "installed", {"llm-labkit": "1", "numpy": "1.26", "click": "8.1"}.get)
    with pytest.raises(RuntimeError, match=r"needs numpy>=2.0, but numpy 1.26 is installed.*--upgrade.*restart"):
        installing.complete()


def test_a_failed_installation_gives_the_last_words_of_pip(declared):
    declared.setattr(installing.subprocess, "run", fake_pip(1, "long\nERROR: no such wheel\n")[1])
    declared.setattr(installing, "installed", {"llm-labkit": "1", "numpy": "2.1"}.get)
    with pytest.raises(RuntimeError, match=r"could not install click>=8 .*: ERROR: no such wheel"):
        installing.complete()


def test_a_loaded_version_that_is_no_longer_the_installed_one_asks_for_a_restart(declared, capsys):
    declared.setitem(sys.modules, "click", SimpleNamespace(__version__="7.0"))
    declared.setattr(
        installing, "installed", {"llm-labkit": "1", "numpy": sys.modules["numpy"].__version__, "click": "8.1"}.get
    )
    installing.complete()
    assert capsys.readouterr().out == "Restart the kernel before going on: click 7.0 is loaded, 8.1 is installed.\n"


def test_a_checkout_is_left_to_its_owner(declared):
    declared.setattr(installing, "installed", {}.get)
    installing.complete()


def test_another_spelling_of_the_same_version_asks_for_nothing(declared, capsys, monkeypatch):
    for loaded, there in (("v1.9.0", "1.9.0"), ("2.13.0+cpu", "2.13.0")):
        monkeypatch.setattr(installing, "installed", lambda name, there=there: there)
        monkeypatch.setitem(sys.modules, "click", SimpleNamespace(__version__=loaded))
        monkeypatch.setattr(installing, "requirements", lambda: {"core": ["click>=7"]})
        installing._tell_when_stale()
    assert capsys.readouterr().out == ""


def test_without_a_checkout_the_repository_is_named_and_never_a_bare_name_of_an_index(monkeypatch, tmp_path):
    assert installing.command("lab") == "pip install -e '.[lab]'"
    monkeypatch.setattr(installing, "__file__", str(tmp_path / "labkit" / "workbench" / "installing.py"))
    monkeypatch.setattr(installing, "repository", lambda: "https://example.org/course")
    assert installing.command("lab") == "pip install 'llm-labkit[lab] @ git+https://example.org/course'"
    assert installing.command() == "pip install 'llm-labkit @ git+https://example.org/course'"


@pytest.fixture
def hosted(declared):
    """A hosted notebook whose core is complete; gives the calls of pip, which brings what it is asked for."""
    here = {"llm-labkit": "1", "numpy": "2.1", "click": "8.1"}
    calls, run = fake_pip()

    def pip(line, **options):
        here.update({Requirement(text).name: "9.9" for text in line[line.index("-c") + 2 :]})
        return run(line, **options)

    declared.setattr(installing, "installed", here.get)
    declared.setattr(installing, "_tell_when_stale", lambda: None)
    declared.setattr(installing.subprocess, "run", pip)
    return SimpleNamespace(here=here, calls=calls, declared=declared)


def test_a_hosted_notebook_gets_all_it_lacks_in_one_call_and_one_line(hosted, capsys):
    installing.complete("text", "proof", hosted=True)
    ((line, constraints),) = hosted.calls
    assert line[line.index("-c") + 2 :] == ["gensim>=4.4", "kenlm>=0.3"]
    assert "numpy==" in constraints
    assert capsys.readouterr().out == "‹installed for this page: gensim 9.9, kenlm 9.9›\n"
    installing.complete("text", "proof", hosted=True)
    assert len(hosted.calls) == 1 and capsys.readouterr().out == ""


def test_at_home_nothing_is_installed_and_the_command_is_named(hosted, capsys):
    hosted.here["gensim"] = "4.4"
    installing.complete("text", "proof")
    assert hosted.calls == []
    get = installing.command("proof")
    assert capsys.readouterr().out == f"‹Missing here of what this page can use: kenlm. Get it with {get}.›\n"


def test_what_would_have_to_move_stays_and_the_page_goes_on(hosted, capsys):
    hosted.here["gensim"] = "4.1"
    installing.complete("text", "proof", hosted=True)
    ((line, _),) = hosted.calls
    assert line[line.index("-c") + 2 :] == ["kenlm>=0.3"]
    assert capsys.readouterr().out == (
        "‹installed for this page: kenlm 9.9; gensim 4.1 stays, though the page was made for gensim>=4.4›\n"
    )


def test_what_cannot_be_had_is_said_in_a_sentence_and_the_page_goes_on(hosted, capsys):
    hosted.declared.setattr(installing.subprocess, "run", fake_pip(1, "ERROR: no such wheel\n")[1])
    installing.complete("text", hosted=True)
    assert capsys.readouterr().out == (
        "‹could not install gensim>=4.4 beside what is installed here (ERROR: no such wheel)›\n"
    )


def test_torch_is_never_asked_for_and_cannot_come_along(hosted, capsys, monkeypatch):
    monkeypatch.setattr(installing, "_declared", lambda: [*DECLARED, "torch>=2.6; extra == 'text'"])
    monkeypatch.setattr(installing.metadata, "distributions", lambda: [])
    installing.complete("text", hosted=True)
    ((line, constraints),) = hosted.calls
    assert line[line.index("-c") + 2 :] == ["gensim>=4.4"]
    assert constraints == "torch<0\n"
    there = SimpleNamespace(metadata={"Name": "torch"}, version="2.11.0+cu128")
    monkeypatch.setattr(installing.metadata, "distributions", lambda: [there])
    assert installing._as_it_is() == ["torch==2.11.0+cu128"]


def test_of_a_package_that_lies_twice_on_the_path_the_one_that_is_imported_is_kept(monkeypatch):
    found = [
        ("typing_extensions", "4.15"),
        ("Typing-Extensions", "4.4"),
        ("half", None),
        (None, "1"),
        ("llm-labkit", "1"),
        ("devscripts", "2.22.1ubuntu1"),
    ]
    there = [SimpleNamespace(metadata={"Name": name}, version=version) for name, version in found]
    monkeypatch.setattr(installing.metadata, "distributions", lambda: there)
    assert installing._as_it_is() == ["typing-extensions==4.15", "torch<0"]


def test_an_extra_that_does_not_exist_is_answered_with_the_nearest_one(declared):
    with pytest.raises(ValueError, match=r"there is no extra 'txt'; did you mean 'text'"):
        installing.complete("txt")


def test_an_extra_that_asks_for_nothing_on_this_system_is_silent(hosted, capsys):
    hosted.declared.setattr(
        installing, "_declared", lambda: [DECLARED[0], "winonly; (platform_system == 'X') and extra == 'text'"]
    )
    installing.complete("text")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("variable", "is_hosted"), [("COLAB_RELEASE_TAG", True), ("KAGGLE_KERNEL_RUN_TYPE", True), ("", False)]
)
def test_a_page_hands_its_needs_to_the_installer_and_says_whether_it_is_hosted(monkeypatch, variable, is_hosted):
    asked = []
    monkeypatch.setattr(installing, "complete", lambda *extras, hosted: asked.append((extras, hosted)))
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(session, "seed_everything", lambda *args, **options: None)
    with matplotlib.rc_context():
        session.start(needs=("text", "models"))
        session.start(needs="text")
    assert asked == [(("text", "models"), is_hosted), (("text",), is_hosted)]
