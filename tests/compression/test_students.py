"""A small teacher and its students: what is shared and copied, the head beside scikit-learn's, the cache, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save
from sklearn.linear_model import LogisticRegression

from labkit import corpora
from labkit.compression import students
from labkit.compression.library_task import BETWEEN, Batch, choose
from labkit.compression.students import READERS, Distilled, Reader, StudentRecipe, fit_head, shallower
from labkit.corpora.cache import read_or_make
from labkit.corpora.text import Corpus
from labkit.transformer import Config, Encoder

SMALL = Config(vocabulary=40, context=16, layers=4, heads=2, width=16, norm_first=False)


def small_encoder():
    return Encoder(SMALL, seed=0).eval()


def small_batches(count=6, size=8, seed=0):
    """Texts of the kind of which there are more: low ids mean class 0, high ids class 1."""
    chance = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        labels = torch.randint(0, 2, (size,), generator=chance)
        ids = torch.randint(0, 20, (size, 6), generator=chance) + 20 * labels[:, None]
        found.append(Batch(ids, torch.ones(size, 6, dtype=torch.bool), labels))
    return found


def small_reader(seed=0):
    """Of a head that is the same in every run."""
    reader = Reader(small_encoder(), torch.nn.Linear(16, 2)).eval()
    with torch.no_grad():
        reader.head.weight.normal_(std=0.2, generator=torch.Generator().manual_seed(seed))
        reader.head.bias.zero_()
    return reader


def library(count, start=0):
    titles = tuple(name for name in ("numpy", "pandas") for _ in range(count))
    documents = tuple(f"{name} says {i}" for i, name in enumerate(titles, start))
    return Corpus("docstrings", "docstrings", "", "", 0, documents, titles)


def test_a_student_begins_as_the_layers_that_were_kept():
    teacher, ids = small_encoder(), torch.randint(0, 40, (2, 5))
    student = shallower(teacher, [0, 3])
    stream = teacher.stream(ids)[0]
    for block in (teacher.blocks[0], teacher.blocks[3]):
        stream = block(stream)
    assert torch.equal(student(ids), stream)
    assert student.config == replace(SMALL, layers=2) and not student.training


def test_all_layers_kept_are_the_teacher():
    teacher, ids = small_encoder(), torch.randint(0, 40, (2, 5))
    assert torch.equal(shallower(teacher, range(4))(ids), teacher(ids))


def test_what_a_student_learns_does_not_reach_its_teacher():
    teacher = small_reader()
    before = {name: weight.clone() for name, weight in teacher.state_dict().items()}
    student = Reader(shallower(teacher.encoder, [0, 3]), small_reader().head).eval()
    first = student.encoder.blocks[0].attention.qkv.weight.clone()
    students.teach(student, small_batches(2), StudentRecipe(epochs=1), None)
    assert all(torch.equal(weight, before[name]) for name, weight in teacher.state_dict().items())
    assert not torch.equal(student.encoder.blocks[0].attention.qkv.weight, first)
    assert student.encoder.tokens.weight.data_ptr() == teacher.encoder.tokens.weight.data_ptr()


@pytest.mark.parametrize("lessons", ["teacher", "labels"])
def test_a_student_learns_the_task_from_either(lessons):
    batches = small_batches(12)
    teacher, student = small_reader(), small_reader()
    students.teach(teacher, batches, StudentRecipe(epochs=3, lr=1e-2), None)
    with torch.no_grad():
        vectors = [teacher.pooled(b.ids, b.mask) for b in batches]
        taught = [(v, teacher.head(v)) for v in vectors]
    student.encoder = shallower(student.encoder, [0, 3])
    students.teach(student, batches, StudentRecipe(epochs=4, lr=1e-2), taught if lessons == "teacher" else None)
    held_out = small_batches(4, seed=9)
    right = students.answers(student, held_out).argmax(-1) == torch.cat([b.labels for b in held_out])
    assert right.float().mean() > 0.9


@pytest.mark.parametrize("penalty", [0.1, 1, 10])
def test_the_head_is_scikit_learns_logistic_regression(penalty):
    draw = np.random.default_rng(0)
    vectors, labels = draw.normal(size=(90, 5)).astype("f4"), draw.integers(0, 3, 90)
    ours = fit_head(torch.from_numpy(vectors), torch.from_numpy(labels), 3, penalty)
    theirs = LogisticRegression(C=1 / penalty, max_iter=2000, tol=1e-8).fit(vectors, labels)
    assert np.allclose(ours.weight.detach(), theirs.coef_, atol=2e-3)
    difference = ours.bias.detach().numpy() - theirs.intercept_
    assert np.allclose(difference, difference.mean(), atol=2e-3)  # a shift of all logits is no difference


def test_the_exam_is_the_last_fifth_and_what_is_learned_ends_well_before_it():
    corpus = library(1000)
    learn, judge = (choose(corpus, 60, held_out=side) for side in (False, True))
    learned, asked = ([int(text.split()[-1]) % 1000 for text, _ in side] for side in (learn, judge))
    assert min(asked) >= 800 and max(learned) < 800 - BETWEEN and len(set(asked)) > 50
    assert [sum(label == number for _, label in learn) for number in (0, 1)] == [60, 60]
    assert choose(corpus, 60, held_out=True) == judge != choose(corpus, 60, held_out=True, seed=1)


def test_a_small_library_decides_how_many_paragraphs_all_have():
    titles = ("numpy",) * 300 + ("pandas",) * 900
    corpus = Corpus("docstrings", "docstrings", "", "", 0, tuple(f"{i}" for i in range(1200)), titles)
    labels = [label for _, label in choose(corpus, 500, held_out=False)]
    assert labels.count(0) == labels.count(1) == 40  # before the border of 240, less what neither side has
    with pytest.raises(ValueError, match="at least one"):
        choose(corpus, 0, held_out=True)
    with pytest.raises(corpora.CorpusUnavailable, match="only 100 paragraphs of numpy"):
        choose(library(100), 5, held_out=False)


def test_one_library_is_nothing_to_tell_apart():
    only = Corpus("docstrings", "docstrings", "", "", 0, ("a",), ("python",))
    with pytest.raises(corpora.CorpusUnavailable, match="install numpy or pandas"):
        choose(only, 5, held_out=False)


@pytest.mark.parametrize("kept", [(), (4,), (-1, 0)])
def test_layers_that_there_are_not_are_refused(kept):
    with pytest.raises(ValueError, match="layers 0 to 3"):
        shallower(small_encoder(), kept)


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="scale must be one of ci, laptop, gpu"):
        students.distilled_minilm("huge")


def test_another_recipe_or_text_is_another_student():
    recipe = StudentRecipe()
    other = replace(library(9), titles=library(9).titles[::-1])  # the same texts with other labels
    keys = {recipe.key(corpus) for corpus in (library(9), library(9, 1), other)}
    assert len(keys | {replace(recipe, temperature=3).key(library(9))}) == 4


WRONG = {
    "learn": 0,
    "judge": -1,
    "tokens": 2,
    "epochs": 0,
    "batch": 0,
    "lr": 0.0,
    "hidden": -1,
    "penalty": float("nan"),
}


@pytest.mark.parametrize("name", WRONG)
def test_recipes_of_nothing_are_refused(name):
    with pytest.raises(ValueError, match=name):
        StudentRecipe(**{name: WRONG[name]})


def test_a_recipe_for_more_tokens_than_there_are_positions_is_refused():
    with pytest.raises(ValueError, match="512 is the most"):
        StudentRecipe(tokens=513)


@pytest.fixture(scope="module")
def found():
    """Of a recipe that is trained in seconds, twice: the second time out of the cache."""
    recipe = StudentRecipe(learn=12, judge=8, tokens=12)
    try:
        return [students.distilled_minilm(recipe=recipe) for _ in "12"]
    except corpora.CorpusUnavailable as reason:
        pytest.skip(str(reason))


def test_from_the_cache_comes_the_same_student(found: list[Distilled]):
    first, second = found
    for who in READERS:
        reader = getattr(second, who)
        again = students.answers(reader, second.batches)
        assert torch.allclose(again, first.logits[who], atol=1e-4)
        assert torch.equal(first.logits[who], second.logits[who])
        assert first.score(who) == first.right(who).float().mean().item()
    assert first.texts == second.texts and len(first.texts) == len(first.labels)


def test_student_and_control_differ_and_the_student_has_a_third_of_the_blocks(found: list[Distilled]):
    first = found[0]
    assert not torch.equal(first.logits["student"], first.logits["control"])
    blocks = {who: sum(p.numel() for p in getattr(first, who).encoder.blocks.parameters()) for who in READERS}
    assert blocks["student"] == blocks["control"] == blocks["teacher"] / 3


def test_intervals_hold_the_score_and_a_reader_beside_itself_is_one(found: list[Distilled]):
    first = found[0]
    for who in READERS:
        score, low, high = first.interval(who)
        assert low < score < high and score == pytest.approx(first.score(who))
        assert first.interval(who, base=who) == (1, 1, 1)
    ratio, low, high = first.interval("student", base="teacher")
    assert ratio == pytest.approx(first.score("student") / first.score("teacher"))
    assert low <= ratio <= high


def test_the_interval_is_as_wide_as_that_of_a_proportion(found: list[Distilled]):
    first = found[0]
    score, low, high = first.interval("teacher")
    assert high - low == pytest.approx(2 * 1.96 * (score * (1 - score) / len(first.texts)) ** 0.5, rel=0.25)


GOOD = {"head.weight": torch.arange(2.0)}
OTHERS = {
    "no safetensors": b"something else",
    "other names": save({"head.bias": torch.zeros(2)}),
    "another shape": save({"head.weight": torch.zeros(3)}),
    "one tensor more": save(GOOD | {"more": torch.zeros(1)}),
    "nothing": save({}),
}


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A folder of its own for what is kept."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    return tmp_path


def make_counted():
    calls = []
    return calls, lambda: calls.append(1) or save(GOOD)


@pytest.mark.parametrize("name", OTHERS)
def test_a_whole_file_of_something_else_is_made_again(cache, name, capsys):
    read_or_make("s.safetensors", lambda: OTHERS[name])
    calls, make = make_counted()
    for _ in "12":
        found = students._kept("s.safetensors", make, {"head.weight": (2,)})
        assert torch.equal(found["head.weight"], GOOD["head.weight"])
    assert len(calls) == 1 and capsys.readouterr().err.count("of something else; making it again") == 1


def test_a_file_that_was_cut_by_a_killed_process_is_made_again(cache, capsys):
    calls, make = make_counted()
    students._kept("s.safetensors", make, {"head.weight": (2,)})
    whole = (cache / "s.safetensors").read_bytes()
    (cache / "s.safetensors").write_bytes(whole[:-3])
    (cache / ".s.safetensors.0123456789ab.part").write_bytes(whole[:5])  # killed while it wrote
    found = students._kept("s.safetensors", make, {"head.weight": (2,)})
    assert len(calls) == 2 and torch.equal(found["head.weight"], GOOD["head.weight"])
    assert (cache / "s.safetensors").read_bytes() == whole and "damaged" in capsys.readouterr().err


def test_training_that_was_interrupted_leaves_nothing_behind(cache):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        students._kept("s.safetensors", interrupted, {"head.weight": (2,)})
    calls, make = make_counted()
    students._kept("s.safetensors", make, {"head.weight": (2,)})
    assert len(calls) == 1 and not list(cache.glob("*.part"))


def test_what_cannot_be_made_is_not_made_for_ever(cache, capsys):
    with pytest.raises(corpora.CorpusUnavailable, match="delete it"):
        students._kept("s.safetensors", lambda: OTHERS["another shape"], {"head.weight": (2,)})
    assert capsys.readouterr().err.count("making it again") == 2


def test_to_load_a_student_draws_no_random_numbers_and_works_where_no_gradients_are(found):
    before = torch.get_rng_state()
    with torch.inference_mode():
        again = students.distilled_minilm(recipe=found[0].recipe)
    assert torch.equal(before, torch.get_rng_state()) and torch.is_grad_enabled()
    for parameter in again.student.parameters():
        assert not parameter.is_inference() and not parameter.requires_grad


def test_a_student_can_be_trained_where_no_gradients_are():
    student = small_reader()
    with torch.no_grad():
        students.teach(student, small_batches(2), StudentRecipe(), None)
    first = small_reader().encoder.blocks[0].attention.qkv.weight
    assert not torch.equal(student.encoder.blocks[0].attention.qkv.weight, first)


def test_training_that_breaks_leaves_no_weight_to_be_trained():
    student, batches = small_reader(), small_batches(2)
    with pytest.raises(ValueError, match="the teacher's logits are NaN"):
        students.teach(student, batches, StudentRecipe(), [(torch.zeros(8, 16), torch.full((8, 2), torch.nan))] * 2)
    assert not any(parameter.requires_grad for parameter in student.parameters())
