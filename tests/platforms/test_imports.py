"""Every module of labkit, imported without a package it needs, and where nothing of a POSIX system is to be had."""

import json
import os
import re
import subprocess
import sys

import pytest

from labkit.workbench import installing, lacking
from tests.project import ROOT

WORDS = re.compile(r"(labkit[\w.]+) needs (\w+), which is not installed: pip install -e '\.(?:\[(\w+)\])?'")


def run(*line):
    done = subprocess.run([sys.executable, *line], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def refused():
    return json.loads(run("-m", "tests.platforms.elsewhere", "torch", "at-once", "when-used"))


def test_every_module_can_be_imported_where_no_module_of_posix_and_none_of_its_names_are_to_be_had(refused):
    assert refused["posix"] == {}


def test_every_module_can_be_imported_without_what_is_imported_when_it_is_used(refused):
    at_once, when_used = refused["packages"]
    assert {"gensim", "PIL"} <= {*when_used} and {"torch", "numpy"} <= {*at_once}
    assert refused["when-used"] == {}


def test_every_module_that_needs_torch_says_so_with_the_extra_that_brings_it(refused):
    for module, words in refused["torch"].items():
        wanted, package, extra = WORDS.fullmatch(words).groups()
        assert f"{module}.".startswith(f"{wanted}.") and (package, extra) == ("torch", "torch")
    topics = {module.split(".")[1] for module in refused["torch"]}
    assert {"attention", "optimizers", "transformer", "training", "compression", "zero"} <= topics
    assert topics.isdisjoint({"corpora", "ngrams", "cleaning", "figures", "workbench"})
    assert refused["torch"]["labkit.attention.masks"].startswith("labkit.attention needs torch")


def test_whatever_a_module_lacks_is_named_with_the_extra_that_brings_it(refused):
    assert set(refused["torch"]) <= set(refused["at-once"])
    brought = {
        extra: {installing.parse(text).name.lower() for text in texts}
        for extra, texts in installing.requirements().items()
    }
    for module, words in refused["at-once"].items():
        wanted, package, extra = WORDS.fullmatch(words).groups()
        assert f"{module}.".startswith(f"{wanted}.")
        assert lacking.BROUGHT_BY.get(package, package) in brought[extra or "core"], words


def test_every_package_that_labkit_imports_has_an_extra_or_belongs_to_the_core(refused, monkeypatch):
    table, (at_once, when_used) = installing.requirements(), refused["packages"]
    monkeypatch.setattr(installing, "requirements", lambda: table)  # it reads the metadata each time
    for name in [*at_once, *when_used]:
        assert installing.extra_for(lacking.BROUGHT_BY.get(name, name)), name


NO_TORCH = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.platforms import without
with without.lacking(["torch", "fcntl_of_elsewhere"]):
    {{}}
"""


def words_of(statement):
    """What Python prints after a statement without torch: the last line of what it raised, or its output."""
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH.format(statement)], capture_output=True, text=True, encoding="utf-8"
    )
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def test_a_name_of_labkit_that_needs_a_package_names_it_as_well():
    words = words_of("import labkit; labkit.transformer")
    assert words.startswith("ModuleNotFoundError: labkit.transformer needs torch, which is not installed: pip install")


def test_an_import_within_a_function_is_told_with_the_module_it_stands_in():
    words = words_of("from labkit.workbench.session import Lab; Lab('ci', 0, 'local').device")
    assert words.startswith("ModuleNotFoundError: labkit.workbench.session needs torch, which is not installed")


def test_who_only_asks_whether_a_package_is_there_gets_the_usual_answer():
    assert words_of("import labkit, importlib.util; print(importlib.util.find_spec('torch'))") == "None"
    assert words_of("from labkit.workbench import doctor; print(next(doctor._device()).state)") == "ok"


def test_the_imports_of_others_are_left_alone():
    assert words_of("import labkit, torch") == "ModuleNotFoundError: No module named 'torch'"


@pytest.mark.parametrize("name", ["None", "3", "'elsewhere'"])
def test_code_whose_module_has_no_proper_name_gets_the_usual_answer(name):
    words = words_of(f"import labkit; exec('import torch', {{'__name__': {name}}})")
    assert words == "ModuleNotFoundError: No module named 'torch'"


def test_what_pickle_looks_for_is_not_what_the_module_that_calls_it_needs():
    words = words_of("from labkit.ranks import sending; sending.unpack(sending.pickle.dumps(({}, b'ctorch\\nX\\n.')))")
    assert words == "ModuleNotFoundError: No module named 'torch'"


def test_of_several_extras_that_bring_a_package_the_one_is_named_that_the_asking_module_belongs_to():
    def extra(package, module):
        return WORDS.fullmatch(lacking.sentence(package, module)).group(3)

    assert extra("psutil", "labkit.workbench.engine") == "lab"
    assert extra("cloudpickle", "labkit.workbench.grading.sandboxing") == "grading"
    assert extra("safetensors", "labkit.compression.files") == "compression"
    assert extra("safetensors", "labkit.zero.consolidated") == "deepspeed"
    assert extra("safetensors", "labkit.transformer.reading") == "models"


def test_a_module_of_python_that_this_system_lacks_gets_the_usual_answer():
    absent = "fcntl" if os.name == "nt" else "msvcrt"
    asked = "import labkit; exec('import {}', {{'__name__': 'labkit.of_tests'}})"
    assert words_of(asked.format(absent)) == f"ModuleNotFoundError: No module named '{absent}'"
    assert "labkit.of_tests needs no_such_package, which" in words_of(asked.format("no_such_package"))


def test_a_package_that_is_not_for_this_system_comes_without_a_command(monkeypatch):
    monkeypatch.setattr(installing, "extra_for", lambda *names: None)
    assert lacking.sentence("deepspeed", "labkit.zero.consolidated") == (
        "labkit.zero.consolidated needs deepspeed, which the course does not bring to this system and Python"
    )


def test_without_anything_that_reads_requirements_the_core_is_named(monkeypatch):
    def unreadable(*names):
        raise ModuleNotFoundError("No module named 'pip'", name="pip")

    monkeypatch.setattr(installing, "extra_for", unreadable)
    assert WORDS.fullmatch(lacking.sentence("numpy", "labkit.ngrams")).groups() == ("labkit.ngrams", "numpy", None)
