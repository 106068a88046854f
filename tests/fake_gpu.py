"""A GPU without a GPU: shapes, types and devices as on an accelerator, no values, on any machine.

A tensor that was left on the CPU is the bug that only the machine with the GPU shows. Here it is shown everywhere:

    @on_fake_gpu
    def test_the_mask_is_made_where_the_input_is(device):
        model = Decoder(config).to(device)
        model(torch.zeros(2, 8, dtype=torch.long, device=device))

    done = run_on_fake_gpu("model = Decoder(config).to(device)")  # a CompletedProcess, for code that is text

Tensors on the CPU are real tensors; a tensor on `device` has shape, type and device alone (torch's FakeTensor), so any
size is free. What raises, as on a GPU: tensors of two devices in one operation (numbers of no dimension, copies and
indices on the CPU are allowed), a generator of the wrong device. What raises too, though a GPU would only wait: reading
a value (`.item()`, `if tensor:`), unless the test says `@on_fake_gpu(reads=True)`; what is read is then 1. Not seen:
wrong results, memory, autocast (accepted, without effect), operations that a kind of GPU lacks. The names used here
are private to torch, so they stay in a process of their own, one for all tests; a torch without them skips the tests.
"""

import atexit
import functools
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import textwrap
import threading
import traceback
from contextlib import contextmanager

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from tests.project import ROOT

NAME = "fakegpu"
INSIDE = "LABKIT_FAKE_GPU"  # set in the process that has the device
PATIENCE = 240  # seconds for one test, with a busy machine in mind
MISSING = "this torch cannot make a device in Python (torch 2.9 and newer can)"


def run_on_fake_gpu(code, reads=False):
    """Run text in a process of its own that has `torch`, `nn` and `device` at hand; returns a CompletedProcess."""
    _skip_without_support()
    program = "from tests.fake_gpu import run_text; import sys; run_text(sys.stdin.read(), bool(int(sys.argv[1])))"
    return subprocess.run(
        [sys.executable, "-c", program, str(int(reads))],
        **_settings(),
        input=textwrap.dedent(code),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


def on_fake_gpu(test=None, *, reads=False):
    """A test that runs on the fake GPU; it takes `device`, and parameters that JSON can hold."""
    if test is None:
        return functools.partial(on_fake_gpu, reads=reads)
    if INSIDE in os.environ:
        test.reads_on_fake_gpu = reads
        return test
    signature = inspect.signature(test)
    others = [parameter for name, parameter in signature.parameters.items() if name != "device"]

    @functools.wraps(test)
    def elsewhere(**arguments):
        _skip_without_support()
        said = _worker().run(inspect.getfile(test), test.__name__, arguments)
        if said:
            pytest.fail(said, pytrace=False)

    elsewhere.__signature__ = signature.replace(parameters=others)
    return elsewhere


def wrong_device():
    """`with wrong_device():` expects that tensors of two devices meet."""
    return pytest.raises(RuntimeError, match=r"(?i)same device|two .*devices|device type")


def supported():
    """Whether this torch can register a device in Python."""
    return hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend")


def _skip_without_support():
    if not supported():
        pytest.skip(MISSING)


# ---- in the tests' process: one worker for all of them ----


def _settings():
    """How the processes with the device are started: one thread, the project importable, text in UTF-8."""
    environment = {**os.environ, INSIDE: "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    return {"cwd": ROOT, "env": environment, "text": True, "encoding": "utf-8"}


class _Worker:
    """A process with the device that runs one test after another; a new one follows where one has died."""

    def __init__(self):
        self.process = None
        atexit.register(self.close)

    def run(self, path, name, arguments):
        """The trace of a failed test, or an empty text."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            command = [sys.executable, "-c", "from tests.fake_gpu import serve; serve()"]
            self.process = subprocess.Popen(command, **_settings(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        watch = threading.Timer(PATIENCE, self.process.kill)
        watch.start()
        try:
            self.process.stdin.write(json.dumps([path, name, arguments]) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            watch.cancel()
        return json.loads(answer) if answer else f"the process with the fake GPU died or hung in {name} (see stderr)"

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@functools.cache
def _worker():
    return _Worker()


# ---- in the process that has the device ----


def serve():
    """Run the tests that are asked for on stdin, a line of JSON each; answer with a trace or an empty text."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a test prints must not be taken for an answer
    register()
    for line in sys.stdin:
        path, name, arguments = json.loads(line)
        try:
            test = getattr(_module(path), name)
            with fake_gpu(test.reads_on_fake_gpu) as device:
                test(**arguments, **({"device": device} if "device" in inspect.signature(test).parameters else {}))
            said = ""
        except BaseException:  # pytest's own failures are no Exceptions
            said = traceback.format_exc()
        answers.write(json.dumps(said) + "\n")
        answers.flush()


@functools.cache
def _module(path):
    spec = importlib.util.spec_from_file_location("fake_gpu_tests_" + str(abs(hash(path))), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_text(code, reads):
    """Run text with the device; what it raises ends the process as usual."""
    register()
    with fake_gpu(reads) as device:
        exec(compile(code, "<on the fake GPU>", "exec"), {"torch": torch, "nn": torch.nn, "device": device})


class _Backend:
    """What torch asks of the module of a device."""

    is_initialized = is_available = staticmethod(lambda: True)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    _is_in_bad_fork = staticmethod(lambda: False)
    manual_seed_all = manual_seed = synchronize = empty_cache = set_rng_state = staticmethod(lambda *a, **k: None)
    get_rng_state = staticmethod(lambda *a: torch.get_rng_state())
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])


class _Generator(torch.Generator):
    """A generator that knows the device it was made for."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls)
        made.place = torch.device(device)
        return made

    device = property(lambda self: self.place)


@functools.cache
def register():
    """Give this process the device; once, and for good."""
    torch.utils.backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    torch.Generator = _Generator
    torch.nn.Module._apply = _move
    library = torch.library.Library("_", "IMPL")
    library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    return library  # which must live for as long as what it registered; the cache sees to that


def _move(module, function, recurse=True):
    """What `.to` does to a module. A real GPU moves the data; here the parameters are new ones, tied as before."""
    places = [(part, name, value) for part in module.modules() for name, value in part._parameters.items()]
    for child in module.children() if recurse else ():
        child._apply(function)
    for name, value in module._parameters.items():
        if value is not None:
            module._parameters[name] = torch.nn.Parameter(function(value.detach()), value.requires_grad)
            if value.grad is not None:
                module._parameters[name].grad = function(value.grad)
    module._buffers.update(
        {name: value if value is None else function(value) for name, value in module._buffers.items()}
    )
    moved = {}
    for part, name, before in places:
        part._parameters[name] = moved.setdefault(id(before), part._parameters[name])
    return module


@contextmanager
def fake_gpu(reads=False):
    """The device, for as long as the block lasts."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        pass
    with _Dispatch(mode, reads), _Construction():
        yield torch.device(NAME, 0)


def _on_device(value):
    return isinstance(value, torch.device) and value.type == NAME


def _is_real(value):
    return isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor)


