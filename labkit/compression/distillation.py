"""What a small model learns from a large one: soft targets and their temperature, hidden states, attention maps.

A teacher's wrong answers say which mistakes are small. Temperature T makes them visible, and makes their gradient
small, by 1/T²: the loss is multiplied by T² so that its weight beside other losses stays what it was.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from labkit.attention import holds

COLDEST, HOTTEST = 1e-6, 1e6  # beyond, logits over T, or T² times the loss, leave float32
Logits = Float[Tensor, "*rows classes"]
States = Float[Tensor, "batch tokens width"]
Maps = Float[Tensor, "batch heads queries keys"]


def soft_targets(logits: Logits, temperature: float | int | Any = 1.0) -> Logits:
    """The probabilities of a softmax at a temperature: 1 as ever, higher ones flatter, towards 1/N for all.

    >>> soft_targets(torch.tensor([4.0, 0.0]), temperature=4).round(decimals=3)
    tensor([0.7310, 0.2690])

    Raises:
        ValueError: for a temperature that is not above 0, or logits that are NaN.
    Source: Hinton, Vinyals & Dean (2015), "Distilling the knowledge in a neural network", eq. 1.
    """
    _check(logits, logits, temperature)
    return torch.softmax(logits / temperature, dim=-1)


def soft_loss(
    student: Logits, teacher: Logits | Any, temperature: float | int | Any = 1.0, *, squared: bool = True
) -> Float[Tensor, ""]:
    """T² times the divergence KL(teacher ‖ student), both at temperature T, the mean over rows, in nats.

    It differs from the cross entropy with soft targets by the teacher's entropy, which has no gradient, and is 0 when
    both agree. `squared=False` leaves T² out. Logits of 16 bits are computed with in float32.

    Raises:
        ValueError: for other shapes, no rows, a temperature that is not above 0, or a teacher that is NaN.
    Source: Hinton et al. (2015), section 2.
    """
    _check(student, teacher, temperature)
    wide = (z.to(torch.promote_types(z.dtype, torch.float32)) for z in (student, teacher.detach()))
    ours, theirs = (torch.log_softmax(z / temperature, -1).flatten(0, -2) for z in wide)
    if not len(ours):
        raise ValueError(f"there are no rows to learn from: the logits are {tuple(student.shape)}")
    loss = functional.kl_div(ours, theirs, log_target=True, reduction="batchmean")
    return loss * temperature**2 if squared else loss


def soft_gradient(student: Logits, teacher: Logits | Any, temperature: float | int | Any = 1.0) -> Logits:
    """The gradient of one row's soft cross entropy by the student's logits z, without T²: (q − p) / T.

    −Σ pᵢ log qᵢ with log qᵢ = zᵢ/T − log Σ exp(zⱼ/T): its derivative by zᵢ is −pᵢ/T + qᵢ/T, as Σ p = 1.

    Raises:
        ValueError: as for `soft_loss`.
    Source: Hinton et al. (2015), eq. 2.
    """
    _check(student, teacher, temperature)
    return (soft_targets(student, temperature) - soft_targets(teacher, temperature)) / temperature


def hot_gradient(student: Logits, teacher: Logits | Any, temperature: float | int | Any) -> Logits:
    """What `soft_gradient` comes near when T is large beside the logits: (z − v) / (N T²), of centred logits.

    exp(x) ≈ 1 + x makes softmax(z/T) ≈ (1 + zᵢ/T) / N for logits with mean 0; the difference over T is this.

    >>> hot_gradient(torch.tensor([1.0, -1.0]), torch.tensor([3.0, -3.0]), 10)
    tensor([-0.0100,  0.0100])

    Raises:
        ValueError: as for `soft_loss`.
    Source: Hinton et al. (2015), eq. 4.
    """
    _check(student, teacher, temperature)
    z, v = (logits - logits.mean(-1, keepdim=True) for logits in (student, teacher))
    return (z - v) / (student.shape[-1] * temperature**2)


def distillation_loss(
    student: Float[Tensor, "rows classes"],
    teacher: Float[Tensor, "rows classes"] | Any,
    labels: Int[Tensor, " rows"],
    *,
    temperature: float | int | Any = 2.0,
    soft: float | int | Any = 0.5,
) -> Float[Tensor, ""]:
    """`soft` parts of the soft loss at temperature T, times T², and the rest cross entropy with labels at 1.

    Raises:
        ValueError: for a part outside 0 to 1, a label that is no class, and as for `soft_loss`.
    Source: Hinton et al. (2015), section 2.
    """
    if not isinstance(soft, float | int) or not 0 <= soft <= 1:
        raise ValueError(f"soft = {soft!r}: the part of the soft loss must be 0 to 1")
    if not holds(labels, lambda right: ((right >= 0) & (right < student.shape[-1])).all()):
        raise ValueError(f"labels must be classes from 0 to {student.shape[-1] - 1}, got some outside")
    hard = functional.cross_entropy(student, labels)
    return soft * soft_loss(student, teacher, temperature) + (1 - soft) * hard


def hidden_loss(
    student: States,
    teacher: States | Any,
    projection: nn.Module | None = None,
    mask: Bool[Tensor, "batch tokens"] | Any = None,
) -> Float[Tensor, ""]:
    """The mean square difference of hidden states over the real tokens.

    Args:
        projection: takes the student's width to the teacher's, and is trained with the student; it is thrown away
            afterwards. Not needed when the widths agree.
        mask: which tokens are real.

    Raises:
        ValueError: if the shapes differ (after the projection), or no token is real.
    Source: Jiao et al. (2020), "TinyBERT", eq. 8.
    """
    ours = student if projection is None else projection(student)
    if ours.shape != teacher.shape:
        raise ValueError(
            f"the student's states are {tuple(ours.shape)}, the teacher's {tuple(teacher.shape)}: give a projection, "
            f"nn.Linear({student.shape[-1]}, {teacher.shape[-1]}), and the same tokens to both"
        )
    difference = ours - teacher.detach()
    if mask is None:
        return difference.square().mean()
    _check_mask(mask, student)
    return difference.masked_fill(~mask[..., None], 0).square().sum() / (mask.sum() * difference.shape[-1])


def attention_loss(
    student: Maps, teacher: Maps | Any, mask: Bool[Tensor, "batch tokens"] | Any = None
) -> Float[Tensor, ""]:
    """The mean square difference of attention maps over heads, and the queries and keys that are real tokens.

    For probabilities or, as TinyBERT prefers, the scores before the softmax; where both are −∞ nothing differs. Where
    queries and keys are not the same tokens, `mask` is that of the queries.

    Raises:
        ValueError: if the shapes differ, as with another number of heads; or no token is real.
    Source: Jiao et al. (2020), eq. 7.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"the student's maps are {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}: a map is compared "
            "head by head, so both need as many heads, or take the mean over heads of both first"
        )
    difference = torch.where(student == teacher, 0.0, student - teacher.detach())
    if mask is None:
        return difference.square().mean()
    _check_mask(mask, student[:, 0])
    heads, queries, keys = student.shape[1:]
    pairs = mask[:, None, :, None] & (mask[:, None, None, :] if queries == keys else mask.new_ones(keys))
    return difference.masked_fill(~pairs, 0).square().sum() / (heads * pairs.sum())


