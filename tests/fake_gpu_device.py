"""The device that has no values, in Python: what torch asks of a backend, and what it must not ask of this one.

The names used here are private to torch.
"""

import functools
from collections import deque

import torch
from torch._subclasses.fake_tensor import FakeTensor

NAME = "fakegpu"
HOOKS = ("register_hook", "register_post_accumulate_grad_hook")


def supported():
    """Whether this torch can register a device in Python."""
    return hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend")


def is_on_device(value):
    """Whether something is a tensor of the device."""
    return isinstance(value, FakeTensor) and value.device.type == NAME


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
    FakeTensor.data_ptr = _address
    _raise_after_the_backward_pass()
    library = torch.library.Library("_", "IMPL")
    library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    return library  # which must live for as long as what it registered; the cache sees to that


def _address(tensor):
    """A number that views of the same memory share, as far as they begin at the same place."""
    return tensor.untyped_storage()._cdata + tensor.storage_offset() * tensor.element_size()


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


def _raise_after_the_backward_pass():
    """Let errors of hooks wait until the backward pass is over: torch asks the device in between, and dies of it."""
    errors, run = deque(), torch.autograd._engine_run_backward
    for name in HOOKS:
        setattr(torch.Tensor, name, _careful(getattr(torch.Tensor, name), errors))

    def run_backward(*args, **kwargs):
        try:
            return run(*args, **kwargs)
        finally:
            if errors:
                first = errors[0]
                errors.clear()
                raise first

    torch.autograd._engine_run_backward = run_backward


def _careful(register_hook, errors):
    """A method that registers a hook which keeps its error to itself, and does nothing when there was one before."""

    def register_careful_hook(tensor, hook):
        def careful(*found):
            try:
                return None if errors else hook(*found)
            except BaseException as error:  # pytest's own failures are no Exceptions
                errors.append(error)

        return register_hook(tensor, careful)

    return register_careful_hook
