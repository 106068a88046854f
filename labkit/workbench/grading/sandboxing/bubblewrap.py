"""The command that starts a process in bubblewrap: what it may see of this machine is listed here, and nothing else is.

Readable: the interpreter, its virtual environment, the system's libraries, labkit without its exercises. There is no
network, no home, no environment; `/tmp` is small and its own; nothing but it can be written to.
"""

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

__all__ = ["HOME", "command", "works"]

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store", "/gnu/store")
SETTINGS = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime")
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "USER": "student",
    "LOGNAME": "student",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # sets in the same order in every run
    "OMP_NUM_THREADS": "1",  # two submissions are graded at a time, and threads count as processes
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
}
HOME = Path(__file__).resolve().parents[3]  # labkit itself
CHECKOUT = (".git", "tests", "notebooks", "docs", "build", "dist")  # what a checkout holds that labkit runs without
SCRATCH = 64_000_000  # bytes that fit into /tmp and /dev/shm


def command(program: list[str], file_bytes: int = SCRATCH) -> list[str]:
    """Give the command that runs this program inside; sockets that the caller passes on stay open."""
    size = str(max(file_bytes, SCRATCH))
    shut = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if os.geteuid() == 0:  # root becomes another user inside, since no limit on processes binds root
        needed = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL")
        rights = ["--cap-drop", "ALL", *(part for one in needed for part in ("--cap-add", one))]
    else:
        rights = ["--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
    scratch = [part for at in ("/tmp", "/dev/shm") for part in ("--perms", "1777", "--size", size, "--tmpfs", at)]
    return [
        *(shutil.which("bwrap") or "bwrap", *shut, *rights, "--die-with-parent", "--new-session", "--as-pid-1"),
        *("--hostname", "sandbox", "--clearenv"),
        *(part for name, value in ENVIRONMENT.items() for part in ("--setenv", name, value)),
        *("--proc", "/proc", "--dev", "/dev", *scratch),
        *_readable(),  # after /tmp, since the checkout may lie in it
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--", *program),
    ]


def _readable() -> list[str]:
    parts: list[str] = []
    for place in SYSTEM:
        if os.path.islink(place):
            parts += ["--symlink", os.readlink(place), place]
        elif os.path.isdir(place):
            parts += ["--ro-bind", place, place]
    for place in SETTINGS:
        parts += ["--ro-bind-try", place, place]
    made: set[Path] = {Path("/")}
    bound = [Path(place) for place in SYSTEM if os.path.isdir(place)]
    for place in sorted({*_interpreter(), HOME}):  # a folder comes before what lies in it
        if not any(place.is_relative_to(top) for top in SYSTEM):
            for folder in [one for one in reversed(place.parents) if one not in made]:
                made.add(folder)
                parts += ["--perms", "0755", "--dir", str(folder)]
            parts += ["--ro-bind", str(place), str(place)]
            made.add(place)
            bound.append(place)
    for place in _hidden(bound):
        parts += ["--perms", "0755", "--tmpfs", str(place), "--remount-ro", str(place)]
    return parts


def _hidden(readable: list[Path]) -> list[Path]:
    """Folders with solutions among the readable ones: the exercises, those of another labkit, those of a checkout."""
    libraries = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    libraries |= {Path(one) for one in sys.path if one.endswith("-packages")}
    places = {HOME / "exercises", *(one / HOME.name / "exercises" for one in libraries)}
    if (HOME.parent / "pyproject.toml").exists():  # the checkout may lie within the environment that can be read
        places |= {HOME.parent / name for name in CHECKOUT}
    return sorted(at for at in places if at.is_dir() and any(at.is_relative_to(one) for one in readable))


def _interpreter() -> set[Path]:
    """The folders that this interpreter lives in: the environment, what it was made from, and where links lead."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, sysconfig.get_path("stdlib")}
    folders |= {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    found = {Path(one) for one in folders if one} | {Path(one).resolve() for one in folders if one}
    found = {one for one in found if one.is_dir() and len(one.parts) > 1}
    return {one for one in found if not any(one != other and one.is_relative_to(other) for other in found)}


@functools.cache
def works() -> str:
    """Try it once: "" if a process in it runs, sees no exercises and has no network; else why it does not."""
    if shutil.which("bwrap") is None:
        return "bubblewrap (the command bwrap) is not installed"
    program = [sys.executable, "-I", "-B", "-S", "-c", PROBE]
    try:
        done = subprocess.run(command(program), capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not start: {error}"
    if done.returncode == 0 and done.stdout.split() == ["1", "lo"]:
        return ""
    words = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
    return f"bubblewrap does not work here: {words[:200]}"


PROBE = """
import os, socket
os.setsid() if os.getpid() != os.getsid(0) else None
print(os.getpid(), *[name for _, name in socket.if_nameindex()])
"""
