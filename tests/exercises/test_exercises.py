"""Every exercise is proven both ways: its solution passes, the hole is "not started", each known mistake is refused."""

import math
import subprocess
import sys

import pytest

from labkit.workbench.checking import Exercise, all_exercises, find, fresh_cases, mark, prove
from labkit.workbench.showing import source_of

TENSOR_NOTEBOOKS = ("06", "07", "08", "09", "10", "16", "17", "18", "20")
WITH_TENSORS = [e for e in all_exercises() if e.kind == "function" and e.notebook.startswith(TENSOR_NOTEBOOKS)]


def ready(exercise):
    """Skip where the exercise works on tensors and torch is not installed."""
    if hasattr(sys.modules[exercise.solution.__module__], "torch"):
        pytest.importorskip("torch")


@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: e.id)
def test_the_solution_passes_the_hole_waits_and_each_known_mistake_is_named(exercise):
    ready(exercise)
    assert prove(exercise) == []


@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: e.id)
def test_a_constant_is_not_taken_for_an_answer(exercise):
    ready(exercise)
    answer = -7 if exercise.kind == "value" else lambda *arguments: -7
    assert mark(exercise, answer).status == "wrong"


def in_single_precision(value):
    """The same answer as torch's default would give it, in tensors of float32."""
    if isinstance(value, list | tuple):
        return type(value)(in_single_precision(item) for item in value)
    return value.float() if hasattr(value, "is_floating_point") and value.is_floating_point() else value


@pytest.mark.parametrize("exercise", WITH_TENSORS, ids=lambda e: e.id)
def test_the_right_numbers_in_single_precision_are_right(exercise):
    ready(exercise)
    assert mark(exercise, lambda *case: in_single_precision(exercise.solution(*case))).status == "correct"


def in_the_wrong_place(value):
    """Numbers like those of the answer, of the same shapes, and wrong."""
    if isinstance(value, list | tuple):
        return type(value)(in_the_wrong_place(item) for item in value)
    if value is None or isinstance(value, str):  # the numbers beside it are wrong
        return value
    return value.flip(-1) + 1 if hasattr(value, "flip") and value.ndim else float(value) + 1


@pytest.mark.parametrize("exercise", WITH_TENSORS, ids=lambda e: e.id)
def test_the_numbers_in_the_wrong_place_get_a_sentence_and_no_error(exercise):
    ready(exercise)

    verdict = mark(exercise, lambda *case: in_the_wrong_place(exercise.solution(*case)))
    assert verdict.status == "wrong" and "expected" in verdict.message and len(verdict.message) < 1500


def test_every_id_says_its_topic_and_no_id_comes_twice():
    ids = [exercise.id for exercise in all_exercises()]
    assert len(ids) == len(set(ids))
    assert all(isinstance(e, Exercise) and e.id.count(".") == 1 for e in all_exercises())


@pytest.mark.parametrize(
    ("notebook", "least"),
    [
        ("00_start_here", 2),
        ("02_ngram_models", 8),
        ("06_attention_math", 12),
        ("07_transformer", 10),
        ("07_weights", 4),
        ("08_adam_derivation", 12),
        ("09_training_loop", 10),
        ("10_pretraining", 8),
        ("13_data_cleaning", 12),
        ("13_data_pipelines", 2),
        ("16_data_parallel", 10),
        ("17_model_parallel", 10),
        ("18_zero_and_deepspeed", 10),
        ("20_compression", 14),
        ("20_smaller_models", 8),
    ],
)
def test_the_notebooks_have_enough_exercises(notebook, least):
    assert [exercise.notebook for exercise in all_exercises()].count(notebook) >= least


def test_an_answer_of_thousands_of_digits_is_marked_without_being_spelled():
    exercise = next(e for e in all_exercises() if e.id == "workbench.sequences")
    assert "swapped" in mark(exercise, 3**10_000).message
    assert mark(exercise, 7**10_000).status == "wrong"


def test_exercises_are_listed_without_importing_torch():
    code = "import sys; from labkit.workbench import checking; checking.all_exercises(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_torch_exercises_are_listed_and_a_check_says_what_is_missing():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from labkit.workbench.checking import all_exercises, mark, find\n"
        "print(len(all_exercises()), mark(find('attention.causal_tiles'), lambda n, tile: 0).status)\n"
        "mark(find('attention.stable_softmax'), lambda scores: 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == [str(len(all_exercises())), "wrong"]
    assert "ModuleNotFoundError: No module named 'torch'; get it with pip install" in done.stderr


def test_a_scaffold_filled_in_half_is_not_started():
    pytest.importorskip("torch")

    def attend(query, key, value):
        scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        weights = ...
        return weights @ value if scores.ndim else ...

    assert mark(find("attention.attend"), attend).status == "not started"


