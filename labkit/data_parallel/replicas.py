"""Data parallelism: every rank has the whole model and a part of the batch, and gradients are averaged over the ranks.

model = DataParallel(model)          # on every rank; from here on all ranks have the weights of rank 0
model.loss(*my_part).backward()      # ends with the gradient of the whole batch, on every rank
optimizer.step()                     # so all ranks take the same step
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, distributed, nn

from labkit.data_parallel.agreement import refuse_different
from labkit.data_parallel.buckets import DEFAULT_MB, Bucket, flatten, partition


class DataParallel(nn.Module):
    """A module whose gradients are, after `backward()`, the mean of the gradients of all ranks.

    Hooks notice each gradient as the backward pass makes it. A bucket that is full is reduced while the pass goes on;
    the pass ends when all are reduced. Buckets are sent in one order on all ranks, also where some did not use a
    parameter; one that nobody used keeps None. Gradients live in the buckets: copy those that you want to keep.

    Args:
        mode, bucket_mb: see `partition`: "flat", "per_parameter" or "buckets" of so many MB.
        group: the ranks that share the work; all if left out.
        recorder: a `labkit.ranks.timeline.Recorder`, to see when each bucket was sent.

    Attributes:
        reductions, bytes_reduced: how many buckets this rank has reduced so far, and how large they were together.

    Raises:
        ValueError: if the ranks' modules differ in names, shapes, dtypes or what is frozen, or in mode or bucket_mb;
            if nothing can be trained, gradients are sparse, or it is wrapped already; if there is no process group.
    """

    def __init__(
        self,
        module: nn.Module,
        mode: str = "buckets",
        bucket_mb: float | int = DEFAULT_MB,
        *,
        group: Any = None,
        recorder: Any = None,
    ):
        super().__init__()
        if not distributed.is_initialized():
            raise ValueError("there is no process group; call this inside run_ranks, or init_process_group first")
        self.module, self.group, self.recorder = module, group, recorder
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        _refuse_unfit(module)
        refuse_different(module, group, about=f"mode = {mode}, bucket_mb = {bucket_mb}")
        if not trained:
            raise ValueError("no parameter of the module requires a gradient, so there is nothing to share")
        self.scale = 1 / distributed.get_world_size(group)
        self.buckets = [Bucket(parameters) for parameters in partition(trained.values(), mode, bucket_mb)]
        self.reductions = self.bytes_reduced = 0
        self._managed, self._reducing = {id(p): p.dtype for p in trained.values()}, True
        self._pass, self._next, self._begin = None, 0, 0.0
        self._running: Callable = lambda: None
        self.broadcast([*module.parameters(), *module.buffers()])
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(partial(self._made, bucket, place))
            for bucket in self.buckets
            for place, parameter in enumerate(bucket.parameters)
        ]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module makes of this rank's part."""
        return self._watched(self.module)(*args, **kwargs)

    @property
    def loss(self) -> Callable[..., Tensor]:
        """The loss of the module, on this rank's part."""
        return self._watched(self.module.loss)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Backward passes inside only add up on this rank; the next one outside reduces the sum."""
        before, self._reducing = self._reducing, False
        try:
            yield
        finally:
            self._reducing = before

    def join(self) -> None:
        """Take part in one reduction without a backward pass: what a rank does that has no batch left."""
        self._open(None)
        self._finish()

    def unwrap(self) -> nn.Module:
        """Give the module back as it was, without hooks; its gradients stay."""
        for hook in self._hooks:
            hook.remove()
        return self.module

    def broadcast(self, tensors: list[Tensor] | None = None) -> None:
        """Give all ranks rank 0's tensors: the module's buffers if left out, as before a checkpoint or an evaluation.

        Running averages, as of batch norm, are each rank's own while it trains.
        """
        source = distributed.get_global_rank(self.group, 0) if self.group else 0
        with torch.no_grad():
            for flat, originals in flatten(self.module.buffers() if tensors is None else tensors):
                distributed.broadcast(flat, source, group=self.group)
                for x, part in zip(originals, flat.split([x.numel() for x in originals]), strict=True):
                    x.copy_(part.view_as(x))

    def _made(self, bucket: Bucket, place: int, parameter: nn.Parameter) -> None:
        """The hook: autograd has just made the gradient of this parameter. (It hands over the parameter itself.)"""
        if not self._reducing:
            return
        if (task := torch._C._current_graph_task_id()) != self._pass and self._running() is None:
            self._open(task)
            end = partial(self._finish)
            # Autograd keeps `end` until the pass ends, well or not: a pass that begins meanwhile is a part of this one.
            self._running = weakref.ref(end)
            torch.autograd.Variable._execution_engine.queue_callback(end)
        if place not in bucket.missing:
            raise ValueError(
                "a parameter got two gradients in one backward pass, as one that is used in two checkpoints; "
                "say use_reentrant=False to torch.utils.checkpoint"
            )
        bucket.put(place, self.scale)
        while self._next < len(self.buckets) and not self.buckets[self._next].missing:
            self._send(self.buckets[self._next])

    def _open(self, task: int | None) -> None:
        """A backward pass begins; one before that an error ended leaves nothing behind."""
        self._refuse_unmanaged()
        self._pass, self._next = task, 0
        for bucket in self.buckets:
            bucket.open()

    def _send(self, bucket: Bucket) -> None:
        """Start the reduction of a bucket and go on computing."""
        bucket.close(self.scale)
        bucket.work = distributed.all_reduce(bucket.buffer, group=self.group, async_op=True)
        if self.recorder is not None:
            self._record(bucket, f"bucket {self._next}")
        self._next += 1
        self.reductions += 1
        self.bytes_reduced += bucket.bytes

    def _finish(self) -> None:
        """The pass is over: send what was not complete, wait for everything, and leave the mean in `.grad`."""
        if self.recorder is not None and self._begin:
            self.recorder.mark("compute", "backward", self._begin)
        for bucket in self.buckets[self._next :]:
            self._send(bucket)
        for bucket in self.buckets:
            bucket.adopt()
        self._pass, self._begin, self._running = None, 0.0, lambda: None

    def _record(self, bucket: Bucket, name: str) -> None:
        begin, recorder = self.recorder.now(), self.recorder
        bucket.work.get_future().then(lambda _: recorder.mark("communication", name, begin))

    def _watched(self, function: Callable) -> Callable:
        """With a recorder, note when the backward pass of a result begins."""
        if self.recorder is None:
            return function

        @wraps(function if not isinstance(function, nn.Module) else function.forward)
        def noting(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if isinstance(result, Tensor) and result.requires_grad:
                result.register_hook(self._note_begin)
            return result

        return noting

    def _note_begin(self, _: Tensor) -> None:
        self._begin = self._begin or self.recorder.now()

    def _refuse_unmanaged(self) -> None:
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad and id(parameter) not in self._managed:
                raise ValueError(
                    f"{name} was frozen or absent when DataParallel was made and is trained now; its gradient would "
                    "differ from rank to rank: wrap the module anew after such a change"
                )
            if parameter.requires_grad and parameter.dtype != (before := self._managed[id(parameter)]):
                raise ValueError(
                    f"{name} was {before} when DataParallel was made and is {parameter.dtype} now: convert the module "
                    "first and wrap it then"
                )


def _refuse_unfit(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if getattr(part, "sparse", False):
            raise ValueError(f"{name or 'the module'} makes sparse gradients, which no bucket holds; use sparse=False")
    for parameter in module.parameters():
        hooks = (getattr(parameter, "_post_accumulate_grad_hooks", None) or {}).values()
        if any(isinstance(getattr(getattr(hook, "func", None), "__self__", None), DataParallel) for hook in hooks):
            raise ValueError(
                "the module is in a DataParallel already, and would be reduced twice; call unwrap() on that one first"
            )
