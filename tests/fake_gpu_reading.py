"""What is read from the fake GPU when a test allows it: ones, of the shape and type that was asked for.

A GPU would wait and give the value. Here every number is 1 and every answer yes, so code that looks at values goes on.
Its shapes are real ones: a mask of which all is true keeps everything.
"""

import torch
from torch._subclasses.fake_tensor import FakeTensor

aten = torch.ops.aten
LARGEST = 2**28  # numbers that are read at once; what is more is no reading
NOTHING = object()


def answer(function, args, kwargs, mode):
    """What an operation gives that needs values of the device, or NOTHING if it needs none."""
    if function in (aten.equal.default, aten.allclose.default, aten.is_nonzero.default):
        return True
    if function is aten._to_copy.default and _is_read(args[0], kwargs.get("device")):
        return _ones(args[0], kwargs.get("dtype"))
    if function is aten.copy_.default and not isinstance(args[0], FakeTensor):
        return args[0].fill_(1)
    if function is aten.nonzero.default:
        return _everywhere(args[0], mode)
    if function is aten.masked_select.default:
        shape = torch.broadcast_shapes(args[0].shape, args[1].shape)
        with mode:
            return args[0].new_empty(shape.numel())
    if function in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default):
        return _by_numbers(function, args, kwargs, mode)
    if function is aten.bincount.default:
        with mode:
            return args[0].new_empty(max(2, kwargs.get("minlength", 0), *args[2:3]), dtype=torch.long)
    return NOTHING


def _is_read(tensor, place):
    return isinstance(tensor, FakeTensor) and tensor.device.type != "cpu" and _is_cpu(place)


def _is_cpu(place):
    return place is not None and torch.device(place).type == "cpu"


def _ones(tensor, dtype):
    if tensor.numel() > LARGEST:
        raise MemoryError(f"{tensor.numel():,} numbers are read from the device at once")
    return torch.ones(tensor.shape, dtype=dtype or tensor.dtype)


def _everywhere(mask, mode):
    """The places of a mask that is true everywhere, as `nonzero` gives them."""
    with mode:
        return torch.empty((mask.numel(), mask.ndim), dtype=torch.long, device=mask.device)


def _by_numbers(function, args, kwargs, mode):
    """Masks among indices become the places they stand for."""
    indices = args[1]
    if not any(x is not None and isinstance(x, FakeTensor) and x.dtype in (torch.bool, torch.uint8) for x in indices):
        return NOTHING
    found = []
    with mode:
        for x in indices:
            is_mask = x is not None and x.dtype in (torch.bool, torch.uint8)
            found += [torch.empty(x.numel(), dtype=torch.long, device=x.device) for _ in x.shape] if is_mask else [x]
        return function(args[0], found, *args[2:], **kwargs)
