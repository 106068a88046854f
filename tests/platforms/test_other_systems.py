"""What is different on macOS and Windows, as far as it can be seen from here."""

import multiprocessing
import subprocess
import sys

import pytest
from packaging import markers

from labkit.ranks import forking, rank, run_ranks
from labkit.training import resumed
from labkit.workbench import installing
from tests.platforms import elsewhere
from tests.project import ROOT, files
from tests.test_architecture import MODULES

# Modules that run on Linux only, each with what keeps others out of it.
LINUX = {
    "ranks/forking.py": "fork_rank returns None elsewhere, and a rank starts as an interpreter of its own",
    "ranks/leftovers.py": "kills what /proc lists",
    "ranks/torchrun.py": "kills what /proc lists",
    "workbench/forking.py": "labkit run takes fresh kernels elsewhere",
    "workbench/forking_parent.py": "labkit run takes fresh kernels elsewhere",
    "workbench/grading/sandboxing/bubblewrap.py": "bubblewrap exists for Linux only",
    "workbench/grading/sandboxing/limiting.py": "/proc is looked at; users are counted in the process that forks",
    "workbench/grading/sandboxing/places.py": "descriptors go to the process that forks",
    "workbench/grading/sandboxing/zygote.py": "the process that forks is started on Linux",
    "workbench/room.py": "a name that is missing is caught",
}
RESERVED = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))}


def test_what_only_posix_has_is_used_only_after_asking_for_it():
    found = {path.relative_to(ROOT / "labkit").as_posix(): list(elsewhere.unasked(path)) for path in MODULES}
    assert {name: uses for name, uses in found.items() if uses and name not in LINUX} == {}
    assert [name for name in LINUX if not found.get(name)] == [], "needs no entry any more"


def test_a_use_without_asking_is_noticed(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("import os\n\ndef f():\n    os.killpg(1, 9)\n\ndef g():\n    hasattr(os, 'fork') and os.fork()\n")
    assert list(elsewhere.unasked(path)) == ["4: os.killpg"]


def test_no_two_files_differ_in_capitals_only_and_none_has_a_name_that_windows_refuses():
    names = [path.as_posix() for path in files()]
    assert len({name.lower() for name in names}) == len(names)
    assert [name for name in names if set(name) & set('<>:"|?*\\') or not name.isascii()] == []
    assert [path for path in files() for part in path.parts if part.lower().partition(".")[0] in RESERVED] == []
    assert [path for path in files() for part in path.parts if part != part.strip(" ") or part.endswith(".")] == []
    assert max(map(len, names)) < 120  # Windows takes 260 with the folder in which the checkout lies


def test_every_text_of_labkit_is_read_and_written_in_an_encoding_that_is_named():
    rule = ["--preview", "--isolated", "--select", "PLW1514", "--output-format", "concise"]
    found = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rule, "labkit"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("elsewhere", "not_there"),
    [
        ({}, set()),
        ({"platform_system": "Windows"}, {"deepspeed", "kenlm"}),
        ({"platform_system": "Darwin"}, {"deepspeed"}),
        ({"python_version": "3.14"}, {"gensim", "ray", "kenlm"}),
    ],
)
def test_what_brings_a_package_is_known_on_every_system(monkeypatch, elsewhere, not_there):
    environment = {**markers.default_environment(), "platform_system": "Linux", "python_version": "3.11", **elsewhere}
    monkeypatch.setattr(markers, "default_environment", lambda: environment)
    everything, table = installing._with_gathering(), installing.requirements()
    modules = {installing._module(text) for texts in everything.values() for text in texts}
    monkeypatch.setattr(installing, "requirements", lambda: table)  # it reads the metadata each time
    assert {name for name in ("deepspeed", "kenlm", "gensim", "ray") if name not in modules} == not_there
    assert {name for name in modules if installing.extra_for(name) in (None, "dev")} == set()
    assert {*installing._gathering()} == {"dev"}


@pytest.fixture
def only_spawn(monkeypatch):
    """Processes start as on Windows and macOS: a fresh interpreter that imports what it needs."""
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    monkeypatch.setattr(forking, "fork_rank", lambda *what: None)
    resumed._context.cache_clear()
    yield
    resumed._context.cache_clear()


def test_training_in_a_process_of_its_own_that_is_spawned_does_every_step(only_spawn, tmp_path):
    assert resumed._context().get_start_method() == "spawn"
    assert resumed.run_in_process(tmp_path, 3) == (1, 3)
    assert len(resumed.final_weights(tmp_path)) == 64


def test_ranks_that_are_spawned_return_and_print_what_they_should(only_spawn, capfd):
    def name_it():
        print(f"语料 {rank()}")
        return rank()

    assert run_ranks(name_it, 2, group=False) == [0, 1]
    out = capfd.readouterr().out
    assert "语料 0" in out and "语料 1" in out
