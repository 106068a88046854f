"""Weights from elsewhere: into the model exactly, or not at all."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from labkit.attention import holds

SHOWN = 5
GPT2_NAMES = {
    "wte.weight": "tokens.weight",
    "wpe.weight": "positions.weight",
    "ln_f": "norm",
    "h.": "blocks.",
    "ln_1": "norm1",
    "ln_2": "norm2",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.output",
    "mlp.c_fc": "feedforward.up",
    "mlp.c_proj": "feedforward.down",
    "lm_head": "head",
}


@torch.no_grad()
def load_state(model: nn.Module, state: Mapping[str, Tensor] | Any) -> None:
    """Copy a plain state dict into a model, every weight of both sides accounted for, or leave the model as it was.

    Numbers are converted to the model's own dtype. Of two names for one weight, such as a tied head and embedding, one
    is enough; if both come they must be equal.

    Raises:
        ValueError: naming missing, extra and wrongly shaped weights, the first few of each and how many.
    """
    own = model.state_dict(keep_vars=True)
    given = [name for name in state if name in own]
    supplied = {id(own[name]) for name in given}
    problems = [
        _list("missing", [name for name, weight in own.items() if id(weight) not in supplied]),
        _list("not in this model", [name for name in state if name not in own]),
        _list("of another shape", [_shapes(n, state[n], own[n]) for n in given if not _fits(state[n], own[n])]),
    ]
    if any(problems):
        raise ValueError(f"the weights do not fit this {type(model).__name__}: " + "; ".join(filter(None, problems)))
    _refuse_contradiction(own, state)
    for name in given:
        own[name].copy_(state[name])


def from_gpt2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of GPT-2, as `transformers` names them, with the names and shapes of a `Decoder`.

    The released files hold each matrix the other way round (its `Conv1D` computes x W, a `Linear` x Wᵀ) and, in some
    versions, the causal mask among the weights, which is left out.
    """
    found = {}
    for name, weight in state.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        ours = name.removeprefix("transformer.")
        for theirs, replacement in GPT2_NAMES.items():
            ours = ours.replace(theirs, replacement)
        found[ours] = weight.T if ".c_" in name and weight.ndim == 2 else weight
    return found


def refuse_broken(model: nn.Module, when: str = "now") -> None:
    """Refuse weights that are NaN or infinite; an accelerator, which would have to wait, is not asked.

    Raises:
        ValueError: naming the first such weight.
    """
    for name, weight in model.named_parameters():
        weight = weight.detach()
        # A sum is finite only if every number in it is, and costs a tenth of looking at each.
        if holds(weight, lambda weight: weight.sum().isfinite()):
            continue
        bad = int((~weight.isfinite()).sum())
        if bad:
            raise ValueError(
                f"{name} holds {bad} of {weight.numel()} numbers that are NaN or infinite {when}: "
                "load the weights again, or train with a lower learning rate"
            )


def _fits(given: Any, own: Tensor) -> bool:
    return isinstance(given, Tensor) and given.shape == own.shape


def _shapes(name: str, given: Any, own: Tensor) -> str:
    got = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    return f"{name} is {got}, expected {tuple(own.shape)}"


def _list(kind: str, found: list[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"{len(found)} {kind}: {', '.join(found[:SHOWN])}{more}" if found else ""


def _refuse_contradiction(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    first: dict[int, str] = {}
    for name in state:
        other = first.setdefault(id(own[name]), name)
        if other != name and not torch.equal(state[other], state[name]):
            raise ValueError(
                f"{other} and {name} are one weight in this model, but came with different values: "
                "build it with tied=False, or give one of the two"
            )
