"""The same function under torchrun: a script that reads like one, the commands, and two nodes on this machine."""

import functools
import linecache
import math
import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed

from labkit import ranks
from labkit.ranks import run_torchrun, torchrun_command, torchrun_script
from labkit.ranks.torchrun import _complain

RATE, NAMES = 0.5, {"a": [1, (2.0, None)]}
LOCK = threading.Lock()


class Scale:
    def __init__(self, by):
        self.by = by * RATE


def countdown(n):
    return n if n <= 0 else countdown(n - 1)


def work(x, y=1):
    total = torch.full((1,), Scale(x).by * math.floor(1.5) + len(NAMES) * y + ranks.rank() + countdown(3))
    torch.distributed.all_reduce(total)
    return total.item(), ranks.world()


def uses_a_lock():
    return LOCK


def uses_numpys_name():
    return np.pi, torch.ones


def test_the_script_holds_the_source_of_all_that_the_notebook_defined(tmp_path):
    path = torchrun_script(work, tmp_path / "work.py", 4, y=2)
    text = path.read_text()
    assert [
        line for line in text.splitlines() if line.startswith(("import", "from", "RATE", "NAMES", "class", "def"))
    ] == [
        "from labkit.ranks import rank, start_group",
        "import labkit.ranks as ranks",
        "import math",
        "import torch",
        "NAMES = {'a': [1, (2.0, None)]}",
        "RATE = 0.5",
        "class Scale:",
        "def countdown(n):",
        "def work(x, y=1):",
    ]
    assert text.endswith('        print(f"[rank {rank()}] returned {work(4, y=2)!r}", flush=True)\n')
    assert "import numpy as np" in torchrun_script(uses_numpys_name, path).read_text()


def test_what_no_script_can_hold_is_refused(tmp_path):
    inside = 3

    def closure():
        return inside

    path = tmp_path / "a.py"
    with pytest.raises(ValueError, match="the variable 'LOCK' of uses_a_lock is a lock, which a script cannot hold"):
        torchrun_script(uses_a_lock, path)
    with pytest.raises(ValueError, match="argument 1 is a Tensor, which a script cannot hold"):
        torchrun_script(work, path, torch.ones(2))
    for nameless in (lambda: 1, closure):
        with pytest.raises(ValueError, match="cannot be a script: define it with a name, outside of any function"):
            torchrun_script(nameless, path)
    with pytest.raises(ValueError, match="the source of print is not known"):
        torchrun_script(print, path)
    assert not path.exists()


CELLS = """
import functools, dataclasses, torch
from numpy import exp
from torch import ones
from math import pow
model = torch.nn.Linear(2, 2)
class Grown:
    by = 2
    def grown(self, x): return self.by * x
@dataclasses.dataclass
class Place:
    x: int = 1
double = lambda x: 2 * x
triple = lambda x: 3 * x
def other(x): return x
alias = other
def sum(numbers): return 7
def twice(function):
    @functools.wraps(function)
    def wrapper(*args): return 2 * function(*args)
    return wrapper
@functools.lru_cache
def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
@torch.no_grad()
def no_grad(): return torch.ones(2, requires_grad=True).sum().requires_grad
@twice
def decorated(größe=3): return größe
def cached(): return fibonacci(10)
def local():
    model = 3
    return model, [model for model in range(2)]
def classes(): return Grown().grown(4), Place()
def lambdas(): return double(1) + triple(1)
def another_name(): return alias(3)
def built_in(): return sum([1]), len([1])
def imported(): return ones(2).sum().item(), float(exp(0.0)), pow(2, 3)
"""
GIVES = {
    "no_grad": False,
    "decorated": 6,
    "fibonacci": 55,
    "cached": 55,
    "local": (3, [0, 1]),
    "classes": "(8, Place(x=1))",
    "lambdas": 5,
    "another_name": 3,
    "built_in": (7, 1),
    "imported": (2.0, 1.0, 8.0),
}


