"""How much memory the tensors of the fake GPU would take: bytes that are alive, and the most there ever were."""

import gc
import weakref

from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves

from tests.fake_gpu import NAME


class Watch:
    """Called with what an operation made; counts each storage once, for as long as it lives.

    `peak` is the most since the last `begin()`, less what was alive then; `top` the most of all.
    """

    def __init__(self):
        self.alive = self.most = self.before = self.top = 0
        self._known = {}

    def __call__(self, made):
        for tensor in tree_leaves(made):
            if isinstance(tensor, FakeTensor) and tensor.device.type == NAME:
                self._count(tensor.untyped_storage())
        return made

    def begin(self):
        """From here on `peak` counts anew."""
        gc.collect()  # graphs that hold each other
        self.before = self.most = self.alive

    @property
    def peak(self):
        return self.most - self.before

    def _count(self, storage):
        key, size = id(storage), storage.nbytes()
        if key in self._known:
            return

        def gone(_, key=key, size=size):
            del self._known[key]
            self.alive -= size

        self._known[key] = weakref.ref(storage, gone)
        self.alive += size
        self.most, self.top = max(self.most, self.alive), max(self.top, self.alive)
