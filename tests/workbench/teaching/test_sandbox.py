"""What an answer does in the sandbox comes back as plain values, with the reason when it does not."""

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from labkit.workbench.grading.sandboxing import bubblewrap, sandbox, zygote
from labkit.workbench.grading.sandboxing.answered import _ending
from labkit.workbench.grading.sandboxing.places import Alone, Lost, Stable, others_can_read
from labkit.workbench.grading.sandboxing.sandbox import Limits, Sandbox, imports_of, kind_of_sandbox, pack, warning
from labkit.workbench.grading.sandboxing.wire import Opaque
from tests.workbench.teaching.sandboxes import KINDS


@pytest.fixture(scope="module", params=KINDS)
def box(request):
    with Sandbox(Limits(), ("numpy",), kind=request.param) as started:
        yield started


def values(answered):
    assert answered.status == "ok", answered
    return [came.value for came in answered.outcomes]


def test_a_function_is_called_with_every_case(box):
    answered = box.run("def double(x):\n    return 2 * x", "double", [(1,), (2.5,), ("ab",)])
    assert values(answered) == [2, 5.0, "abab"] and answered.why == ""


def test_a_function_with_a_preamble_sees_what_the_preamble_defines(box):
    sources = ("import math\nHALF = 0.5", "def root(x):\n    return math.pow(x, HALF)")
    assert values(box.run(sources, "root", [(4,)])) == [2.0]


def test_arrays_go_in_and_come_out(box):
    came = values(box.run("def same(a):\n    a *= 2\n    return a", "same", [(np.arange(3),), (np.ones((2, 2)),)]))
    assert came[0].tolist() == [0, 2, 4] and came[1].shape == (2, 2)


def test_a_function_can_be_an_input_and_its_module_need_not_be_there(box):
    def triple(x):
        return 3 * x

    pytest.importorskip("cloudpickle")
    assert values(box.run("def apply(f, x):\n    return f(x)", "apply", [(triple, 4)])) == [12]


def test_cases_can_be_packed_once_for_a_class(box):
    packed = pack([(1,), (2,)])
    assert values(box.run("def f(x): return x", "f", packed)) == [1, 2]
    assert values(box.run("def f(x): return -x", "f", packed)) == [-1, -2]


def test_one_exercise_leaves_nothing_for_the_next(box):
    box.run("import math\nmath.pi = 3\nimport builtins\nbuiltins.left = 1\ndef f(): return 1", "f", [()])
    answered = box.run("import math\ndef f(): return math.pi > 3.1 and 'left' not in dir(__builtins__)", "f", [()])
    assert values(answered) == [True]


def test_the_files_of_one_exercise_are_gone_for_the_next(box):
    leave = "import os\ndef f(x):\n    open('left', 'w').write('x')\n    if x: os.makedirs('left.d/more')"
    look = "import os\ndef f():\n    return os.listdir('.') + os.listdir('/dev/shm') * ('grade' not in os.getcwd())"
    before = values(box.run(look, "f", [()]))  # nothing, but for the way to a checkout that lies in it
    for folders in (False, True):
        box.run(leave, "f", [(folders,)])
        assert values(box.run(look, "f", [()])) == before and "left" not in str(before)


