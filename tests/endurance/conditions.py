"""What a round is run under: less memory, no network, another clock. Each is tried first: does it really hold?"""

import json
import os
import shutil
import subprocess
import sys
import time
from calendar import timegm
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.endurance.memory import Group, Watcher

LIMIT = 2 * 2**30
# Early on the first day, where a time zone west of Greenwich still has 1969; and past the end of 32-bit seconds.
MOMENTS = {"1970": (1970, 1, 1, 0, 5, 0), "2040": (2040, 2, 29, 12, 0, 0)}
PROBE = """
import json, os, socket, time
heard = b""
try:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname(), 5) as one, server.accept()[0] as other:
            one.sendall(b"x")
            heard = other.recv(1)
except OSError:
    pass
names = [name for _, name in socket.if_nameindex()]
print(json.dumps({"year": time.gmtime().tm_year, "interfaces": names, "loopback": heard == b"x"}))
"""


@dataclass(frozen=True)
class Condition:
    """How a run is started: words before the command, names in its environment, what bounds its memory.

    `how` says by which means it was made; `missing` why it could not be made here.
    """

    how: str = ""
    prefix: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    bound: Group | Watcher | None = None
    missing: str = ""

    def command(self, arguments):
        """The arguments of the process that runs these under the condition."""
        return [*self.prefix, *(self.bound.prefix if self.bound else ()), *map(str, arguments)]

    def probe(self):
        """What a process under the condition sees: its year, its networks, whether it reaches itself."""
        done = subprocess.run(
            self.command([sys.executable, "-c", PROBE]),
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()[-200:]}


def plain():
    """The machine as it is."""
    return Condition("as on any day")


def little_memory(limit=LIMIT):
    """No more than `limit` bytes for the run, its kernels and all that they start."""
    group = Group.made(limit)
    bound = group or Watcher(limit)
    return Condition(f"{limit / 2**30:g} GiB for the run, its kernels and ranks together, by {bound.how}", bound=bound)


def no_network():
    """A network that holds this machine only; its own address still answers, as ranks need it."""
    for prefix in _without_network():
        condition = Condition(f"a network of its own, without a way out ({prefix[0]})", tuple(prefix))
        seen = condition.probe()
        if seen.get("interfaces") == ["lo"] and seen["loopback"]:
            return condition
    return Condition(missing="a process without a network needs bwrap, or unshare and ip, on Linux")


def _without_network():
    if shutil.which("bwrap"):
        yield ["bwrap", "--unshare-net", "--die-with-parent", "--dev-bind", "/", "/"]
    if shutil.which("unshare") and shutil.which("ip"):
        up = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        yield ["unshare", "--net", *up]
        yield ["unshare", "--map-root-user", "--net", *up]


def clock(year, built, moment=None):
    """A clock that says another year and goes on from there; what measures durations stays right, as on a real one.

    The library that does it is compiled into the folder `built`.
    """
    moment = moment or MOMENTS[year]
    library = _compiled(built)
    if library is None:
        return Condition(missing="another clock needs Linux and a C compiler (cc)")
    apart = timegm(moment) - int(time.time())
    how = f"a clock that begins at {moment[0]}-{moment[1]:02d}-{moment[2]:02d} (a library before the system's own)"
    condition = Condition(how, (), {"LD_PRELOAD": str(library), "LABKIT_CLOCK": str(apart)})
    seen = condition.probe()
    return condition if seen.get("year") == int(year) else Condition(missing=f"the clock is not believed here: {seen}")


def _compiled(built):
    """The library that changes the clock, compiled once; None where that cannot be done."""
    library = built / "clock.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    built.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("clock.c")
    done = subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], capture_output=True)
    return library if done.returncode == 0 else None
