"""Kernels forked from a process that has everything imported: quick to start, and else like any fresh one."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from labkit.workbench import engine, forking, notebooks, runner, watching
from tests.workbench.notebook_files import write

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere every kernel is fresh")
ROOT = Path(__file__).parents[2]
# What a page could tell of its kernel; the folder of the sockets and the parent are masked below. What it does at exit
# is done when that function returns: a file that is left open may stay empty. On a busy machine ipykernel sometimes
# waits for its own threads afterwards (2 in 100 ends beside four busy processes), and is killed.
STATE = """\
import atexit, faulthandler, gc, json, os, pathlib, resource, signal, sys, threading
faulthandler.enable()
signals = {number.name: str(signal.getsignal(number)).split(" at ")[0] for number in signal.valid_signals()
           if isinstance(number, signal.Signals)}
own = dict(environment=dict(os.environ), cwd=os.getcwd(), path=sys.path, argv=sys.argv, original=sys.orig_argv,
           main=(__name__, sorted(vars(sys.modules["__main__"]))[:5]), threads=[t.name for t in threading.enumerate()],
           session=os.getsid(0) == os.getpgid(0) == os.getpid(), stdin=os.read(0, 1).decode(), signals=signals,
           umask=os.umask(0o22), files=sorted(n for n in map(int, os.listdir("/proc/self/fd")) if n < 3),
           streams=[os.readlink(f"/proc/self/fd/{n}") for n in (1, 2)], flags=str(sys.flags),
           limits=resource.getrlimit(resource.RLIMIT_CORE), encoding=sys.stdout.encoding, frozen=gc.isenabled())
print(json.dumps(own))
atexit.register(pathlib.Path("ended").write_text, "yes")
try:
    input("name? ")
except Exception as error:
    print(type(error).__name__)"""
CHANCE = "import random, numpy, uuid\nprint(random.random(), numpy.random.random(), uuid.uuid4().int, sep='\\n')"


def texts(run):
    """The printed text of each code cell of an executed copy."""
    cells = notebooks.code_cells(notebooks.read(run.executed))
    return ["".join(output.get("text", "") for output in cell["outputs"]) for cell in cells]


def masked(text):
    text = re.sub(r"labkit-\w+", "labkit-", text)
    return re.sub(r'"(JPY_PARENT_PID|PYTEST_CURRENT_TEST)": "[^"]*"', "", text)


def family():
    """The kernels and their parents that run for this process."""
    children = psutil.Process().children(recursive=True)
    return [one for one in children if one.status() != "zombie" and re.search("ipykernel|forking_parent", line(one))]


def line(process):
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = {one.pid for one in family()}
    yield
    assert [one for one in family() if one.pid not in before] == []


@pytest.fixture(autouse=True)
def forked(monkeypatch):
    monkeypatch.delenv(forking.FRESH, raising=False)


def test_a_page_can_tell_a_forked_kernel_from_a_fresh_one_only_by_its_parent(tmp_path, capfd):
    path = write(tmp_path / "a.ipynb", STATE)
    (forked,) = runner.run([path], out=tmp_path / "forked")
    assert (tmp_path / "ended").read_text() == "yes"
    (tmp_path / "ended").unlink()
    (fresh,) = runner.run([path], out=tmp_path / "fresh", fresh=True)
    assert (tmp_path / "ended").read_text() == "yes"
    assert (forked.failure, fresh.failure) == (None, None)
    first, second = (masked(texts(run)[1]).splitlines() for run in (forked, fresh))
    assert json.loads(re.sub(", ,", ",", first[0])) == json.loads(re.sub(", ,", ",", second[0]))
    assert first[1:] == second[1:] == ["StdinNotImplementedError"]


def test_forked_kernels_have_a_parent_in_common_and_chances_of_their_own(tmp_path):
    ask = "import os, sys\nprint(os.getppid(), os.getpid(), 'tor' 'ch' in sys.modules)"
    paths = [write(tmp_path / f"{name}.ipynb", ask, CHANCE, "import labkit") for name in "abc"]
    runs = runner.run(paths, out=tmp_path / "out", jobs=2)
    asked = [texts(run)[1].split() for run in runs]
    assert len({parent for parent, *_ in asked} - {str(os.getpid())}) == 1
    assert len({kernel for _, kernel, _ in asked}) == 3
    assert {torch for *_, torch in asked} == {"False"}
    for drawn in zip(*(texts(run)[2].splitlines() for run in runs), strict=True):
        assert len({*drawn}) == 3


def test_only_pages_whose_code_says_so_get_labkit_and_torch(tmp_path):
    plain, course, deep = (
        forking.imports(write(tmp_path / f"{number}.ipynb", source))
        for number, source in enumerate(["1 + 1", "import labkit", "import labkit\nimport torch.nn"])
    )
    assert not any(name.startswith(("labkit", "numpy", "torch")) for name in plain)
    assert "labkit.workbench.session" in course and "torch" not in course
    assert {*plain} < {*course} < {*deep} and "torch" in deep
    (tmp_path / "3.ipynb").write_text("no notebook")
    assert forking.imports(tmp_path / "3.ipynb") == plain


def test_seconds_are_told_for_the_start_and_for_each_cell(tmp_path):
    slow = write(tmp_path / "a.ipynb", "import time\ntime.sleep(0.5)", "1 / 0", "never = 1")
    (run,) = runner.run([slow], out=tmp_path / "out", parameters={"seed": 4})
    assert [name for name, _ in run.cells] == ["parameters", "injected-parameters", "cell-1", "cell-2"]
    assert dict(run.cells)["cell-1"] >= 0.5
    assert 0 < run.startup < run.startup + sum(seconds for _, seconds in run.cells) <= run.seconds
    kept = json.loads((tmp_path / "out" / "results.json").read_text())[0]
    assert [tuple(cell) for cell in kept["cells"]] == list(run.cells) and kept["startup"] == run.startup


KILLS = """\
import os, pathlib, signal, time
try:
    pathlib.Path("killed").touch(exist_ok=False)