def test_an_answer_can_pickle_its_own_classes_and_use_processes_and_its_home(box):
    source = (
        "import multiprocessing, os, pickle, tempfile\nclass A: pass\ndef g(x): return x * x\ndef f():\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool: found = pool.map(g, [1, 2])\n"
        "    open(os.path.expanduser('~/mine'), 'w').close()\n"
        "    tempfile.TemporaryFile().close()\n"
        "    return found, isinstance(pickle.loads(pickle.dumps(A())), A)"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("processes are forked on Linux only")
    assert values(box.run(source, "f", [()])) == [([1, 4], True)]


def test_every_limit_is_set_before_an_answer_runs(box):
    pytest.importorskip("resource")
    source = "import resource\ndef f(name): return resource.getrlimit(getattr(resource, 'RLIMIT_' + name))[0]"
    if not sys.platform.startswith("linux"):
        pytest.skip("not every system has them all")
    names = ("CPU", "FSIZE", "NOFILE", "CORE", "NPROC", "AS")
    cpu, size, files, core, processes, memory = values(box.run(source, "f", [(name,) for name in names], seconds=7))
    assert (cpu, size, files, core) == (8, 10_000_000, 64, 0)
    assert processes >= 32 and 2 * 2**30 < memory < 2**50


def test_many_processes_together_have_no_more_processor_time_than_one(monkeypatch):
    pytest.importorskip("resource")
    assert zygote._worked(os.getpid()) > 0 and zygote._worked(2**30) == 0
    line = socket.socket()
    busy = zygote._Zygote(line, {"memory": 2**60}, drop=False)
    monkeypatch.setattr(zygote, "_offspring", lambda root: [7, 8])
    monkeypatch.setattr(zygote, "_worked", lambda pid: 3.0)
    with line:
        assert (busy._too_much(4.9), busy._too_much(5.1)) == ("time", "")
    assert _ending(-9, "time", 5)["status"] == _ending(-24, "", 5)["status"] == "timeout"


def test_what_a_student_imports_stops_neither_the_sandbox_nor_the_grading(box, monkeypatch):
    hostile = ["import numpy.f2py.__main__", f"import numpy.{'a' * 300_000}", "import labkit.exercises.ngrams"]
    assert imports_of(hostile) == ("numpy",)
    with Sandbox(kind=box.kind, imports=("numpy.f2py.__main__",)) as exits:
        assert values(exits.run("def f(): return 1", "f", [()])) == [1]
    monkeypatch.setattr(Stable, "_tell", too_long)
    with Sandbox(kind=box.kind) as broken:
        assert "too long" in broken.run("def f(): return 1", "f", [()]).why


def too_long(*_):
    raise Lost("the message is too long")


def test_torch_is_imported_beforehand_when_the_inputs_hold_tensors():
    torch = pytest.importorskip("torch")
    box = Sandbox(kind="limited subprocess", imports=("numpy",))
    box._prepared_for(pack([(1, "a")]))
    assert box.imports == ("numpy",)
    box._prepared_for(pack([(torch.ones(2),)]))
    assert box.imports == ("numpy", "torch")


@pytest.mark.parametrize("body", ["...", "pass", "return ...", '"""Only words."""'])
def test_a_hole_is_not_started(box, body):
    assert box.run(f"def f(x):\n    {body}", "f", [(1,)]).status == "not started"


def test_a_hole_inside_is_seen_in_the_outcome(box):
    assert box.run("def f(x):\n    y = ...\n    return x + y", "f", [(1,)]).outcomes[0].unfilled
    assert values(box.run("def f(x):\n    return [x, ...]", "f", [(1,)])) == [[1, ...]]


def test_a_name_that_is_not_defined_is_missing(box):
    answered = box.run("def g(x): return x", "f", [(1,)])
    assert answered.status == "missing" and answered.error.kind == "NameError"


def test_a_source_that_fails_says_where(box):
    answered = box.run(("import math", "x = 1\ny = x / 0\ndef f(): return 1"), "f", [()])
    assert (answered.status, answered.error.kind, answered.error.line) == ("error", "ZeroDivisionError", "y = x / 0")
    assert box.run("def f(:", "f", [()]).error.kind == "SyntaxError"


def test_what_is_no_function_is_shown(box):
    answered = box.run("f = [1, 2]", "f", [(1,)])
    assert (answered.status, answered.outcomes, answered.answer.value) == ("ok", (), [1, 2])


def test_errors_come_with_their_kind_words_and_line(box):
    source = "def f(x):\n    if x:\n        raise ValueError('not ' + str(x))\n    return {}['key']"
    first, second = box.run(source, "f", [(1,), (0,)]).outcomes
    assert (first.kind, first.words, first.line) == ("ValueError", "not 1", "raise ValueError('not ' + str(x))")
    assert (second.kind, second.words) == ("KeyError", "key")


def test_an_error_of_the_students_own_is_never_a_builtin_one(box):
    answered = box.run("class ValueError(Exception): __module__ = 'builtins'\ndef f(): raise ValueError", "f", [()])
    assert "." in answered.outcomes[0].kind


def test_iterators_are_taken_so_far_and_said_to_be_lazy(box):
    came = box.run("import itertools\ndef f(x): return itertools.count(x)", "f", [(5,)]).outcomes[0]
    assert came.lazy and came.value[:2] == [5, 6] and len(came.value) == 10_000


def test_value_exercises_give_their_value_with_what_was_given(box):
    source = "import labkit\nsize, layers = labkit.given('attention.bytes')\nanswer = size * layers"
    assert values(box.run(source, "answer", [()], kind="value", given=(3, 4))) == [12]
    assert box.run("answer = ...", "answer", [()], kind="value").status == "not started"


def test_checks_hints_and_solutions_do_nothing_in_there(box):
    source = (
        "import labkit\nfrom labkit import hint\nfrom labkit.workbench.checking import solution\n"
        "hint('x')\nsolution('x')\nlabkit.check('y', 3)\nlabkit.claim('a', 'b')\n"
        "@labkit.check('z')\ndef f(x): return x"
    )
    assert values(box.run(source, "f", [(1,)])) == [1]


def test_the_exercises_cannot_be_imported(box):
    source = "def f(name):\n    import importlib\n    return len(importlib.import_module(name).EXERCISES)"
    kinds = [came.kind for came in box.run(source, "f", [("labkit.exercises.ngrams",), ("labkit.exercises",)]).outcomes]
    assert set(kinds) <= {"ModuleNotFoundError", "AttributeError"}


def test_the_rest_of_labkit_can(box):
    source = "from labkit import ngrams\ndef f(): return ngrams.__name__"
    assert values(box.run(source, "f", [()])) == ["labkit.ngrams"]


def test_what_is_printed_is_kept_to_the_end_of_it(box):
    answered = box.run(
        "print('begin')\ndef f(x):\n    print('x' * 9_000_000, '\\x1b[1m', x)\n    return 1", "f", [(7,)]
    )
    assert values(answered) == [1] and answered.said.endswith("·[1m 7\n") and len(answered.said) <= 2000


def test_what_came_before_an_endless_loop_is_kept(box):
    source = "def f(x):\n    while x == 3: pass\n    return x"
    answered = box.run(source, "f", [(1,), (2,), (3,), (4,)], seconds=0.5)
    assert answered.status == "timeout" and [came.value for came in answered.outcomes] == [1, 2]
    assert "0.5 seconds" in answered.why


def test_an_answer_that_is_too_large_comes_as_a_sign_and_the_rest_still_comes(box):
    source = "import numpy as np\ndef f(x): return np.zeros(x)"
    large, small = values(box.run(source, "f", [(10**7,), (2,)]))
    assert isinstance(large, Opaque) and small.tolist() == [0, 0]


def test_answers_that_are_too_large_together_are_refused():
    with Sandbox(Limits(answer_bytes=10_000), kind="limited subprocess") as small:
        answered = small.run("def f(): return 'x' * 4000", "f", [()] * 5)
    assert answered.status == "refused" and len(answered.outcomes) == 2


def test_the_environment_is_not_ours(box, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "secret")
    with Sandbox(kind=box.kind) as fresh:
        found = values(fresh.run("import os\ndef f(): return dict(os.environ)", "f", [()]))[0]
    assert "MY_TOKEN" not in found and "secret" not in found.values()


def test_closing_it_ends_a_run_in_another_thread():
    closed = Sandbox(kind="limited subprocess").warm()
    timer = threading.Timer(0.5, closed.close)
    timer.start()
    answered = closed.run("while True: pass", "f", [()], seconds=60)
    timer.join()
    assert answered.status == "crashed"
    assert closed.run("def f(): return 1", "f", [()]).status == "crashed"


def test_a_sandbox_that_was_killed_is_started_anew(box):
    box.warm()._place.process.kill()
    box._place.process.wait()
    assert values(box.run("def f(): return 1", "f", [()])) == [1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are listed in /proc on Linux only")
def test_nothing_of_it_runs_after_it_was_closed_while_it_started(box):
    started = []
    for tenths in range(60):
        one = Sandbox(kind=box.kind).warm()
        started.append(one._place.process.pid)
        time.sleep(tenths / 10_000)  # of a millisecond: bubblewrap needs a few until its child runs
        one.close()
    until = time.monotonic() + 10
    while (left := [pid for pid in zygote._everybody() if group_of(pid) in started]) and time.monotonic() < until:
        time.sleep(0.02)
    assert left == []


def group_of(pid):
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)


def test_several_can_be_warm_at_a_time(box):
    boxes = [Sandbox(kind=box.kind).warm() for _ in range(3)]
    try:
        assert [values(one.run("def f(x): return x", "f", [(i,)])) for i, one in enumerate(boxes)] == [[0], [1], [2]]
    finally:
        for one in boxes:
            one.close()


def test_a_process_of_its_own_does_the_same_where_nothing_can_be_forked(monkeypatch):
    monkeypatch.setattr(sandbox, "Stable", lambda limits, imports, boxed: Alone(limits, imports))
    with Sandbox(Limits(seconds=20), kind="limited subprocess") as alone:
        answered = alone.run("print('hello')\ndef f(x): return x + 1", "f", [(1,), (2,)])
        assert values(answered) == [2, 3] and answered.said == "hello\n"
        assert alone.run("import os\ndef f(): os._exit(0)", "f", [()]).status == "crashed"
        assert alone.run("while True: pass", "f", [()], seconds=0.3).status == "timeout"
        assert values(alone.run("def f(): return 1", "f", [()])) == [1]


def test_the_inputs_that_travel_hold_no_solution():
    from labkit.workbench.checking import all_exercises
    from labkit.workbench.marking import fresh_cases

    for exercise in all_exercises():
        if exercise.notebook.startswith(("00", "02")) and exercise.kind == "function":
            packed = pack(fresh_cases(exercise, 1))
            assert exercise.solution.__code__.co_code not in packed, exercise.id
            assert len(pickle.loads(packed)) == len(fresh_cases(exercise, 1))


def test_imports_are_found_and_those_of_exercises_are_not():
    sources = ["import torch.nn as nn, os", "from labkit import attention, exercises", "def f(:", "labkit.ngrams.mle()"]
    found = imports_of([*sources, "from labkit.exercises.ngrams import EXERCISES", "import antigravity"])
    assert found == ("labkit", "labkit.attention", "labkit.ngrams", "numpy", "torch.nn")


def test_the_warning_says_what_is_not_protected_and_what_to_do(monkeypatch):
    assert warning("bubblewrap") == ""
    for words in ("WITHOUT", "read the files", "network", "apt install bubblewrap"):
        assert words in warning("limited subprocess")
    monkeypatch.setattr(sandbox.bubblewrap, "works", lambda: "bubblewrap (the command bwrap) is not installed")
    monkeypatch.setattr(sandbox.sys, "platform", "linux")
    assert kind_of_sandbox() == "limited subprocess" and "not installed" in warning()
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    assert kind_of_sandbox() == "limited subprocess" and "Memory is NOT limited on macOS" in warning()
    monkeypatch.setattr(sandbox.sys, "platform", "win32")
    assert "NOT limited on Windows" in warning()


def test_bubblewrap_is_tried_and_not_only_looked_for(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda name: str(broken))
    assert "No permissions" in bubblewrap.works.__wrapped__()
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda name: None)
    assert "not installed" in bubblewrap.works.__wrapped__()