class _Dispatch(TorchDispatchMode):
    """Operations with a tensor of the device go to torch's FakeTensorMode, all others are done in earnest."""

    def __init__(self, mode, reads):
        super().__init__()
        self.mode, self.reads = mode, reads

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        if not any(isinstance(x, FakeTensor) or _on_device(x) for x in leaves):
            return function(*args, **kwargs)
        if function is torch.ops.aten._local_scalar_dense.default:
            return self.read(args[0])
        if any(_is_real(x) for x in leaves):
            args, kwargs = tree_map(lambda x: self.mode.from_tensor(x) if _is_real(x) else x, (args, kwargs))
        with self.mode:
            return function(*args, **kwargs)

    def read(self, tensor):
        if not self.reads:
            raise DataDependentOutputException(torch.ops.aten._local_scalar_dense.default)
        return True if tensor.dtype == torch.bool else 1.0 if tensor.dtype.is_floating_point else 1


class _Construction(TorchFunctionMode):
    """`torch.tensor(…, device=…)` and generators, which dispatch never sees."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        place = kwargs.get("device")
        place = torch.device(place) if isinstance(place, str) else place
        if function in (torch.tensor, torch.as_tensor) and _on_device(place):
            del kwargs["device"]
            return function(*args, **kwargs).to(place)
        generator = kwargs.get("generator")
        if generator is not None:
            tensors = [x.device for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
            wanted = (place or (tensors[0] if tensors else torch.device("cpu"))).type
            if generator.device.type != wanted:
                raise RuntimeError(f"Expected a '{wanted}' device type for generator but found {generator.device}")
        return function(*args, **kwargs)
