"""The processes of one run, from the first one's start to the last one's end."""

import contextlib
import itertools
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labkit.ranks.environment import Port, environment
from labkit.ranks.failures import Death, RankFailed, RanksTimeout, blame, ended
from labkit.ranks.forking import Forked, fork_rank
from labkit.ranks.leftovers import MARK, end_marked, new_mark
from labkit.ranks.output import Listener, Panes, plain, watched
from labkit.ranks.tracebacks import calls, readable_stack, told

__all__ = ["Run"]

BEGIN = (
    "import json, os, sys; sys.path[:] = json.loads(os.environ.pop('LABKIT_PATH')); "
    "from labkit.ranks.inside import main; main(sys.argv[1])"
)
GRACE = 0.5  # seconds after the first failure in which others may turn out to have failed before it
PAUSE = 0.02  # seconds between two looks at the ranks
PATIENCE = 2.0  # seconds in which a late rank may say where it stands


class Run:
    """n processes that run what is packed; `end` has to be called whatever happens, and leaves nothing behind."""

    def __init__(self, world: int, options: dict[str, Any], quiet: bool) -> None:
        self.world, self.options, self.quiet = world, options, quiet
        self.until = time.monotonic() + options["timeout"]
        self.port, self.mark = Port(), new_mark()
        self.folder = Path(tempfile.mkdtemp(prefix="ranks-"))
        self.processes: list[subprocess.Popen | Forked] = []
        self.listeners: list[Listener] = []
        self.returned: set[int] = set()
        self.panes: Panes | None = None
        self.ended = self.shown = False

    def start(self, packed: bytes, env: Mapping[str, Any]) -> None:
        """Start the ranks, each as the leader of a process group, with a pipe that ends when this process does."""
        self.panes = Panes() if watched() and not self.quiet else None
        (self.folder / "task").write_bytes(packed)
        (self.folder / "options").write_bytes(pickle.dumps(self.options))
        path = {"LABKIT_PATH": json.dumps([str(one) for one in sys.path])}
        forks = self.options["group"] and None not in env.values()
        command = [sys.executable, "-c", BEGIN, str(self.folder)]
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        if os.name == "nt":
            streams["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
        else:
            streams["start_new_session"] = True
        for rank in range(self.world):
            names = environment(rank, self.world, self.port.number, self.options["threads"], env)
            names[MARK] = self.mark
            forked = fork_rank(names, env, self.folder, rank) if forks else None
            self.processes.append(forked or subprocess.Popen(command, env=names | path, **streams))
            self.listeners.append(Listener(self.processes[-1].stdout))

    def results(self, pause: Callable[[], None]) -> list[Any]:
        """Wait until all ranks have returned, let them go, and give what they returned.

        `pause` is called between two looks: what it raises ends the wait.

        Raises:
            RankFailed: when one has ended otherwise.
            RanksTimeout: when they are not done in time.
        """
        __tracebackhide__ = True
        while len(self.returned) < self.world:
            if self._look():
                raise self._failure()
            if time.monotonic() > self.until:
                raise self._lateness()
            if self.panes is not None:
                self.panes.show([one.text for one in self.listeners], self._states())
            pause()
            time.sleep(PAUSE)
        self._tell(b".", range(self.world))
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
        self._close()
        return [self._result(rank) for rank in range(self.world)]

    def _look(self) -> list[Death]:
        """Note who has returned, and give the deaths there are."""
        deaths = []
        for rank in sorted(set(range(self.world)) - self.returned):
            code = self.processes[rank].poll()  # first: what a process has left is complete once it has ended
            path = self.folder / f"outcome-{rank}"
            if path.exists():
                with path.open("rb") as file:
                    if pickle.load(file) == "returned":
                        self.returned.add(rank)
                    else:
                        deaths.append(Death(rank, **pickle.load(file)))
            elif code is not None:
                deaths.append(self._death(rank, code))
        return deaths

    def _death(self, rank: int, code: int) -> Death:
        """What is to be said of a rank that ended without a word of its own."""
        if code:
            self.listeners[rank].join(timeout=0.2)
        kind, message = ended(code, self.listeners[rank].text)
        raw = self._raw(rank)
        stack = f"It was here:\n{readable_stack(raw)}" if "Fatal" in raw and readable_stack(raw) else ""
        return Death(rank, kind, message, time.time(), stack, code)

    def _raw(self, rank: int) -> str:
        """What faulthandler has written for a rank."""
        path = self.folder / f"stacks-{rank}"
        return path.read_text(errors="replace") if path.exists() else ""

    def _failure(self) -> RankFailed:
        """The error that says who is to blame, after a moment in which others may say that they were first."""
        until = time.monotonic() + GRACE
        while len(deaths := self._look()) + len(self.returned) < self.world and time.monotonic() < until:
            time.sleep(PAUSE)
        return RankFailed(blame(deaths), self.world, self._close())

    def _lateness(self) -> RanksTimeout:
        """The error that says where each rank stands now."""
        late = sorted(set(range(self.world)) - self.returned)
        ready = [rank for rank in late if (self.folder / f"stacks-{rank}").exists()]
        if hasattr(signal, "SIGUSR1"):
            for rank in ready:
                self.processes[rank].send_signal(signal.SIGUSR1)
        else:
            self._tell(b"?", ready)
        self._let_answer(ready)
        stacks, waits = dict.fromkeys(range(self.world), "had returned"), {}
        for rank in late:
            stack = readable_stack(raw := self._raw(rank))
            mute = not raw and rank in ready and self.processes[rank].poll() is None
            nothing = "did not answer: it is stopped" if mute else "had not begun the function"
            stacks[rank] = f"was here:\n{stack}" if stack else nothing
            waits[rank] = calls(raw)
        return RanksTimeout(self.options["timeout"], stacks, waits, self._close())

    def _let_answer(self, ready: list[int]) -> None:
        """Wait until all have written their stacks, a few seconds at most: a stopped process never will."""
        until, before = time.monotonic() + PATIENCE, None
        while time.monotonic() < until:
            time.sleep(0.1)
            sizes = [len(self._raw(rank)) for rank in ready if self.processes[rank].poll() is None]
            if sizes == before and all(sizes):
                return
            before = sizes

    def _result(self, rank: int) -> Any:
        try:
            with (self.folder / f"outcome-{rank}").open("rb") as file:
                pickle.load(file)
                return pickle.load(file)
        except Exception as error:
            message, trace = told(error)
            message = f"returned something that cannot be read here: it {message}"
            texts = [one.text for one in self.listeners]
            raise RankFailed([Death(rank, type(error).__name__, message, 0.0, trace)], self.world, texts) from error

    def _states(self) -> list[str]:
        return ["has returned" if rank in self.returned else "runs" for rank in range(self.world)]

    def _tell(self, word: bytes, to: Any) -> None:
        for rank in to:
            with contextlib.suppress(OSError):
                self.processes[rank].stdin.write(word)
                self.processes[rank].stdin.flush()

    def _close(self) -> list[str]:
        """End all processes, and show and give what they have printed."""
        self._kill()
        for one in self.listeners:
            one.join(timeout=2)
        texts = [one.text for one in self.listeners]
        if self.panes is not None:
            self.panes.show(texts, [s.replace("runs", "has ended") for s in self._states()], last=True)
        elif not self.quiet and not self.shown and (text := plain(texts)):
            print(text, flush=True)
        self.shown = True
        return texts

    def _kill(self) -> None:
        """End every rank with all that it has started."""
        if self.ended:
            return
        for process in self.processes:
            if hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError, PermissionError):  # one just forked leads no group yet
                process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        if self.processes:
            end_marked(self.mark)
        for process in self.processes:
            process.wait()
        self.ended = True

    def end(self) -> None:
        """Leave nothing behind: no process, no port, no file."""
        self._kill()
        for process, listener in itertools.zip_longest(self.processes, self.listeners):
            with contextlib.suppress(OSError):
                process.stdin.close()
            if listener is not None:
                listener.join(timeout=2)
            if listener is None or not listener.is_alive():  # a process that left its group may still hold the stream
                process.stdout.close()
        self.port.close()
        shutil.rmtree(self.folder, ignore_errors=True)
