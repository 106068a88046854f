"""Answers that attack: what grades them, the machine that grades, or the inputs. None of them may earn anything.

`MALICE[name].source("mle")` is the source of an answer that defines a function `mle` of any arguments.
"""

from dataclasses import dataclass

OK = frozenset({"ok"})
DIES = frozenset({"crashed"})
LATE = frozenset({"timeout"})


@dataclass(frozen=True)
class Malice:
    """One attack: its `text` with FUNCTION for the name, how the sandbox may say that it ended, what it is after.

    `file_system`: what it does to files, the network or its parent is stopped by bubblewrap only.
    `costly`: it takes its whole time. `doors`: stopped where it is known how to refuse system calls.
    """

    text: str
    expected: frozenset[str]
    what: str
    file_system: bool = False
    costly: bool = False
    doors: bool = False

    def source(self, function: str) -> str:
        """The source of the cell's answer."""
        return self.text.strip().replace("FUNCTION", function) + "\n"

    @property
    def marks(self) -> frozenset[str]:
        """The statuses that a mark for it may have."""
        judged = frozenset({"wrong", "error", "not started"})
        return frozenset().union(*(judged if one == "ok" else {one} for one in self.expected))


MALICE: dict[str, Malice] = {
    # That nothing can be forged: the answer says, in one way or the other, that it is right.
    "equals everything": Malice(
        """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 1
    def __bool__(self): return True
    def __float__(self): return 1.0
    def __len__(self): return 1
    def __iter__(self): return iter([self])
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def __repr__(self): return "1.0"
def FUNCTION(*arguments): return Yes()
""",
        OK,
        "an object that is equal to everything",
    ),
    "lying number": Malice(
        """
class Number(float):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __sub__(self, other): return 0.0
    __rsub__ = __sub__
    def __le__(self, other): return True
    def __hash__(self): return 0
def FUNCTION(*arguments): return Number(123456.75)
""",
        OK,
        "a float whose comparisons lie",
    ),
    "lying class": Malice(
        """
class Chameleon:
    @property
    def __class__(self): return float
    def __eq__(self, other): return True
    def __reduce__(self): return (exec, ("import os; os._exit(0)",))
    def __array__(self, *a, **k): raise SystemExit(0)
    def __deepcopy__(self, memo): return self
    __hash__ = None
def FUNCTION(*arguments): return Chameleon()
""",
        OK,
        "an object that says it is a float, with hooks for pickle, copy and NumPy",
    ),
    "lying array": Malice(
        """
import numpy as np
class Array(np.ndarray):
    def __eq__(self, other): return np.array(True)
    def __array_ufunc__(self, *a, **k): return np.array(True)
    def __array_function__(self, *a, **k): return np.array(True)
    def all(self, *a, **k): return True
def FUNCTION(*arguments): return np.full(1, 123456.75).view(Array)
""",
        OK,
        "an array whose comparisons lie",
    ),
    "all nan": Malice(
        "def FUNCTION(*arguments): return float('nan')", OK, "NaN, which equals NaN where it is compared"
    ),
    "stack frames": Malice(
        """
import inspect, sys, gc
def FUNCTION(*arguments):
    for info in inspect.stack():
        for place in (info.frame.f_locals, info.frame.f_globals):
            for name, thing in list(place.items()):
                if name in ("expected", "exercise", "solution", "key", "verdict"):
                    thing = getattr(thing, "solution", thing)
                    return thing(*arguments) if callable(thing) else thing
    for thing in gc.get_objects():
        if type(thing).__name__ in ("Exercise", "Trial", "Key", "Verdict"):
            return thing.solution(*arguments)
    return "nothing to be found"
""",
        OK,
        "the expected value in the frames of the caller, or the solution among all objects",
    ),
    "changes labkit": Malice(
        """
import builtins, copy, json, pickle, sys
try:
    import labkit, labkit.workbench.marking, labkit.workbench.answers
    labkit.workbench.answers.same_answer = lambda *a, **k: True
    labkit.workbench.marking.same_answer = lambda *a, **k: True
    labkit.workbench.marking.mark = lambda *a, **k: labkit.workbench.marking.Verdict("correct", cases=1)
    labkit.workbench.marking.judge = labkit.workbench.marking.mark
except Exception:
    pass
import numpy as np
np.isclose = np.allclose = np.array_equal = lambda *a, **k: True
copy.deepcopy = lambda thing, memo=None: thing
def FUNCTION(*arguments): return 123456.75
""",
        OK,
        "labkit, NumPy, copy changed so that everything is right",
    ),
    "changes the wire": Malice(
        """
import json, os, sys
wire = sys.modules["labkit.workbench.grading.sandboxing.wire"]
wire.frame = lambda message, blob=b"": b"\\xff" * 12 + b"correct"
def FUNCTION(*arguments): return 123456.75
""",
        frozenset({"refused"}),
        "nonsense instead of a frame, with a length of 2**64",
    ),
    "writes everywhere": Malice(
        """
import json, os, struct
def FUNCTION(*arguments):
    verdict = json.dumps(["came", 1.0, "", "", "", False, False]).encode()
    for number in range(3, 40):
        try: os.write(number, struct.pack("<IQ", len(verdict), 0) + verdict + b'{"status": "correct", "points": 10}\\n')
        except OSError: pass
    return 123456.75
""",
        frozenset({"ok", "refused", "crashed"}),
        "outcomes and verdicts written to all file descriptors",
    ),
    "a frame too many": Malice(
        """
import json, os, struct
def FUNCTION(*arguments):
    text = json.dumps(["came", 123456.75, "", "", "", False, False]).encode()
    for number in range(3, 40):
        try: os.write(number, (struct.pack("<IQ", len(text), 0) + text) * 200)
        except OSError: pass
    os._exit(0)
""",
        frozenset({"ok", "refused", "crashed"}),
        "well-formed frames for every input, then the end with code 0",
    ),
    "exit code 0": Malice("import os\ndef FUNCTION(*arguments): os._exit(0)", DIES, "the end, as if all were well"),
    "sys.exit": Malice("import sys\ndef FUNCTION(*arguments): sys.exit(0)", OK, "an exit that can be caught"),
    "exit while loading": Malice("import os\nos._exit(0)\ndef FUNCTION(*arguments): return 1", DIES, "the end at once"),
    "own ValueError": Malice(
        """
class ValueError(Exception): __module__ = "builtins"
def FUNCTION(*arguments): raise ValueError("correct")
""",
        OK,
        "an error that only has the name of the expected one",
    ),
    "reads the solutions": Malice(
        """
def FUNCTION(*arguments):
    from labkit.exercises import ngrams
    raise RuntimeError("solutions found: " + str(len(ngrams.EXERCISES)))
""",
        OK,
        "labkit.exercises, with the solutions",
    ),
    # That the machine is safe: endless, enormous, deadly.
    "endless loop": Malice("def FUNCTION(*arguments):\n    while True: pass", LATE, "a loop without end", costly=True),
    "sleeps": Malice("import time\ndef FUNCTION(*arguments): time.sleep(10**6)", LATE, "a long sleep", costly=True),
    "deaf to signals": Malice(
        """
import signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
def FUNCTION(*arguments):
    while True: time.sleep(1)
""",
        LATE,
        "a loop that ignores every signal",
        costly=True,
    ),
    "endless generator": Malice(
        "import itertools\ndef FUNCTION(*arguments): return itertools.count(123456)", OK, "an iterator without end"
    ),
    "endless printing": Malice(
        "def FUNCTION(*arguments):\n    while True: print('x' * 100000, end='')",
        LATE,
        "output without end",
        costly=True,
    ),
    "endless recursion": Malice("def FUNCTION(*arguments): return FUNCTION(*arguments)", OK, "a call of itself"),
    "deep recursion": Malice(
        """
import sys
sys.setrecursionlimit(10**9)
class A:
    def __getattr__(self, name): return getattr(self, name + "x")
def FUNCTION(*arguments): return repr(A().x)
""",
        frozenset({"crashed", "ok", "memory", "timeout"}),
        "a recursion deeper than the stack",
    ),
    "memory bomb": Malice(
        """
def FUNCTION(*arguments):
    kept = []
    while True: kept.append(bytearray(50_000_000))
""",
        frozenset({"memory", "timeout"}),
        "all the memory there is",
    ),
    "many small memory bombs": Malice(
        """
import os, time
def FUNCTION(*arguments):
    for _ in range(8):
        if os.fork() == 0: break
    kept = [bytearray(1) * 1_500_000_000]
    time.sleep(100)
""",
        frozenset({"memory", "timeout"}),
        "all the memory there is, by processes that each stay below the limit",
    ),
    "segmentation fault": Malice(
        "import ctypes\ndef FUNCTION(*arguments): return ctypes.string_at(0)", DIES, "a crash"
    ),
    "gigantic array": Malice(
        "import numpy as np\ndef FUNCTION(*arguments): return np.broadcast_to(1.0, (10**6, 10**6))",
        OK,
        "an array of 8 terabytes that takes 8 bytes",
    ),
    "large array": Malice(
        "import numpy as np\ndef FUNCTION(*arguments): return np.ones(10**10)",
        frozenset({"memory"}),
        "an array of 80 GB",
    ),
    "deep list": Malice(
        """
def FUNCTION(*arguments):
    deep = []
    for _ in range(300_000): deep = [deep]
    return deep
""",
        frozenset({"ok", "crashed", "timeout"}),
        "300,000 lists, each in the next",
    ),
    "wide dict": Malice(
        "def FUNCTION(*arguments): return dict.fromkeys(range(10**6), 1)",
        frozenset({"ok", "timeout"}),
        "a dict with a million keys",
    ),
    "contains itself": Malice(
        "def FUNCTION(*arguments):\n    a = []\n    a.append(a)\n    return a", OK, "a list in itself"
    ),
    "colliding keys": Malice(
        "def FUNCTION(*arguments): return {i * (2**61 - 1): 1 for i in range(3000)}",
        frozenset({"refused"}),
        "keys of one hash, which make a dict slow for whoever reads it",
    ),
    "huge number": Malice("def FUNCTION(*arguments): return 1 << 10_000_000", OK, "a number that takes ages to print"),
    "closes everything": Malice(
        """
import os
def FUNCTION(*arguments):
    os.closerange(0, 4096)
    return 1.0
""",
        DIES,
        "all file descriptors closed",
    ),
    "leaves a daemon": Malice(
        """
import os, time
def FUNCTION(*arguments):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True: time.sleep(1)
        os._exit(0)
    return 123456.75
""",
        OK,
        "a process that goes on after the answer",
    ),
    "leaves threads": Malice(
        """
import atexit, threading, time
atexit.register(time.sleep, 10**6)
def FUNCTION(*arguments):
    threading.Thread(target=time.sleep, args=(10**6,)).start()
    return 123456.75
""",
        OK,
        "a thread and an exit handler that never end",
    ),
    "kills its parent": Malice(
        """
import os, signal, time
def FUNCTION(*arguments):
    for pid in (os.getppid(), 1):
        try: os.kill(pid, signal.SIGKILL)
        except OSError: pass
    time.sleep(0.2)
    return 123456.75
""",
        frozenset({"ok", "crashed"}),
        "the process that watches it",
    ),
    "limits its parent": Malice(
        """
import os, resource
def FUNCTION(*arguments):
    for name in ("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_AS"):
        try: resource.prlimit(os.getppid(), getattr(resource, name), (3, 3))
        except OSError: pass
    return 123456.75
""",
        OK,
        "that the next answer cannot be started",
    ),
    "reads its parent": Malice(
        """
import os
def FUNCTION(*arguments):
    found = []
    for place in ("mem", "environ", "fd"):
        try:
            at = f"/proc/{os.getppid()}/{place}"
            found.append(os.listdir(at) if place == "fd" else open(at, "rb").read(1))
        except OSError: pass
    if found: raise RuntimeError(f"parent found: {found}")
    return 123456.75
""",
        OK,
        "memory, environment and channels of the process that watches it",
        file_system=True,
    ),
    "memory of nobody": Malice(
        """
import ctypes, os
libc = ctypes.CDLL(None)
def FUNCTION(*arguments):
    kept = []
    for number in range(3):
        try: kept.append(os.memfd_create(str(number)))
        except (OSError, AttributeError): pass
        if libc.shmget(0, 4096, 0o1600) >= 0: kept.append("a segment")
    if libc.unshare(0x10000000) == 0: kept.append("a world of its own")
    if kept: raise RuntimeError(f"places found that no limit counts: {kept}")
    return 123456.75
""",
        OK,
        "memory that belongs to no process, and a namespace in which it may mount more",
        doors=True,
    ),
    # That nothing of the host can be seen or reached.
    "reads files": Malice(
        """
import glob, os
def FUNCTION(*arguments):
    places = ["/etc/shadow", "/etc/passwd", "/etc/hostname", "/root/.ssh", "/home", "/var/log"]
    places.append(os.path.expanduser("~/.ssh"))
    import labkit
    root = os.path.dirname(os.path.dirname(labkit.__file__))
    places += [os.path.join(root, name) for name in ("tests", "notebooks", ".git", "pyproject.toml")]
    places += glob.glob(os.path.join(root, "labkit", "exercises", "*"))
    found = [place for place in places if os.path.exists(place)]
    if found: raise RuntimeError(f"files found: {found}")
    return 123456.75
""",
        OK,
        "password files, keys, solutions, tests and notebooks",
        file_system=True,
    ),
    "reads tokens": Malice(
        """
import os
def FUNCTION(*arguments):
    found = [name for name in os.environ if "TOKEN" in name or "SECRET" in name or "KEY" in name]
    if found: raise RuntimeError(f"tokens found: {found}")
    return 123456.75
""",
        OK,
        "tokens in the environment",
    ),
    "deletes files": Malice(
        """
import os, labkit
def FUNCTION(*arguments):
    for place in (labkit.__file__ + ".not-there", "/usr/not-there", "/not-there", "/dev/not-there"):
        try:
            open(place, "w").write("x")
            os.remove(place)
            raise RuntimeError(f"file written: {place}")
        except OSError: pass
    return 123456.75
""",
        OK,
        "files beside labkit and the system's",
        file_system=True,
    ),
    "the network": Malice(
        """
import socket
def FUNCTION(*arguments):
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    if names: raise RuntimeError(f"network found: {names}")
    try: socket.create_connection(("192.0.2.1", 80), timeout=0.2)
    except TimeoutError: raise RuntimeError("network found")
    except OSError: pass
    try: raise RuntimeError(f"network found: {socket.getaddrinfo('example.org', 80)}")
    except OSError: return 123456.75
""",
        OK,
        "a connection to somewhere",
        file_system=True,
    ),
    "large file": Malice(
        """
def FUNCTION(*arguments):
    with open("big", "wb") as file:
        for _ in range(10_000): file.write(bytes(1_000_000))
    raise RuntimeError("10 GB written")
""",
        OK,
        "a file of 10 GB",
    ),
    "many files": Malice(
        """
import tempfile
def FUNCTION(*arguments):
    kept = []
    for number in range(40):
        with tempfile.NamedTemporaryFile(delete=False) as file: file.write(bytes(9_000_000))
    raise RuntimeError("360 MB written")
""",
        OK,
        "many files, each below the limit",
        file_system=True,
    ),
    "fork bomb": Malice(
        """
import os
def FUNCTION(*arguments):
    while True:
        try: os.fork()
        except OSError: pass
""",
        frozenset({"timeout", "crashed"}),
        "processes that start processes",
        costly=True,
    ),
    "fork bomb of daemons": Malice(
        """
import os
def FUNCTION(*arguments):
    while True:
        try:
            if os.fork() == 0: os.setsid()
        except OSError: pass
""",
        frozenset({"timeout", "crashed"}),
        "processes that start processes, each a leader of its own session",
        costly=True,
    ),
}

# What a limited subprocess does not stop; and, where it runs as root, it cannot count processes either.
NOT_RESISTED_WITHOUT_BUBBLEWRAP = frozenset(name for name, one in MALICE.items() if one.file_system)
NEEDS_A_LIMIT_ON_PROCESSES = frozenset({"fork bomb", "fork bomb of daemons"})
