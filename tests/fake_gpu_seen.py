"""Which classes of labkit have worked on the device: modules whose forward pass ran there, optimizers that stepped."""

from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._pytree import tree_leaves

from tests.fake_gpu_device import is_on_device

seen = set()


def watch_classes():
    """Fill `seen` with the names of classes from now on, in this process."""
    register_module_forward_hook(lambda module, args, output: _note(module, (args, output)))
    register_optimizer_step_post_hook(lambda optimizer, args, kwargs: _note(optimizer, optimizer.param_groups))


def _note(thing, tensors):
    if type(thing).__module__.startswith("labkit.") and any(map(is_on_device, tree_leaves(tensors))):
        seen.add(type(thing).__name__)