def layers_to_match(students: int, teachers: int) -> list[int]:
    """Which point of the teacher's stream each of the student's learns from, 0 being the embeddings: g(m) = m · M/N.

    >>> layers_to_match(2, 6)
    [0, 3, 6]

    Raises:
        ValueError: if the student's layers do not divide the teacher's.
    Source: Jiao et al. (2020), sections 3.1 and 4.2 ("g(m) = 3 × m" for 4 layers of 12).
    """
    if not 0 < students <= teachers or teachers % students:
        raise ValueError(f"{students} layers do not divide the {teachers} of the teacher: choose the layers by hand")
    return [m * (teachers // students) for m in range(students + 1)]


def _check_mask(mask: Tensor, states: Tensor) -> None:
    if mask.shape != states.shape[:2]:
        raise ValueError(f"the mask is {tuple(mask.shape)}, the tokens {tuple(states.shape[:2])}: one for each token")
    if not holds(mask, lambda real: real.any()):
        raise ValueError("no token is real: the mask is False everywhere")


def _check(student: Tensor, teacher: Tensor, temperature: float | int | Any) -> None:
    if not isinstance(temperature, float | int) or not COLDEST <= temperature <= HOTTEST:
        limits = f"({COLDEST:g} to {HOTTEST:g})"
        raise ValueError(f"temperature = {temperature!r}: it must be a number above 0 {limits}; 1 is the plain softmax")
    if student.shape != teacher.shape:
        raise ValueError(
            f"the student's logits are {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}: both must answer "
            "the same questions with the same classes"
        )
    for who, logits in (("the student's", student), ("the teacher's", teacher)):
        if not holds(logits, lambda z: z.isfinite().all()):
            raise ValueError(f"{who} logits are NaN or infinite: nothing can be learned from them")
