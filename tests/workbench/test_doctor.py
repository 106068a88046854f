import json
import re
import sys
from types import SimpleNamespace

import pytest

from labkit.workbench import doctor, installing, notebooks
from tests.workbench.notebook_files import course

REQUIREMENTS = {"core": ["numpy>=2.0"], "torch": ["torch>=2.6"], "text": ["gensim>=4.4", "nothing-of-that-name>=1"]}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with one notebook, an empty cache, and the requirements above."""
    course(tmp_path, n02_ngram_models=["1"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(notebooks.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(installing, "requirements", lambda: REQUIREMENTS)
    torch = SimpleNamespace(
        __version__="9.9",
        cuda=SimpleNamespace(is_available=lambda: False),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: True)),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)  # the real one takes seconds to import
    real = doctor.util.find_spec
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: object() if name == "torch" else real(name))
    return monkeypatch


def find(name, group=None):
    found = [each for each in doctor.examine() if each.name == name and group in (None, each.group)]
    assert len(found) == 1
    return found[0]


def test_what_is_there_is_shown_with_its_version(machine):
    assert find("numpy").value == installing.installed("numpy")
    assert find("python").value.startswith(".".join(map(str, sys.version_info[:3])))
    assert "1 in " in find("notebooks").value and "02_ngram_models" in find("notebooks").value


def test_a_missing_package_comes_with_the_extra_that_brings_it(machine):
    lacking = find("nothing-of-that-name")
    assert (lacking.state, lacking.value, lacking.advice) == (
        "missing",
        "not installed",
        "pip install -e '.[text]'",
    )
    assert doctor.healthy(doctor.examine())  # only the core decides


@pytest.mark.parametrize(
    ("needed", "value"), [("numpy>=99", "too old or too new: numpy>=99"), ("no-such-thing>=1", "not installed")]
)
def test_a_core_that_is_not_complete_is_not_healthy(machine, needed, value):
    machine.setattr(installing, "requirements", lambda: {"core": [needed]})
    findings = doctor.examine()
    assert not doctor.healthy(findings)
    assert value in next(each for each in findings if each.name == needed.partition(">")[0]).value
    assert "The core is not complete" in doctor.text(findings)


@pytest.mark.parametrize(
    ("cuda", "mps", "device"), [(True, False, "cuda (A100)"), (False, True, "mps (Apple GPU)"), (False, False, "cpu")]
)
def test_the_device_is_what_torch_says(machine, cuda, mps, device):
    torch = sys.modules["torch"]
    torch.cuda = SimpleNamespace(is_available=lambda: cuda, get_device_name=lambda: "A100")
    torch.backends.mps.is_available = lambda: mps
    assert find("torch", "device").value.startswith(device)


def test_a_missing_torch_and_a_broken_one_are_findings_and_no_crash(machine):
    def broken():
        raise RuntimeError("driver too old\nlong story")

    sys.modules["torch"].cuda.is_available = broken
    assert find("torch", "device").value == "cannot be imported: driver too old"
    machine.setattr(doctor.util, "find_spec", lambda name: None)
    missing = find("torch", "device")
    assert (missing.state, missing.value, missing.advice) == (
        "missing",
        "torch not installed",
        "pip install -e '.[torch]'",
    )


def test_the_bare_name_of_another_project_is_never_advised(machine):
    assert not re.search(r"pip install ['\"]?labkit", doctor.text(doctor.examine()))


def test_without_notebooks_the_way_to_get_them_is_named(machine, tmp_path):
    (tmp_path / "empty").mkdir()
    machine.chdir(tmp_path / "empty")
    machine.setattr(notebooks, "CHECKOUT", tmp_path / "lib")
    (tmp_path / "notebooks" / "02_ngram_models.ipynb").unlink()
    assert f"git clone {notebooks.repository()}" in find("notebooks").advice


def test_every_corpus_is_listed_and_one_not_fetched_says_how(machine, tmp_path):
    from labkit import corpora
    from labkit.corpora import cache

    machine.setattr(cache, "_spare_folder", lambda: tmp_path / "nothing here")
    listed = {each.name: each for each in doctor.examine() if each.group == "corpora"}
    assert set(corpora.names()) < set(listed)
    assert "empty" in listed["cache folder"].value
    assert "labkit data fetch sanguo" in listed["sanguo"].advice


def test_tools_on_the_path_are_found(machine):
    machine.setattr(doctor.shutil, "which", lambda name: f"/opt/{name}")
    assert find("lmplz (KenLM)").value == "/opt/lmplz"
    assert find("chromium").value == "/opt/chromium"
    machine.setattr(doctor.shutil, "which", lambda name: None)
    assert find("lmplz (KenLM)").state == "missing"
    assert find("chromium").advice


def test_a_full_disk_is_missing_room(machine):
    machine.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e9))
    assert find("free disk").state == "missing"


def test_the_findings_are_plain_data_and_every_missing_one_has_advice(machine):
    from dataclasses import asdict

    findings = [asdict(each) for each in doctor.examine()]
    assert json.loads(json.dumps(findings)) == findings
    assert {each["state"] for each in findings} <= set(doctor.SIGNS)
    assert all(each["advice"] for each in findings if each["state"] == "missing")