except FileExistsError:
    print("again")
else:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)"""


def test_when_the_parent_is_killed_its_pages_run_again_on_fresh_kernels_and_that_is_said_once(tmp_path, capsys):
    paths = [write(tmp_path / f"{name}.ipynb", KILLS, "import os\nprint(os.getppid())") for name in "abc"]
    runs = runner.run(paths, out=tmp_path / "out", jobs=2)
    assert [run.failure for run in runs] == [None] * 3
    assert {texts(run)[1] for run in runs} == {"again\n"}
    *both, later = (int(texts(run)[2]) for run in runs)
    assert later == os.getpid() and os.getpid() in both
    assert {*both} <= {1, os.getpid()}  # the other one may have ended before its kernel noticed: it is whole
    assert [len(run.cells) for run in runs] == [3, 3, 3]
    assert capsys.readouterr().err.count("The process that forks kernels has ended") == 1


@pytest.mark.parametrize("broken", ["raise SystemExit(3)", "import time; time.sleep(600)"])
def test_a_parent_that_does_not_answer_means_a_fresh_kernel(tmp_path, monkeypatch, capsys, broken):
    script = tmp_path / "forking_parent.py"
    script.write_text(broken)
    monkeypatch.setattr(forking.forking_parent, "__file__", str(script))
    monkeypatch.setattr(forking, "PATIENCE", 0.5)
    (run,) = runner.run([write(tmp_path / "a.ipynb", "import os\nprint(os.getppid())")], out=tmp_path / "out")
    assert texts(run)[1] == f"{os.getpid()}\n"
    assert capsys.readouterr().err.count("every notebook starts a kernel of its own") == 1


def test_kernels_share_what_matplotlib_made_where_its_folder_cannot_be_written_and_the_parent_removes_it(
    tmp_path, monkeypatch, capfd
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "a file").touch()
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "a file"))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(forking, "COURSE", ("matplotlib",))
    ask = "import labkit, os\nprint(os.environ['MPLCONFIGDIR'], os.path.isdir(os.environ['MPLCONFIGDIR']))"
    runs = runner.run([write(tmp_path / f"{name}.ipynb", ask) for name in "ab"], out=tmp_path / "out")
    (told,) = {texts(run)[1] for run in runs}
    assert told.startswith(str(temporary / "matplotlib-")) and told.endswith(" True\n")
    assert [path.name for path in temporary.glob("matplotlib-*")] == []
    assert "Traceback" not in capfd.readouterr().err


def test_a_folder_whose_name_is_no_text_is_understood(tmp_path, monkeypatch, capfd):
    temporary = tmp_path / os.fsdecode(b"\xe8")
    temporary.mkdir()
    monkeypatch.setattr(engine.tempfile, "tempdir", str(temporary))
    (run,) = runner.run([write(tmp_path / "a.ipynb", "import os\nprint(os.getppid())")], out=tmp_path / "out")
    assert int(texts(run)[1]) != os.getpid()
    assert capfd.readouterr().err.count("ended") == 0


def test_ipython_is_given_a_folder_only_where_its_own_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.delenv("IPYTHONDIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert engine.ipython_folder(tmp_path) == {}
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    assert engine.ipython_folder(tmp_path) == {"IPYTHONDIR": str(tmp_path / "ipython")}
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    assert engine.ipython_folder(tmp_path / "place") == {}


def test_a_fork_that_fails_means_a_fresh_kernel_and_leaves_the_others_alone(tmp_path, monkeypatch, capfd):
    refuse = "def refuse():\n    raise BlockingIOError(11, 'no more processes')\n"
    once = f"import os\n{refuse}real = os.fork\ndef fork():\n    os.fork = refuse\n    return real()\nos.fork = fork\n"
    script = tmp_path / "forking_parent.py"
    script.write_text(f"{once}import runpy\nrunpy.run_path({forking.forking_parent.__file__!r}, run_name='__main__')")
    monkeypatch.setattr(forking.forking_parent, "__file__", str(script))
    ask = "import os, pathlib\nopen('begun', 'a').write('x')\nprint(os.getppid())"
    waits = f"{ask}\nwhile len(pathlib.Path('begun').read_text()) < 2: pass"
    runs = runner.run([write(tmp_path / f"{name}.ipynb", waits) for name in "ab"], out=tmp_path / "out", jobs=2)
    parents = [int(texts(run)[1]) for run in runs]
    assert [run.failure for run in runs] == [None] * 2
    assert parents.count(os.getpid()) == 1
    assert (tmp_path / "begun").read_text() == "xx"
    assert "Traceback" not in capfd.readouterr().err


def test_another_interpreter_and_another_early_environment_are_never_forked(tmp_path):
    parents = forking.Parents({"OMP_NUM_THREADS": "1"})
    command = [sys.executable, *forking.LAUNCHER, "-f", "x"]
    same = {"env": {"OMP_NUM_THREADS": "1"}, "cwd": tmp_path}
    assert parents.fork((), ["python9", *command[1:]], tmp_path, **same) is None
    assert parents.fork((), [sys.executable, "-m", "xeus"], tmp_path, **same) is None
    assert parents.fork((), command, tmp_path, **{**same, "env": {"OMP_NUM_THREADS": "2"}}) is None
    assert parents._parents == {}


def test_fresh_kernels_are_asked_for_by_the_environment_and_taken_outside_of_linux(tmp_path, monkeypatch):
    assert forking.wanted()
    monkeypatch.setenv(forking.FRESH, "1")
    assert not forking.wanted()
    ask = "import os\nprint(os.getppid(), os.environ['JPY_PARENT_PID'])"
    (run,) = runner.run([write(tmp_path / "a.ipynb", ask)], out=tmp_path / "out")
    assert texts(run)[1].split() == [str(os.getpid())] * 2
    monkeypatch.delenv(forking.FRESH)
    monkeypatch.setattr(sys, "platform", "darwin")
    with forking.parents([tmp_path / "a.ipynb"]) as parents:
        assert parents is None


def test_a_fresh_kernel_that_dies_is_told_as_exactly(tmp_path):
    killed = write(tmp_path / "a.ipynb", "import os\nos.kill(os.getpid(), 9)")
    ended = write(tmp_path / "b.ipynb", "import os\nos._exit(7)")
    first, second = runner.run([killed, ended], out=tmp_path / "out", fresh=True)
    assert "killed by SIGKILL" in first.failure.sentence
    assert "exit code 7" in second.failure.sentence


RUN = "import sys\nfrom labkit.workbench import runner\nrunner.run(sys.argv[1:], out='out')"


def test_a_runner_that_is_killed_leaves_no_kernel_and_no_parent(tmp_path):
    path = write(tmp_path / "a.ipynb", "open('started', 'w').close()\nwhile True: pass")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", RUN, path], cwd=tmp_path, env=environment) as process:
        while not (tmp_path / "started").exists():
            assert process.poll() is None
            time.sleep(0.05)
        left = psutil.Process(process.pid).children(recursive=True)
        assert any("forking_parent" in line(one) for one in left)  # now: it soon ends with the runner
        process.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(left, timeout=30)[1] == []


def test_the_modules_of_this_folder_never_stand_for_others(tmp_path):
    paths = [write(tmp_path / "a.ipynb", "import importlib.util\nprint(importlib.util.find_spec('sanitising'))")]
    (run,) = runner.run(paths, out=tmp_path / "out")
    assert texts(run)[1] == "None\n"


def test_the_processes_of_a_page_are_found_with_and_without_the_help_of_linux(monkeypatch):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.read(1)
        asked = watching.descendants(psutil.Process(process.pid))
        monkeypatch.setattr(watching, "ASKABLE", False)
        assert watching.descendants(psutil.Process(process.pid)) == asked
        assert len(asked) == 1
        assert process.pid in watching.descendants(psutil.Process())


def test_an_executed_copy_is_written_now_and_then_and_after_the_last_cell_as_ever(monkeypatch):
    clock, saved = [10.0], []
    monkeypatch.setattr(engine.time, "perf_counter", lambda: clock[0])

    class Manager:
        def save(self):
            clock[0] += 0.1
            saved.append(clock[0])

    manager = Manager()
    with pytest.raises(ZeroDivisionError), engine.saving_now_and_then(manager):
        for later in (0, 0, 4.9, 0.2, 0):
            clock[0] += later
            manager.save()
        assert saved == pytest.approx([10.1, 15.3])
        raise ZeroDivisionError
    manager.save()
    assert len(saved) == 3
