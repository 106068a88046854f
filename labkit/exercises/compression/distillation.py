"""An exercise on soft targets: the loss of a student, with its two temperatures and its T²."""

from labkit.exercises.attention.softmax import random_tensor
from labkit.workbench.checking import Exercise, WrongAnswer
from labkit.workbench.later import Later

torch = Later("torch")
NOTEBOOK = "20_smaller_models"


def distillation_loss(student, teacher, labels, temperature, soft):
    """T² KL(teacher ‖ student) at T, and the cross entropy with labels at 1."""
    p = torch.softmax(teacher / temperature, -1)
    log_p = torch.log_softmax(teacher / temperature, -1)
    log_q = torch.log_softmax(student / temperature, -1)
    divergence = (p * (log_p - log_q)).sum(-1).mean()
    hard = -torch.log_softmax(student, -1).gather(1, labels[:, None]).mean()
    return soft * temperature**2 * divergence + (1 - soft) * hard


def _loss(student, teacher, labels, soft, *, factor, own, hers, hard_at=1.0, reverse=False):
    """The loss with each of its choices open: the factor, both temperatures, that of the labels, the direction."""
    log_q, log_p = torch.log_softmax(student / own, -1), torch.log_softmax(teacher / hers, -1)
    if reverse:
        log_p, log_q = log_q, log_p
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    hard = -torch.log_softmax(student / hard_at, -1).gather(1, labels[:, None]).mean()
    return soft * factor * divergence + (1 - soft) * hard


def _case(draw, rows, classes, temperature, soft):
    labels = torch.from_numpy(draw.integers(0, classes, rows))
    return 3 * random_tensor(draw, rows, classes), 3 * random_tensor(draw, rows, classes), labels, temperature, soft


DISTILLATION_LOSS = Exercise(
    id="compression.distillation_loss",
    notebook=NOTEBOOK,
    statement=(
        "The loss of a student: `soft` parts of T² · KL(teacher ‖ student), both softmaxes at `temperature` T, and "
        "1 − `soft` parts of the cross entropy with `labels`, at temperature 1. `student` and `teacher` are logits "
        "(rows, classes); both parts are means over the rows, in nats."
    ),
    difficulty=2,
    minutes=10,
    hints=(
        "KL(p ‖ q) = Σ p (log p − log q), with p the teacher's and q the student's probabilities, summed over classes "
        "and averaged over rows. Which temperature does each of the three softmaxes have?",
        "`log_q = torch.log_softmax(student / temperature, -1)`, log_p likewise from the teacher, and p its exp. "
        "T² multiplies the divergence only; the labels' log_softmax is that of `student` itself.",
    ),
    solution=distillation_loss,
    wrong=(
        WrongAnswer(
            "without T²",
            lambda s, t, labels, T, soft: _loss(s, t, labels, soft, factor=1, own=T, hers=T),
            "You left T² out. The gradient of the soft part falls as 1/T², so at T = 10 the labels would weigh a "
            "hundred times as much as you asked for.",
        ),
        WrongAnswer(
            "T instead of T²",
            lambda s, t, labels, T, soft: _loss(s, t, labels, soft, factor=T, own=T, hers=T),
            "You multiplied by T. One 1/T comes from the derivative of z/T, another because the probabilities "
            "themselves come nearer to each other: T².",
        ),
        WrongAnswer(
            "student at temperature 1",
            lambda s, t, labels, T, soft: _loss(s, t, labels, soft, factor=T**2, own=1, hers=T),
            "Your student answers at temperature 1 and its teacher at T. Then a student that copies the teacher's "
            "logits exactly still has a loss: both must be at T.",
        ),
        WrongAnswer(
            "labels at T, too",
            lambda s, t, labels, T, soft: _loss(s, t, labels, soft, factor=T**2, own=T, hers=T, hard_at=T),
            "Your labels are compared at temperature T. The student will be used at 1, so its cross entropy with the "
            "labels is taken there.",
        ),
        WrongAnswer(
            "the divergence backwards",
            lambda s, t, labels, T, soft: _loss(s, t, labels, soft, factor=T**2, own=T, hers=T, reverse=True),
            "You took KL(student ‖ teacher). The mean is over what the teacher thinks likely: p is hers, "
            "Σ p (log p − log q).",
        ),
        WrongAnswer(
            "parts exchanged",
            lambda s, t, labels, T, soft: _loss(s, t, labels, 1 - soft, factor=T**2, own=T, hers=T),
            "You exchanged the parts: `soft` belongs to the teacher, 1 − `soft` to the labels.",
        ),
    ),
    cases=lambda draw: [
        _case(draw, 4, 3, 2.0, 0.7),
        _case(draw, 1, 2, 4.0, 0.3),
        _case(draw, 5, 6, 1.0, 0.4),
        _case(draw, 3, 10, float(draw.uniform(1.5, 9)), 1.0),
        _case(draw, 3, 4, float(draw.uniform(1.5, 9)), float(draw.uniform(0.1, 0.45))),
    ],
)
