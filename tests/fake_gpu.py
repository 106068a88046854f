"""A GPU without a GPU: shapes, types and devices as on an accelerator, no values, on any machine.

A tensor that was left on the CPU is the bug that only the machine with the GPU shows. Here it is shown everywhere:

    @on_fake_gpu
    def test_the_mask_is_made_where_the_input_is(device):
        model = Decoder(config).to(device)
        model(torch.zeros(2, 8, dtype=torch.long, device=device))

    done = run_on_fake_gpu("model = Decoder(config).to(device)")  # a CompletedProcess, for code that is text

Tensors on the CPU are real tensors; a tensor on `device` has shape, type and device alone (torch's FakeTensor), so any
size is free. What raises, as on a GPU: tensors of two devices in one operation (numbers of no dimension, copies and
indices on the CPU are allowed), a generator of the wrong device, `.numpy()`. What raises too, though a GPU would only
wait: reading a value (`.item()`, `if tensor:`, `.tolist()`), unless the test says `@on_fake_gpu(reads=True)`; what is
read is then 1. Not seen: wrong results, autocast (accepted, without effect), operations that a kind of GPU lacks. The
names used here are private to torch, so they stay in a process of their own, one for all tests; a torch without them
skips the tests.
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

from tests.fake_gpu_device import NAME, register, supported
from tests.fake_gpu_reading import NOTHING, answer
from tests.fake_gpu_seen import seen, watch_classes
from tests.project import ROOT

INSIDE = "LABKIT_FAKE_GPU"  # set in the process that has the device
PATIENCE = 240  # seconds for one test, with a busy machine in mind
TO_NUMPY = (torch.Tensor.numpy, torch.Tensor.__array__)
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


def on_fake_gpu(test=None, *, reads=False, covers=()):
    """A test that runs on the fake GPU; it takes `device`, and parameters that JSON can hold.

    It fails, too, if a class that it `covers` did not work there: a module's forward pass, an optimizer's step.
    """
    if test is None:
        return functools.partial(on_fake_gpu, reads=reads, covers=covers)
    if INSIDE in os.environ:
        test.reads_on_fake_gpu = reads
        return test
    signature = inspect.signature(test)
    others = [parameter for name, parameter in signature.parameters.items() if name != "device"]

    @functools.wraps(test)
    def elsewhere(**arguments):
        _skip_without_support()
        said, worked = _worker().run(inspect.getfile(test), test.__name__, arguments)
        if said:
            pytest.fail(said, pytrace=False)
        if idle := sorted(set(covers) - set(worked)):
            pytest.fail(f"{', '.join(idle)} did no work on the device, though the test covers it", pytrace=False)

    elsewhere.__signature__ = signature.replace(parameters=others)
    return elsewhere


def wrong_device():
    """`with wrong_device():` expects that tensors of two devices meet."""
    return pytest.raises(RuntimeError, match=r"(?i)same device|two .*devices|device type")


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
        """The trace of a failed test, or an empty text, and the classes that worked on the device."""
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
        return json.loads(answer) if answer else (f"the process with the fake GPU died or hung in {name}", [])

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
    """Run the tests that are asked for on stdin, a line of JSON each; answer with a trace and the classes seen."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a test prints must not be taken for an answer
    register()
    watch_classes()
    for line in sys.stdin:
        path, name, arguments = json.loads(line)
        seen.clear()
        try:
            test = getattr(_module(path), name)
            with fake_gpu(test.reads_on_fake_gpu) as device:
                test(**arguments, **({"device": device} if "device" in inspect.signature(test).parameters else {}))
            said = ""
        except BaseException:  # pytest's own failures are no Exceptions
            said = traceback.format_exc()
        answers.write(json.dumps([said, sorted(seen)]) + "\n")
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


@contextmanager
def fake_gpu(reads=False, watch=None):
    """The device, for as long as the block lasts, in threads that begin in it, too; `watch` sees all that is made."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        pass
    begin = threading.Thread.run

    def run(thread):
        with _Dispatch(mode, reads, watch), _Construction(reads):
            begin(thread)

    threading.Thread.run = run
    try:
        with _Dispatch(mode, reads, watch), _Construction(reads):
            yield torch.device(NAME, 0)
    finally:
        threading.Thread.run = begin


def _on_device(value):
    return isinstance(value, torch.device) and value.type == NAME


def _is_real(value):
    return isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor)


class _Dispatch(TorchDispatchMode):
    """Operations with a tensor of the device go to torch's FakeTensorMode, all others are done in earnest."""

    def __init__(self, mode, reads, watch=None):
        super().__init__()
        self.mode, self.reads, self.watch = mode, reads, watch

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        if not any(isinstance(x, FakeTensor) or _on_device(x) for x in leaves):
            return function(*args, **kwargs)
        if function is torch.ops.aten._local_scalar_dense.default:
            return self.read(args[0])
        if self.reads and (found := answer(function, args, kwargs, self.mode)) is not NOTHING:
            return found
        if any(_is_real(x) for x in leaves):
            args, kwargs = tree_map(lambda x: self.mode.from_tensor(x) if _is_real(x) else x, (args, kwargs))
        with self.mode:
            made = function(*args, **kwargs)
        return made if self.watch is None else self.watch(made)

    def read(self, tensor):
        if not self.reads:
            raise DataDependentOutputException(torch.ops.aten._local_scalar_dense.default)
        return True if tensor.dtype == torch.bool else 1.0 if tensor.dtype.is_floating_point else 1


class _Construction(TorchFunctionMode):
    """`torch.tensor(…, device=…)`, generators, lists and arrays, which dispatch never sees."""

    def __init__(self, reads=False):
        super().__init__()
        self.reads = reads

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        place = kwargs.get("device")
        place = torch.device(place) if isinstance(place, str) else place
        if function in (torch.tensor, torch.as_tensor) and _on_device(place):
            del kwargs["device"]
            return function(*args, **kwargs).to(place)
        if function in TO_NUMPY and isinstance(args[0], FakeTensor):
            raise TypeError(f"can't convert {args[0].device} device type tensor to numpy. Use Tensor.cpu() first.")
        if function is torch.Tensor.tolist and isinstance(args[0], FakeTensor) and self.reads:
            return args[0].cpu().tolist()
        generator = kwargs.get("generator")
        if generator is not None:
            tensors = [x.device for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
            wanted = (place or (tensors[0] if tensors else torch.device("cpu"))).type
            if generator.device.type != wanted:
                raise RuntimeError(f"Expected a '{wanted}' device type for generator but found {generator.device}")
        return function(*args, **kwargs)
