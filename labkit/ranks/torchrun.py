"""The same function under torchrun: a script with its source, the command for each machine, and both tried out here."""

import ast
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.ranks.environment import Port, environment
from labkit.ranks.interrupts import held
from labkit.ranks.leftovers import MARK, end_marked, new_mark
from labkit.ranks.mismatches import explained, follows
from labkit.ranks.output import Listener
from labkit.ranks.sources import Script, literal

__all__ = ["run_torchrun", "torchrun_command", "torchrun_script"]

GRACE = 5.0  # seconds in which the other nodes may say that they failed first
# A node is told to stop, and tells its ranks, when the process that started it is gone (Linux).
START = """
import ctypes, os, sys
if sys.platform.startswith("linux"):
    ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.executable, [sys.executable, "-m", "torch.distributed.run", *sys.argv[2:]])
"""
END = """
if __name__ == "__main__":
    with start_group():
        print(f"[rank {{rank()}}] returned {{{call}!r}}", flush=True)
"""


def torchrun_script(fn: Callable[..., Any], path: str | Path, *args: Any, **kwargs: Any) -> Path:
    """Write a script in which every rank calls `fn(*args, **kwargs)` and prints what it returns; gives its path.

    The script holds the source of `fn` and of the functions and classes that it uses from the notebook, and imports
    the rest.

    Raises:
        ValueError: if something cannot be written as source: a lambda, a closure, an array.
    """
    script = Script("rank", "start_group")
    name = script.add(fn)
    given = [literal(f"argument {number}", one) for number, one in enumerate(args, 1)]
    given += [f"{key}={literal(f'argument {key!r}', one)}" for key, one in kwargs.items()]
    text = script.text() + END.format(call=f"{name}({', '.join(given)})")
    ast.parse(text)
    path = Path(path)
    path.write_text(text, encoding="utf-8")
    return path


def torchrun_command(
    script: str | Path, nodes: int = 2, per_node: int = 1, master: str = "node-0", port: int = 29500
) -> list[str]:
    """The command to give on each machine, in the order of the machines; `master` is the name of the first."""
    if nodes < 1 or per_node < 1:
        raise ValueError(f"{nodes} machines with {per_node} processes each: both must be at least 1")
    where = f"--master-addr={master} --master-port={port}"
    return [
        f"torchrun --nnodes={nodes} --node-rank={node} --nproc-per-node={per_node} {where} {shlex.quote(str(script))}"
        for node in range(nodes)
    ]


def run_torchrun(script: str | Path, nodes: int = 2, per_node: int = 1, timeout: float | int = 60.0) -> list[str]:
    """Run the commands of `torchrun_command` on this machine, a node each, and give what each node printed.

    Raises:
        ValueError: if there is no such script.
        RuntimeError: if a node ends with an error; the end of what it printed is in the message.
        TimeoutError: if nodes are not done in time. All are ended.
    """
    if not Path(script).is_file():
        raise ValueError(f"there is no script {script}; write one with torchrun_script(fn, path)")
    port, began, started = Port(), time.monotonic(), []
    names = environment(0, 1, port.number, 1, {})
    names = {key: one for key, one in names.items() if key not in _TORCHRUNS}
    names |= {
        MARK: (mark := new_mark()),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONUNBUFFERED": "1",
    }
    with held() as interrupts:
        try:
            for line in torchrun_command(Path(script).resolve(), nodes, per_node, "127.0.0.1", port.number):
                command = [sys.executable, "-c", START, str(os.getpid()), *shlex.split(line)[1:]]
                process = subprocess.Popen(
                    command,
                    env=names,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                started.append((process, Listener(process.stdout)))
            _wait(started, began + timeout, timeout, interrupts)
        finally:
            _end([process for process, _ in started])
            end_marked(mark)
            for process, listener in started:
                listener.join(timeout=2)
                if not listener.is_alive():
                    process.stdout.close()
            port.close()
    _complain([(process.returncode, listener.text) for process, listener in started])
    return [_of_the_script(listener.text) for _, listener in started]


def _of_the_script(text: str) -> str:
    """What the ranks printed, without torchrun's log: a node that ends first makes the other one complain."""
    return "".join(line for line in text.splitlines(keepends=True) if not _LOG_LINE.match(line))


def _complain(ended: list[tuple[int, str]]) -> None:
    """Raise what the first node to blame has said; torchrun itself often blames one that only lost its connection."""
    failed = [(follows(explained(text, "")), node) for node, (code, text) in enumerate(ended) if code]
    if failed:
        node = min(failed)[1]
        code, text = ended[node]
        errors = [line for line in text.splitlines() if line.startswith("[rank")]
        raise RuntimeError(f"node {node} ended with exit code {code}:\n" + ("\n".join(errors) or text)[-3000:])


_LOG_LINE = re.compile(r"[DIWEF]\d{4} \d\d:\d\d:\d\d\.\d+ \d+ ")
_TORCHRUNS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "LABKIT_RANK")


def _wait(
    started: list[tuple[subprocess.Popen, Listener]], until: float, timeout: float | int, pause: Callable[[], None]
) -> None:
    """Until all nodes have ended, or a while after one has with an error."""
    failed = None
    while any(process.poll() is None for process, _ in started):
        now = time.monotonic()
        if failed is None and any(process.poll() for process, _ in started):
            failed = now
        if failed is not None and now > failed + GRACE:
            return
        if now > until:
            raise TimeoutError(f"{len(started)} nodes were not done within {timeout:g} seconds and were ended")
        pause()
        time.sleep(0.05)


def _end(nodes: list[subprocess.Popen]) -> None:
    """End the nodes: told to stop, torchrun ends its ranks; stubborn ones are ended where /proc lists them."""
    left = [process for process in nodes if process.poll() is None]
    ranks = [pid for process in left for pid in _children(process.pid)]
    for process in left:
        process.send_signal(signal.SIGTERM)
    for process in left:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
            continue
        for pid in ranks:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="latin-1").split()]
    return []
