"""One vector of parameters on one rank: all of it or the shard alone, the gradients that arrive, and who frees what."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from labkit.zero.exchanging import Exchange
from labkit.zero.partitioning import Flat


@dataclass
class Meter:
    """Bytes that are held for a while: now, and at most."""

    now: int = 0
    most: int = 0

    def add(self, size: int) -> None:
        """Count bytes that were taken, or, negative, given back."""
        self.now += size
        self.most = max(self.most, self.now)


class Shard:
    """A `Flat` on this rank.

    `full` holds the parameters, of which the model's are views; `own` is the shard of this rank, a view of `full` or,
    when `full` is given back between uses, memory of its own. `weights` is what the optimizer gets: `own` itself, or a
    copy in more precision (`master`).
    """

    def __init__(self, flat: Flat, exchange: Exchange, stage: int, master: torch.dtype | None, meters: Any):
        self.flat, self.exchange, self.stage = flat, exchange, stage
        self.held, self.arriving = meters  # of gathered parameters, and of gradients before they are reduced
        self.full = flat.join([parameter.data for parameter in flat.parameters])
        exchange.broadcast(self.full)  # all begin with the weights of rank 0
        begin, end = flat.bounds(exchange.rank)
        self.slice = slice(begin, end)
        self.own = self.full[self.slice].clone() if stage == 3 else self.full[self.slice]
        exact = master is None or master == self.own.dtype or flat.group is None
        self.weights = nn.Parameter(self.own if exact else self.own.to(master), requires_grad=flat.group is not None)
        self.present = True
        self.gradients: Tensor | None = None  # of the whole vector, as far as they have arrived
        self.gradient: Tensor | None = None  # of the shard, the mean over the ranks
        self.arrived: set[int] = set()  # in this backward pass
        self.seen: set[int] = set()  # since zero_grad
        self._views: Any = None
        self._finish: Callable[[], Tensor] | None = None
        self.held.add(self.full.nbytes)
        self._point()
        if stage == 3:
            self.release()

    # parameters -----------------------------------------------------------------------------------------------------

    def gather(self) -> None:
        """Have all parameters here; nothing if they are."""
        if self.present:
            return
        # The same storage, not a new one: what autograd has saved are views of it.
        self.full.untyped_storage().resize_(self.full.nbytes)
        self.held.add(self.full.nbytes)
        self.exchange.all_gather(self.full, self.own)
        self.present = True
        self._point()

    def release(self) -> None:
        """Give back all parameters but the shard."""
        if not self.present:
            return
        for parameter in self.flat.parameters:
            parameter.data = self.own.new_empty(0)  # so that a use of it is refused by its shape, and not garbage
        self.full.untyped_storage().resize_(0)
        self.held.add(-self.full.nbytes)
        self.present = False

    def share(self) -> None:
        """After the optimizer's step: bring the new weights to the shard, and to everybody who keeps them."""
        if self.weights.data_ptr() != self.own.data_ptr():
            self.own.copy_(self.weights.data)
        if self.present:
            self.exchange.all_gather(self.full, self.own)

    def take(self) -> None:
        """Make the shard what the parameters are now; they were changed from outside."""
        if self.own.data_ptr() != self.full[self.slice].data_ptr():
            self.own.copy_(self.full[self.slice])
        if self.weights.data_ptr() != self.own.data_ptr():
            self.weights.data.copy_(self.own)

    def _point(self) -> None:
        for parameter, view in zip(self.flat.parameters, self.flat.views(self.full), strict=True):
            parameter.data = view

    # gradients ------------------------------------------------------------------------------------------------------

    def collect(self, index: int) -> None:
        """Move a gradient that has just been accumulated into its place in the vector."""
        parameter = self.flat.parameters[index]
        self._open()
        view = self._views[index]
        if self.stage == 1:
            self._keep(parameter, view)
        elif index in self.arrived:  # a second backward pass before the first was reduced
            view.add_(parameter.grad)
        else:
            view.copy_(parameter.grad)
        if self.stage > 1:
            parameter.grad = None  # freed as the backward pass goes
        self.arrived.add(index)
        self.seen.add(index)

    def _open(self) -> None:
        """Make room for the gradients of the whole vector."""
        if self.gradients is None:
            self.gradients = self.own.new_empty(self.flat.padded)
            self.gradients[self.flat.size :] = 0
            self._views = self.flat.views(self.gradients)
            self.arriving.add(self.gradients.nbytes)

    def _keep(self, parameter: nn.Parameter, view: Tensor) -> None:
        """Stage 1: the gradient lives in the vector, and the next backward pass adds to it there."""
        if parameter.grad.data_ptr() == view.data_ptr():
            if self.gradient is not None or self._finish is not None:
                raise ValueError(
                    "gradients were reduced already: call zero_grad() before the next backward pass, and say how many "
                    "passes a step has with micro_batches"
                )
            return
        self.gradient = None  # if there is one, somebody else has dropped the gradients: a new beginning
        view.copy_(parameter.grad)
        parameter.grad = view

    @property
    def complete(self) -> bool:
        """Whether every parameter's gradient has arrived."""
        return len(self.arrived) == len(self.flat.parameters)

    @property
    def missing(self) -> set[int]:
        """The parameters that got no gradient since zero_grad, Zero's or, in stage 1, the model's own."""
        if self.stage == 1:
            return {index for index, parameter in enumerate(self.flat.parameters) if parameter.grad is None}
        return set(range(len(self.flat.names))) - self.seen

    def begin_reduce(self) -> None:
        """Send the gradients to their owners; what has not arrived counts as zero."""
        self._open()
        for index in self.missing if self.stage == 1 else set(range(len(self._views))) - self.arrived:
            self._views[index].zero_()
        self._finish = self.exchange.reduce_scatter(self.gradients)
        self.arrived.clear()

    def end_reduce(self) -> None:
        """Wait for the mean of the shard, add it to what earlier backward passes left, and free the rest."""
        if self._finish is None:
            return
        mean, self._finish = self._finish(), None
        if self.stage == 1:
            self.gradient = mean  # in its place in the vector
            return
        self.arriving.add(-self.gradients.nbytes)
        self.gradients = self._views = None
        self.gradient = mean.clone() if self.gradient is None else self.gradient.add_(mean)

    def forget(self) -> None:
        """Drop all gradients."""
        self.end_reduce()  # messages that are on their way must arrive
        for parameter in self.flat.parameters:
            parameter.grad = None
        self.gradient = self.weights.grad = None
        self.seen.clear()
        self.arrived.clear()
