"""Where an answer runs: in a child of a process that stays (Linux), or in a process of its own (everywhere)."""

import contextlib
import json
import os
import pickle
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from labkit.workbench.grading.sandboxing import bubblewrap

__all__ = ["Alone", "Exchange", "Lost", "Stable", "others_can_read"]

PATIENCE = 60.0  # seconds for starting and importing on a busy machine; an answer has its own time
GOODBYE = 5.0  # seconds for ending what has been told to end
START = """\
import sys
sys.path.append({root!r})
from labkit.workbench.grading.sandboxing.{module} import {name}
{name}({number})"""


class Lost(Exception):
    """The process that should run an answer is gone, or does not speak."""


class Exchange:
    """One task on its way: frames come from `frames`, what the program prints from `printed`."""

    def __init__(self, frames: Any, printed: Any, place: Any) -> None:
        self.frames, self.printed, self._place = frames, printed, place

    def end(self, patience: float = 0.0) -> tuple[int | None, str]:
        """Kill what still runs of it after so many seconds.

        Gives its exit code, below 0 for a signal, and why it was killed: "memory", "told", or "" if it was not.
        """
        return self._place.end(patience)

    def close(self) -> None:
        """Let go of both streams, so that whoever reads them comes to an end."""
        self._place.release()


def _program(module: str, name: str, number: Any = "") -> list[str]:
    root = str(bubblewrap.HOME.parent)
    # isolated (-I), but for the one variable that fixes the order of sets
    return [sys.executable, "-P", "-s", "-B", "-c", START.format(root=root, module=module, name=name, number=number)]


