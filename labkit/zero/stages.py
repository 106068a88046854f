"""ZeRO from nothing: data-parallel training in which no rank keeps what another one keeps already.

    zero = Zero(model, torch.optim.AdamW, stage=2, lr=1e-3)
    model.loss(ids, targets).backward()          # every rank with its own part of the batch
    zero.clip(1.0)
    zero.step()
    zero.zero_grad()
    print(zero.report())

Stage 1 splits the states of the optimizer, stage 2 also the gradients, stage 3 also the parameters.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from labkit.zero.exchanging import Exchange
from labkit.zero.gathering import Unit, find_blocks, homes, hook_block, hook_entries
from labkit.zero.partitioning import Flat, buckets
from labkit.zero.probing import refuse_whole
from labkit.zero.reports import Report, measured
from labkit.zero.shards import Meter, Shard
from labkit.zero.signatures import plain, refuse_changed, refuse_uneven, sorted_into_groups
from labkit.zero.whole import begin_alike, guard_states


class Zero:
    """Training with shards, equal to training without: `optimizer_class` never learns that it sees only a shard.

    Args:
        optimizer_class: torch's, ours, or anything called like them that treats every element by itself.
        stage: 1, 2 or 3.
        groups: the optimizer's, as torch takes them: dictionaries with "params"; one with all if left out.
        master: torch.float32 for a model in half precision: the owner keeps a precise copy of its shard.
        bucket_mb: stage 2 reduces the gradients of so many megabytes of parameters at once.
        micro_batches: stage 1 reduces while the last of so many backward passes goes on; in `step` if left out.
        blocks: modules whose parameters stage 3 gathers together; the members of ModuleLists if left out.
        entries: methods of the model by which stage 3 is told that it is used.
        unused: "refuse" a step when a trainable parameter got no gradient, or take it as "zero".
        group: of torch.distributed; all ranks if left out, a world of 1 if there are none.

    Attributes:
        optimizer: of this rank's shards; a learning rate's scheduler goes there.

    Raises:
        ValueError: for another stage, an optimizer that needs whole parameters, a model that is in another Zero, or
            ranks whose models or settings differ.
    Source: Rajbhandari et al. (2020), "ZeRO: memory optimizations toward training trillion parameter
            models", section 5.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer_class: Callable[..., Any],
        *,
        stage: int = 2,
        groups: Sequence[dict[str, Any]] | None = None,
        master: torch.dtype | None = None,
        bucket_mb: float | int = 25,
        micro_batches: int | None = None,
        blocks: Sequence[nn.Module] | None = None,
        entries: Sequence[str] = ("forward", "loss"),
        unused: str = "refuse",
        group: Any = None,
        **settings: Any,
    ):
        if stage not in (1, 2, 3) or unused not in ("refuse", "zero"):
            raise ValueError(f"stage must be 1, 2 or 3 and unused 'refuse' or 'zero', got {stage!r} and {unused!r}")
        self.model, self.stage, self.unused = model, stage, unused
        self.micro_batches = micro_batches
        self.exchange = Exchange(group)
        refuse_whole(optimizer_class, settings)
        self.groups = sorted_into_groups(model, groups)
        same = {"stage": stage, "master": master, "bucket_mb": bucket_mb, "micro_batches": micro_batches}
        refuse_uneven(self.exchange, model, self.groups, {**same, "unused": unused, **plain(settings)})
        self._names = [(name, parameter, parameter.requires_grad) for name, parameter in model.named_parameters()]
        self._meters = Meter(), Meter()
        self._hooks: list[Any] = []
        self.units: list[Unit] = []
        self.shards = self._gathered(blocks, entries, master) if stage == 3 else self._kept(bucket_mb, master)
        self.trained = [shard for shard in self.shards if shard.flat.group is not None]
        self.optimizer = optimizer_class(self._optimizer_groups(), **settings)
        self._next, self._in_pass, self._passes, self._stepped = 0, False, 0, False
        begin_alike(self.exchange, model, self.shards)
        guard_states(model, self.shards)
        self._watch_gradients()
        for meter in self._meters:
            meter.most = meter.now
        if self.exchange.launched and self.exchange.ranks == 1:  # perhaps a mistake; without any group it is on purpose
            print("ZeRO in a world of 1: it works, and nothing is split")

    # building -------------------------------------------------------------------------------------------------------

    def _kept(self, bucket_mb: float | int, master: torch.dtype | None) -> list[Shard]:
        """Stages 1 and 2: vectors of all trainable parameters, in the order in which gradients arrive."""
        named = [(name, parameter) for name, parameter, trained in self._names if trained]
        chosen = [group["params"] for group in self.groups]
        flats = buckets(named, chosen, self.exchange.ranks, bucket_mb if self.overlaps else None)
        return [Shard(flat, self.exchange, self.stage, master, self._meters) for flat in flats]

    def _gathered(self, blocks: Any, entries: Sequence[str], master: torch.dtype | None) -> list[Shard]:
        """Stage 3: vectors of one block each, frozen ones included; the backward pass begins with the last block."""
        chosen = [group["params"] for group in self.groups]
        shards: list[Shard] = []
        for name, module, named in homes(self.model, find_blocks(self.model, blocks)):
            flats: list[Flat] = buckets(named, chosen, self.exchange.ranks, None)
            here = [Shard(flat, self.exchange, 3, master, self._meters) for flat in flats]
            unit = Unit(name, here, self._begin_pass)
            if name == "root":
                hook_entries(unit, module, entries)
                shards = shards + here
            else:
                self._hooks += hook_block(unit, module)
                shards = here + shards
            self.units.append(unit)
        return shards

    def _optimizer_groups(self) -> list[dict[str, Any]]:
        owned = [[s.weights for s in self.trained if s.flat.group == i] for i in range(len(self.groups))]
        return [{**group, "params": mine} for group, mine in zip(self.groups, owned, strict=True)]

    def _watch_gradients(self) -> None:
        unit_of = {id(shard): unit for unit in self.units for shard in unit.shards}
        for _, parameter, _ in self._names:
            parameter.in_zero = True
        for shard in self.trained:
            for index, parameter in enumerate(shard.flat.parameters):
                hook = self._arrival(shard, index, unit_of.get(id(shard)))
                self._hooks.append(parameter.register_post_accumulate_grad_hook(hook))

    @property
    def overlaps(self) -> bool:
        """Whether gradients are sent while the backward pass goes on."""
        return self.stage > 1 or self.micro_batches is not None

    # during the backward pass ---------------------------------------------------------------------------------------

    def _arrival(self, shard: Shard, index: int, unit: Unit | None) -> Callable[[Tensor], None]:
        def arrived(parameter: Tensor) -> None:  # the hook is given the parameter; its gradient is parameter.grad
            if self.overlaps:
                self._begin_pass()
            shard.collect(index)
            if not self.overlaps:
                return
            if unit is not None:
                unit.note_arrival()
            if self.stage > 1 or self._passes == self.micro_batches:
                self._reduce_complete()

        return arrived

    def _begin_pass(self) -> None:
        if self._in_pass:
            return
        if self._stepped and self.stage > 1:  # a model's own zero_grad finds nothing to drop here
            raise ValueError("gradients of the last step are still there: call Zero's zero_grad() after each step")
        self._in_pass, self._passes = True, self._passes + 1
        if self.stage == 1:  # what arrived in earlier passes is not what this one brings
            for each in self.trained:
                each.arrived.clear()
        torch.autograd.Variable._execution_engine.queue_callback(self._end_pass)

    def _reduce_complete(self) -> None:
        """Send off what is complete, always in the same order: every rank must send and expect the same."""
        while self._next < len(self.trained) and self.trained[self._next].complete:
            self._send(self.trained[self._next])

    def _send(self, shard: Shard) -> None:
        if self._next and self.stage > 1:
            self.trained[self._next - 1].end_reduce()  # at most one is on its way, so that little memory is held
        shard.begin_reduce()
        self._next += 1

    def _end_pass(self) -> None:
        """The backward pass is over: reduce what is left, and keep only shards."""
        self._in_pass = False
        if self.stage == 1:  # the rest, if any, in `reduce`
            return
        for shard in self.trained[self._next :]:
            self._send(shard)
        if self.trained:
            self.trained[-1].end_reduce()
        self._next = 0
        for unit in self.units:
            unit.leave()

    # the step -------------------------------------------------------------------------------------------------------

    def reduce(self) -> None:
        """Have the mean gradient of every shard at its owner; `clip` and `step` call this."""
        refuse_changed(self.model, self._names, self.shards)
        if self._in_pass:
            raise ValueError("a backward pass ended in an error: call zero_grad() and begin the step anew")
        if self.unused == "refuse":
            self._refuse_unused()
        if self.stage == 1:
            for shard in self.trained[self._next :]:
                if shard.gradient is None:
                    shard.begin_reduce()
            for shard in self.trained:
                shard.end_reduce()
            self._next = 0
        if any(shard.gradient is None for shard in self.trained):
            raise ValueError("there are no gradients: call backward() before clip() and step()")

    def clip(self, most: float | int) -> Tensor:
        """Scale all gradients so that their norm, over all shards of all ranks, is at most so much; the norm before."""
        self.reduce()
        norms = [torch.linalg.vector_norm(each.gradient, dtype=exact(each.gradient)) for each in self.trained]
        norm = self.exchange.total(torch.stack(norms).square().sum()).sqrt()
        scale = (most / (norm + 1e-6)).clamp(max=1.0)
        for shard in self.trained:
            shard.gradient.mul_(scale.to(shard.gradient.dtype))
        return norm

    @torch.no_grad()
    def step(self) -> None:
        """Change the weights: every rank its own shard, which it then sends to those who keep a copy.

        Raises:
            ValueError: if the model's parameters are no longer those that were split, or one got no gradient.
        """
        self.reduce()
        for shard in self.trained:
            shard.weights.grad = shard.gradient.to(shard.weights.dtype)
        self.optimizer.step()
        self._passes, self._stepped = 0, True
        for shard in self.trained:
            shard.weights.grad = None
            shard.share()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, also those of a backward pass that ended in an error; they are None then in any case."""
        self._passes, self._next, self._in_pass, self._stepped = 0, 0, False, False
        for unit in self.units:
            unit.leave()
        for shard in self.shards:
            shard.forget()

    def _refuse_unused(self) -> None:
        for shard in self.trained:
            for index in shard.missing:
                raise ValueError(
                    f"{shard.flat.names[index]} got no gradient: freeze it before Zero is built, use it in the loss, "
                    "or take missing gradients as zero with Zero(…, unused='zero')"
                )

    # looking ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def whole(self) -> Iterator[nn.Module]:
        """All parameters on every rank for a while; what is written into them is kept. Every rank must come here."""
        released = [shard for shard in self.shards if not shard.present]
        for shard in self.shards:
            shard.gather()
        try:
            yield self.model
        finally:
            for shard in self.shards:
                shard.take()
            for shard in released:
                shard.release()

    @property
    def traffic(self) -> dict[str, int]:
        """Bytes that this rank has sent, by collective."""
        return dict(self.exchange.sent)

    def report(self) -> Report:
        """What lies in the memory of this rank now, counted from its tensors."""
        return measured(self)


def exact(tensor: Tensor) -> torch.dtype:
    """The precision in which squares neither overflow nor vanish: float32 for half precision."""
    return torch.promote_types(tensor.dtype, torch.float32)