@pytest.fixture
def cell(monkeypatch):
    """A module whose source is nowhere but in a cell, as that of a notebook."""
    home = types.ModuleType("cell_of_a_notebook")
    file = "/tmp/ipykernel_1/1.py"
    monkeypatch.setitem(sys.modules, home.__name__, home)
    monkeypatch.setitem(linecache.cache, file, (len(CELLS), None, CELLS.splitlines(keepends=True), file))
    exec(compile(CELLS, file, "exec"), home.__dict__)
    return home


def test_decorators_caches_aliases_lambdas_and_classes_of_cells_are_in_the_script(cell, tmp_path):
    texts = []
    for number, name in enumerate(GIVES):
        path = torchrun_script(getattr(cell, name), tmp_path / f"{number}.py", *([10] if name == "fibonacci" else []))
        texts.append(path.read_text(encoding="utf-8").replace("with start_group():", "if True:"))
        assert ("model" in texts[-1]) == (name == "local") and "Linear" not in texts[-1]
    run = "import sys\nfor text in sys.stdin.read().split('#####'): exec(text, {'__name__': '__main__'})"
    (tmp_path / "all.py").write_text(run)
    said = subprocess.run(
        [sys.executable, "-X", "utf8", tmp_path / "all.py"],
        input="#####".join(texts),
        text=True,
        encoding="utf-8",
        capture_output=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": "."},
    )
    assert said.stdout.splitlines() == [f"[rank 0] returned {one}" for one in GIVES.values()], said.stderr


def test_what_has_no_name_or_shares_one_is_refused(cell, tmp_path):
    with pytest.raises(ValueError, match=r"functools.partial\(.* cannot be a script: define it with a name"):
        torchrun_script(functools.partial(work, 4), tmp_path / "a.py")
    exec("def first(): return other(1) + other_one(1)", cell.__dict__)
    source = ["def first(): return other(1) + other_one(1)\n"]
    linecache.cache["<string>"] = (1, None, source, "<string>")
    cell.other_one = types.FunctionType(cell.no_grad.__wrapped__.__code__, cell.__dict__, "other")
    cell.other_one.__module__ = cell.first.__module__ = cell.__name__
    try:
        with pytest.raises(ValueError, match="two different things are called 'other'"):
            torchrun_script(cell.first, tmp_path / "a.py")
    finally:
        del linecache.cache["<string>"]


def test_the_command_is_one_line_per_machine():
    lines = torchrun_command("my work.py", nodes=3, per_node=8, master="gpu-1", port=1234)
    assert lines[2] == (
        "torchrun --nnodes=3 --node-rank=2 --nproc-per-node=8 --master-addr=gpu-1 --master-port=1234 'my work.py'"
    )
    assert len(lines) == 3
    with pytest.raises(ValueError, match="0 machines with 1 processes each"):
        torchrun_command("a.py", nodes=0)


def test_two_nodes_give_what_run_ranks_gives(tmp_path):
    path = torchrun_script(work, tmp_path / "work.py", 4, y=2)
    assert run_torchrun(path, timeout=120) == [f"[rank {rank}] returned (9.0, 2)\n" for rank in range(2)]
    assert ranks.run_ranks(work, 2, 4, y=2) == [(9.0, 2)] * 2


def test_a_node_that_only_lost_its_connection_is_not_blamed():
    lost = "[rank0]: RuntimeError: [gloo/transport/tcp/pair.cc:537] Read error: Connection reset by peer.\nE noise"
    with pytest.raises(RuntimeError, match=r"^node 1 ended with exit code 1:\n\[rank1\]: ValueError: no such token$"):
        _complain([(1, lost), (1, "E noise\n[rank1]: ValueError: no such token\nnoise"), (0, "")])
    with pytest.raises(RuntimeError, match=r"^node 0 ended with exit code 2:\nno such file$"):
        _complain([(2, "no such file")])
    _complain([(0, ""), (0, lost)])


def test_a_script_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no script .*missing.py; write one with torchrun_script"):
        run_torchrun(tmp_path / "missing.py")


def test_nodes_that_are_late_are_ended(tmp_path):
    (tmp_path / "late.py").write_text("import time\ntime.sleep(600)\n")
    with pytest.raises(TimeoutError, match=r"2 nodes were not done within 0\.5 seconds and were ended"):
        run_torchrun(tmp_path / "late.py", timeout=0.5)