def _environment() -> dict[str, str]:
    """Almost nothing of ours: no tokens, no addresses."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "TMPDIR", "TEMP", "TMP") if name in os.environ}
    return kept | bubblewrap.ENVIRONMENT | {"PATH": os.environ.get("PATH", "")}


def _new_folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="labkit-grade-", ignore_cleanup_errors=True)


def _kill(process: subprocess.Popen) -> None:
    """Kill a process and its group, where there are groups.

    A bubblewrap that is killed while it starts leaves a child that waits for it for ever: it is still in the group.
    """
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)
    process.kill()
    process.wait()


class Stable:
    """A process that has imported what answers need, in bubblewrap or not, and forks a child for each task."""

    def __init__(self, limits: dict, imports: tuple[str, ...], boxed: bool) -> None:
        self._folder = None if boxed else _new_folder()
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        drop = hasattr(os, "geteuid") and os.geteuid() == 0 and (boxed or others_can_read())
        if self._folder and drop:
            os.chmod(self._folder.name, 0o711)
        with theirs:
            program = _program("zygote", "serve", theirs.fileno())
            self.process = subprocess.Popen(
                bubblewrap.command(program, limits["file_bytes"]) if boxed else program,
                env=_environment(),
                cwd="/" if boxed else self._folder.name,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        self._ready, self._streams, self._running, self.spent = False, (), False, False
        self._own, self._drop = None, drop
        try:
            self._tell({"imports": list(imports), "limits": limits, "drop": drop})
        except Lost:
            self.close()
            raise

    def _tell(self, words: Any, ends: tuple = ()) -> None:
        try:
            socket.send_fds(self.line, [json.dumps(words).encode()], [end.fileno() for end in ends])
        except OSError as error:
            raise Lost(self._last_words()) from error

    def _hear(self, patience: float) -> dict:
        self.line.settimeout(patience)
        try:
            said = self.line.recv(65536)
        except OSError as error:
            raise Lost("the sandbox does not answer") from error
        if not said:
            raise Lost(self._last_words())
        return json.loads(said)

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
            said = self.process.communicate(timeout=1)[1].decode(errors="replace").strip()
            return f"the sandbox has ended: {said.splitlines()[-1][:200] if said else self.process.returncode}"
        return "the sandbox has ended"

    def begin(self, task: dict) -> Exchange:
        """Start a task.

        Raises:
            Lost: if there is nobody to do it.
        """
        if not self._ready:
            self._hear(PATIENCE)
            self._ready = True
        channel, theirs = socket.socketpair()
        printed, ink = socket.socketpair()
        self._streams = (channel, printed)
        with theirs, ink:
            self._tell({"seconds": task["seconds"]}, (theirs, ink))
        self._running = True
        channel.settimeout(PATIENCE)
        with contextlib.suppress(OSError):  # it ended at once: then there are no frames
            channel.sendall(pickle.dumps(task | {"place": self._place()}))
        channel.settimeout(None)
        return Exchange(channel.makefile("rb"), printed.makefile("rb", buffering=0), self)

    def _place(self) -> str:
        """Where a task may write: in bubblewrap in /tmp, which is emptied, else in a folder that no other task sees."""
        if self._folder is None:
            return "/tmp"
        self._own = tempfile.TemporaryDirectory(dir=self._folder.name, ignore_cleanup_errors=True)
        if self._drop:
            os.chmod(self._own.name, 0o777)
        return self._own.name

    def end(self, patience: float) -> tuple[int | None, str]:
        """Kill what runs of the task after so many seconds, if it has not ended.

        Raises:
            Lost: if it cannot be: then close this.
        """
        if not self._running:
            return None, ""
        self._running = False
        with contextlib.suppress(ValueError, OSError):  # closed meanwhile by another thread
            select.select([self.line], [], [], patience)
        self._tell("stop")
        said = self._hear(GOODBYE)
        if "failed" in said:
            raise Lost(f"the sandbox cannot start another process: {said['failed']}")
        self.spent = said.get("spent", False)  # it has files in it that an answer has left
        return said.get("ended"), said.get("why", "")

    def release(self) -> None:
        """Shut both streams of the task."""
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
            stream.close()
        self._streams = ()
        if self._own:
            self._own.cleanup()

    def close(self) -> None:
        """End it and everything in it."""
        self.line.close()  # without bubblewrap, it kills its children before it ends
        until = time.monotonic() + (GOODBYE if self._folder else 0)
        while self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        _kill(self.process)
        self.process.stderr.close()
        self.release()
        if self._folder:
            self._folder.cleanup()


def others_can_read() -> bool:
    """Whether a user without rights could run this interpreter and read labkit."""
    places = (Path(sys.executable).resolve(), Path(sys.prefix), bubblewrap.HOME / "__init__.py")
    return all((folder.stat().st_mode & 0o5) >= 4 + folder.is_dir() for at in places for folder in (at, *at.parents))


class Alone:
    """A process of its own for each task: slower, and all there is without Linux."""

    def __init__(self, limits: dict, imports: tuple[str, ...]) -> None:
        self.limits, self.process, self._folder, self.spent = limits, None, None, False

    def begin(self, task: dict) -> Exchange:
        """Start a task.

        Raises:
            Lost: if the interpreter does not start.
        """
        self._folder = _new_folder()
        try:
            self.process = subprocess.Popen(
                _program("inside", "be_alone"),
                env=_environment() | {"HOME": self._folder.name},
                cwd=self._folder.name,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise Lost(str(error)) from error
        limits = self.limits | {"seconds": task["seconds"]}
        with contextlib.suppress(OSError), self.process.stdin as pipe:
            pipe.write(pickle.dumps(task | {"limits": limits}))
        return Exchange(self.process.stdout, self.process.stderr, self)

    def end(self, patience: float = 0.0) -> tuple[int | None, str]:
        """Kill it, and its group where there are groups."""
        if self.process is None:
            return None, ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        code = self.process.poll()
        _kill(self.process)
        return code, "told" if code is None else ""

    def release(self) -> None:
        """Forget the task."""
        if self._folder:
            self._folder.cleanup()

    def close(self) -> None:
        """End it."""
        self.end()
        self.release()
