"""What other systems lack, seen from labkit alone: modules that Windows has not, names that `os` and `signal` have not.

`python -m tests.platforms.elsewhere [packages ...]` imports every module of labkit so, then without the packages, and
prints what fails as a JSON object; `packages` are those that some module needs at once, and those imported when used.
"""

import ast
import json
import os
import signal
import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from tests.platforms import without

POSIX_MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog", "readline")
# What is missing on Windows (documented as "Availability: Unix" or "not Windows").
POSIX_NAMES = {
    "os": frozenset(
        "fork forkpty killpg getpgrp getpgid getsid setsid setpgid getuid geteuid getgid getegid setuid setgid "  # noqa: SIM905
        "setgroups nice sysconf sysconf_names statvfs uname mkfifo wait waitid wait3 wait4 WNOHANG WEXITED WNOWAIT "
        "P_PID WIFSIGNALED WTERMSIG sched_getaffinity sched_setaffinity pidfd_open chown lchown getloadavg O_NOFOLLOW "
        "O_DIRECTORY O_CLOEXEC O_NONBLOCK posix_fallocate posix_fadvise memfd_create sendfile pread pwrite".split()
    ),
    "signal": frozenset(
        "SIGKILL SIGHUP SIGALRM SIGUSR1 SIGUSR2 SIGCHLD SIGSTOP SIGCONT SIGXCPU setitimer alarm pthread_kill "  # noqa: SIM905
        "pthread_sigmask sigwait SIG_BLOCK SIG_UNBLOCK".split()
    ),
    "socket": frozenset(("AF_UNIX", "SOCK_SEQPACKET", "send_fds", "recv_fds")),
}
ASKED = ("hasattr", "getattr", "os.name", "sys.platform", "platform.system", "get_all_start_methods")


class _NoPosix:
    """Asked before all others: what labkit imports of a POSIX system is not there; others may have it."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name in POSIX_MODULES and _by_labkit():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _by_labkit() -> bool:
    frame = sys._getframe(2)
    while frame and frame.f_globals.get("__name__", "").startswith("importlib._bootstrap"):
        frame = frame.f_back
    return bool(frame) and frame.f_globals.get("__name__", "").startswith("labkit.")


def failures() -> dict[str, str]:
    """Give the modules of labkit that cannot be imported where what only POSIX systems have is missing."""
    names = without.everything_loaded()  # whatever the packages of others need of this system, they have it now
    kept = {name: sys.modules.pop(name, None) for name in POSIX_MODULES}
    sys.modules["msvcrt"] = types.ModuleType("msvcrt")
    sys.meta_path.insert(0, _NoPosix)
    modules = {"os": os, "signal": signal, "socket": socket}
    taken = {(m, n): modules[m].__dict__.pop(n) for m in modules for n in POSIX_NAMES[m] if hasattr(modules[m], n)}
    try:
        return without.refusals(names, ["no_such_package"])
    finally:
        for (module, name), value in taken.items():
            setattr(modules[module], name, value)
        sys.meta_path.remove(_NoPosix)
        sys.modules.update({name: module for name, module in kept.items() if module})


def unasked(path: Path) -> Iterator[str]:
    """Give the uses of POSIX names in a module that nowhere asks which system it is on, as `line: os.fork`."""
    source = path.read_text(encoding="utf-8")
    if not any(f"{module}." in source for module in POSIX_NAMES):
        return
    tree = ast.parse(source)
    lines = source.splitlines()
    for function in _outermost(tree):
        text = "\n".join(lines[function.lineno - 1 : function.end_lineno])
        if any(word in text for word in ASKED):
            continue
        for node in ast.walk(function):
            module = getattr(getattr(node, "value", None), "id", "") if isinstance(node, ast.Attribute) else ""
            if module and node.attr in POSIX_NAMES.get(module, ()):
                yield f"{node.lineno}: {node.value.id}.{node.attr}"


def _outermost(tree: ast.Module) -> Iterator[ast.stmt]:
    """Give the statements of a module; of a class, its methods."""
    for node in tree.body:
        yield from node.body if isinstance(node, ast.ClassDef) else [node]


if __name__ == "__main__":
    told = {"posix": failures(), "packages": [*map(sorted, without.imported(without.ROOT / "labkit"))]}
    print(json.dumps(told | without.cases(sys.argv[1:])))