def test_attention_of_the_exercises_is_that_of_torch():
    functional = pytest.importorskip("torch").nn.functional
    attend = find("attention.attend")
    assert mark(attend, functional.scaled_dot_product_attention).status == "correct"
    for name in ("gelu", "cross_entropy"):
        exercise = next(e for e in WITH_TENSORS if e.id.endswith(f".{name}"))
        assert mark(exercise, getattr(functional, name)).status == "correct"


def test_norms_of_the_exercises_are_those_of_torch():
    functional = pytest.importorskip("torch").nn.functional

    def layer_norm(x, weight, bias, eps):
        return functional.layer_norm(x, x.shape[-1:], weight, bias, eps)

    def rms_norm(x, weight, eps):
        return functional.rms_norm(x, x.shape[-1:], weight, eps)

    assert mark(find("transformer.layer_norm"), layer_norm).status == "correct"
    assert mark(find("transformer.rms_norm"), rms_norm).status == "correct"


def through_autograd(forward, number=0):
    """A backward function by autograd: of `forward(*inputs)`, the gradient of input `number` for a given `grad`."""

    def backward(grad, *inputs):
        inputs = [i.requires_grad_() if hasattr(i, "requires_grad_") else i for i in inputs]
        return pytest.importorskip("torch").autograd.grad(forward(*inputs), inputs[number], grad)[0]

    return backward


def test_gradients_of_the_exercises_are_those_of_autograd():
    torch = pytest.importorskip("torch")

    def both(forward, grad, first, second):
        first, second = first.requires_grad_(), second.requires_grad_()
        return torch.autograd.grad(forward(first, second), (first, second), grad)

    def scores(query, key):
        return query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5

    def normalise(x, weight, eps):
        return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, None, eps)

    def cross_entropy(logits, targets):
        logits.requires_grad_()
        return torch.autograd.grad(torch.nn.functional.cross_entropy(logits, targets), logits)[0]

    def value_gradients(grad, weights, value):
        return both(lambda w, v: w @ v, grad, weights, value)[::-1]

    answers = {
        "attention.value_gradients": value_gradients,
        "attention.score_gradients": lambda grad, query, key: both(scores, grad, query, key),
        "attention.cross_entropy_gradient": cross_entropy,
        "transformer.layer_norm_backward": through_autograd(normalise),
    }
    for name, answer in answers.items():
        assert mark(find(name), answer).status == "correct", name


def test_softmax_backward_and_the_tied_gradient_are_those_of_autograd():
    torch = pytest.importorskip("torch")

    def softmax_backward(grad, probabilities):
        scores = torch.log(probabilities).requires_grad_()
        return torch.autograd.grad(torch.softmax(scores, dim=-1), scores, grad)[0]

    def tied(ids, grad_embedded, hidden, grad_logits):
        table = torch.zeros(grad_logits.shape[-1], hidden.shape[-1], dtype=hidden.dtype, requires_grad=True)
        return torch.autograd.grad((table[ids], hidden @ table.T), table, (grad_embedded, grad_logits))[0]

    assert mark(find("attention.softmax_backward"), softmax_backward).status == "correct"
    assert mark(find("transformer.tied_gradient"), tied).status == "correct"


def test_merged_tiles_are_the_softmax_of_all_keys():
    torch = pytest.importorskip("torch")
    for draw in range(3):
        scores, values = torch.randn(2, 6).double(), torch.randn(6, 3).double()
        tiles = []
        for part in (slice(0, 2), slice(2, 6)):
            maximum = scores[:, part].amax(dim=-1)
            exponentials = torch.exp(scores[:, part] - maximum[:, None])
            tiles.append((maximum, exponentials.sum(dim=-1), exponentials @ values[part]))
        _, total, output = find("attention.merge_partials").solution(*tiles)
        assert torch.allclose(output / total[:, None], torch.softmax(scores, dim=-1) @ values), draw


@pytest.mark.parametrize("exercise", WITH_TENSORS, ids=lambda e: e.id)
def test_a_worked_solution_stands_alone_as_it_is_shown(exercise):
    torch = pytest.importorskip("torch")
    shown = {"torch": torch, "math": math}
    exec(source_of(exercise.solution), shown)
    assert mark(exercise, shown[exercise.solution.__name__]).status == "correct"


def test_every_case_of_a_mask_leaves_each_query_somewhere_to_look():
    pytest.importorskip("torch")
    for seed in range(20):
        for _, allowed in fresh_cases(find("attention.masked_weights"), seed):
            assert allowed.any(dim=-1).all()
