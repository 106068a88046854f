"""What all optimizers of this package share: a rule for one parameter, applied to every parameter that has a gradient.

The names of arguments and of what is remembered are torch's, so that a state_dict of one can be loaded into the other.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from labkit.optimizers.averages import refuse_beta

BLOCK = 2**18  # elements: so many float32 of four tensors (4 MB) stay in the cache; smaller blocks cost more calls


class Rule(torch.optim.Optimizer):
    """An optimizer that is told by `update` what to do with one parameter; it also checks what it is given."""

    def __init__(self, params: Any, defaults: dict[str, Any]):
        refuse_settings(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own.

        Raises:
            ValueError: if a setting is out of its range, or if a parameter is complex.
        """
        refuse_settings({**self.defaults, **param_group})
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.is_complex():
                self.param_groups.pop()
                raise ValueError("complex parameters are not supported: optimize torch.view_as_real of them")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient, and return the loss of the closure, if there is one.

        Raises:
            ValueError: if a gradient is sparse; nothing has been changed then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for parameter, group in list(self._with_gradients()):
            # Turned round before anything is remembered: momentum, too, must go uphill.
            gradient = -parameter.grad if group.get("maximize", False) else parameter.grad
            self.update(parameter, gradient, group)
        return loss

    def _with_gradients(self) -> Iterable[tuple[Tensor, dict[str, Any]]]:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:  # frozen, or not used this time: no state either
                    continue
                if parameter.grad.is_sparse:
                    raise ValueError("sparse gradients are not supported: build the embedding with sparse=False")
                yield parameter, group

    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Change one parameter and `self.state[parameter]`, both in place."""
        raise NotImplementedError


def next_step(state: dict[str, Any]) -> int:
    """Count a step and return its number, 1 for the first; a tensor on the CPU keeps it, as in torch."""
    state["step"] = state.get("step", torch.tensor(0.0, dtype=torch.float32)) + 1
    return int(state["step"])


def remembered(state: dict[str, Any], name: str, parameter: Tensor, start: float | int = 0) -> Tensor:
    """What the state remembers by this name, made on first use."""
    if name not in state:
        state[name] = torch.full_like(parameter, start, memory_format=torch.preserve_format)
    return state[name]


def blocks(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """The same elements of several tensors, a block at a time, so that they stay in the CPU's cache between operations.

    On an accelerator, and where the elements do not lie one after the other, the whole tensors are the only block.
    """
    if tensors[0].device.type != "cpu" or not all(tensor.is_contiguous() for tensor in tensors):
        return [tensors]
    # Detached, since autograd, which has nothing to do here, would look at every operation.
    if tensors[0].numel() <= BLOCK:  # in a small model the splitting costs as much as the step
        return [tuple(tensor.detach() for tensor in tensors)]
    return zip(*(tensor.detach().view(-1).split(BLOCK) for tensor in tensors), strict=True)


def refuse_settings(settings: dict[str, Any]) -> None:
    """Raise ValueError if a setting of an optimizer is out of its range."""
    for name in ("lr", "lr_decay", "eps", "weight_decay", "initial_accumulator_value", "ns_steps"):
        value = settings.get(name, 0)
        if not 0 <= value < float("inf"):  # NaN is refused, too
            raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
    for name in ("alpha", "momentum"):
        refuse_beta(settings.get(name, 0), name)
    betas = settings.get("betas", (0, 0))
    if len(betas) != 2:
        raise ValueError(f"betas must be two numbers, got {betas}")
    for place, beta in enumerate(betas):
        refuse_beta(beta, f"betas[{place}]")