def test_solutions_beside_the_environment_are_hidden_too(monkeypatch, tmp_path):
    checkout, other = tmp_path / "src" / "llm-labkit", tmp_path / "lib" / "site-packages"
    for folder in (
        checkout / "labkit" / "exercises",
        checkout / ".git",
        checkout / "tests",
        other / "labkit/exercises",
    ):
        folder.mkdir(parents=True)
    (checkout / "pyproject.toml").write_text("")
    monkeypatch.setattr(bubblewrap, "HOME", checkout / "labkit")
    monkeypatch.setattr(bubblewrap.sys, "path", [str(other)])
    hidden = {str(place.relative_to(tmp_path)) for place in bubblewrap._hidden([tmp_path])}
    checkout_hidden = {f"src/llm-labkit/{name}" for name in (".git", "tests", "labkit/exercises")}
    assert hidden == checkout_hidden | {"lib/site-packages/labkit/exercises"}
    assert bubblewrap._hidden([checkout / "labkit"]) == [checkout / "labkit" / "exercises"]


GRADER = """
import sys
from labkit.workbench.grading.sandboxing.sandbox import Sandbox
box = Sandbox(kind=sys.argv[1]).warm()
box.run("def f(): return 1", "f", [()])
print(box._place.process.pid, getattr(box._place._folder, "name", "/proc/nowhere"), flush=True)
source = "import os, time\\ndef f():\\n    if os.fork() == 0: os.setsid()\\n    time.sleep(100)"
box.run(source, "f", [()], seconds=100)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are listed in /proc on Linux only")
def test_nothing_of_it_runs_after_the_grader_was_killed(box):
    with subprocess.Popen([sys.executable, "-c", GRADER, box.kind], stdout=subprocess.PIPE, text=True) as grader:
        first, folder = grader.stdout.readline().split()
        first = int(first)
        until = time.monotonic() + 30
        while len(family := [first, *zygote._offspring(first)]) < 3 and time.monotonic() < until:
            time.sleep(0.02)
        grader.kill()
    while (any(map(runs, family)) or os.path.exists(folder)) and time.monotonic() < until:
        time.sleep(0.02)
    assert len(family) >= 3 and not any(map(runs, family)) and not os.path.exists(folder)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are listed in /proc on Linux only")
def test_an_answer_that_kills_who_watches_it_ends_with_it():
    with Sandbox(kind="limited subprocess") as watched:
        if os.geteuid() == 0 and others_can_read():
            pytest.skip("it is another user, who cannot")
        source = "import os, time\nprint(os.getpid(), flush=True)\nos.kill(os.getppid(), 9)\ntime.sleep(100)"
        pid = int(watched.run(source, "f", [()], seconds=20).said)
    until = time.monotonic() + 10
    while runs(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not runs(pid)


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_kind_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="docker"):
        Sandbox(kind="docker")


def test_nothing_of_it_runs_after_it_was_closed():
    with Sandbox(kind="limited subprocess") as box:
        source = (
            "import os, time\ndef f():\n    if os.fork() == 0:\n        os.setsid()\n"
            "        while True: time.sleep(1)\n    return os.getpid(), os.listdir('/proc')"
        )
        if not sys.platform.startswith("linux"):
            pytest.skip("processes are listed in /proc on Linux only")
        pid, _ = values(box.run(source, "f", [()]))[0]
        leader = box._place.process.pid
    until = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{one}") for one in (pid, leader)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(os.path.exists(f"/proc/{one}") for one in (pid, leader))


DRAWN = """
import random
import numpy as np
def drawn():
    return list({"b", "a", "d", "c", "word"}), random.random(), float(np.random.rand())
"""


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_answer_draws_without_a_seed_is_the_same_in_every_run(kind):
    found = []
    for _ in range(2):
        with Sandbox(Limits(), ("numpy",), kind=kind) as started:
            found.append(values(started.run(DRAWN, "drawn", [()])))
    assert found[0] == found[1]
