"""Every method on one small GPT: the bytes it says, the model it leaves alone, and the front of the chart."""

import copy
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labkit.compression import combined
from labkit.compression.combined import best_within, in_a_row, low_rank, pareto_front, pruned, quantized
from labkit.compression.files import load_compressed, save_compressed
from labkit.compression.layers import linears
from labkit.compression.measuring import Measured, document_losses, size_on_disk
from labkit.pretraining import ByteTokens, Recipe, Trained
from labkit.transformer import Config, Decoder

SHAPE = Config(60, context=16, layers=2, heads=2, width=64, norm="rms", positions="rotary", bias=False)
NUMBERS = st.integers(0, 6)


@pytest.fixture(scope="module")
def model():
    model, draw = Decoder(SHAPE).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.05)
    return model


@pytest.fixture(scope="module")
def windows():
    return torch.randint(0, 60, (24, 16), generator=torch.Generator().manual_seed(1))


def bytes_of(variant):
    return size_on_disk(variant)


def far(variant, model, windows):
    with torch.no_grad():
        return float((variant(windows) - model(windows)).abs().mean())


def test_fewer_bits_take_fewer_bytes_and_go_farther_from_the_model(model, windows):
    found = quantized(model, partial(model, windows))
    order = ["int8", "int4", "int3"]
    assert sorted(order, key=lambda name: bytes_of(found[name])) == order[::-1]
    assert sorted(order, key=lambda name: far(found[name], model, windows)) == order
    for bits in (3, 4):
        pair = found[f"int{bits}, GPTQ"], found[f"int{bits}"]
        assert bytes_of(pair[0]) == bytes_of(pair[1])
        assert far(pair[0], model, windows) < far(pair[1], model, windows)
    assert bytes_of(found["W8A8"]) == pytest.approx(bytes_of(found["int8"]), abs=400)  # nothing but the header differs


def test_normal_floats_take_four_bits_and_a_scale_for_64(model, windows):
    found = quantized(model, partial(model, windows))
    weights = sum(layer.weight.numel() for layer in linears(model).values())
    rest = bytes_of(found["NF4"]) - weights * (4 + 32 / 64) / 8
    assert 0 < rest < bytes_of(model) - 4 * weights
    levels = 16 * 4 * len(linears(model))
    assert bytes_of(found["NF4"]) == pytest.approx(bytes_of(found["int4"]) + levels, rel=0.02)


def test_a_pruned_file_keeps_half_of_the_weights_and_a_bit_for_each_place(model, windows):
    weights = sum(layer.weight.numel() for layer in linears(model).values())
    for how, pattern in (("magnitude", None), ("sparsegpt", (2, 4))):
        found = pruned(model, windows, how, pattern)
        assert bytes_of(found) == pytest.approx(size_on_disk(model) - 4 * weights + 2 * weights + weights / 8, abs=2500)


def test_thin_layers_take_half_of_the_bytes(model, windows):
    weights = sum(layer.weight.numel() for layer in linears(model).values())
    found = low_rank(model, partial(model, windows))
    assert bytes_of(found) <= size_on_disk(model) - 2 * weights
    assert bytes_of(found) == pytest.approx(size_on_disk(found), rel=0.02)


def test_three_methods_in_a_row_take_less_each_time_and_zeros_stay_zero(model, windows):
    found = in_a_row(model, windows)
    sizes = [bytes_of(found[name]) for name in ("distilled", "distilled, half", "distilled, half, int4")]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < bytes_of(found["distilled, int4"])
    half, last = (found[name] for name in ("distilled, half", "distilled, half, int4"))
    assert len(linears(half)) == 8
    for name, layer in linears(half).items():
        codes = last.get_submodule(name).quantized.codes
        assert not codes[layer.weight == 0].any()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A GPT of bytes that was never trained: enough to be compressed and to teach."""
    recipe = Recipe(tokens="byte", vocabulary=256, context=16, layers=2, heads=2, width=64, steps=1)
    model = Decoder(recipe.config(256)).eval()
    return Trained(model, ByteTokens(), recipe, [], (), 0.0)


def test_every_variant_is_a_copy_and_a_file_and_the_model_stays_as_it_was(trained, tmp_path):
    before = copy.deepcopy(trained.model.state_dict())
    documents, calibration = combined.texts(trained, held_out=5, calibration=16)
    found = combined.variants(trained, calibration, trained.model)
    assert len(found) == 17 and len({id(variant) for variant in found.values()}) == 17
    for name, weight in trained.model.state_dict().items():
        assert torch.equal(weight, before[name]), name
    some = {name: found[name] for name in ("float32", "W8A8", "distilled, half")}
    rows = combined.measured(some, documents, rounds=1)
    assert [row.file_bytes for row in rows] == [bytes_of(found[row.name]) for row in rows]
    ids = documents[0][None, :16]
    for name, variant in found.items():
        again = load_compressed(save_compressed(variant, tmp_path / "variant.safetensors"))
        with torch.no_grad():
            assert torch.equal(again(ids), variant(ids)), name
    for variant in found.values():
        assert document_losses(variant, documents).nats.isfinite().all()


def test_texts_are_a_window_each_and_held_out_is_not_calibrated_on(trained):
    documents, calibration = combined.texts(trained, held_out=7, calibration=4)
    assert len(documents) == 7 and max(map(len, documents)) == 17 and calibration.shape == (4, 16)
    train = trained.tokenizer.decode(calibration.flatten())
    assert all(trained.tokenizer.decode(ids) not in train for ids in documents)


def test_a_student_is_taught_once_and_then_read(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(combined, "prepare", lambda *_: type("Data", (), {"train": torch.arange(3000) % 97}))
    recipe = combined.StudentRecipe(steps=30)
    student = combined.student_gpt(trained, recipe)
    assert len(student.blocks) == 1 and not student.training
    monkeypatch.setattr(combined, "_teach", lambda *_: pytest.fail("it was taught again"))
    again = combined.student_gpt(trained, recipe)
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), again.parameters(), strict=True))
    ids = (torch.arange(64) % 97).view(4, 16)
    from labkit.compression.distillation import soft_loss
    from labkit.compression.pruning.structure import remove_layers

    with torch.no_grad():
        wanted, untaught = trained.model(ids), remove_layers(trained.model, [1])
        assert soft_loss(student(ids), wanted) < soft_loss(untaught(ids), wanted)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_nothing_beats_the_front_and_the_front_beats_the_rest(points):
    front = pareto_front(points)

    def beats(one, other):
        return one[0] <= other[0] and one[1] <= other[1] and one != other

    for i, point in enumerate(points):
        assert (i in front) == (not any(beats(other, point) for other in points))
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


def test_the_best_within_a_budget():
    rows = [Measured(name, score, 0.0, 0.0, size, 1, 1.0, 1.0) for name, score, size in [("a", 3.0, 9), ("b", 5.0, 4)]]
    assert [best_within(rows, budget) and best_within(rows, budget).name for budget in (3, 4, 8, 9)] == [
        None, "b", "b", "a",
    ]  # fmt: skip


def test_what_cannot_be_combined_is_refused(trained):
    with pytest.raises(ValueError, match="no calibration text"):
        combined.variants(trained, torch.zeros(0, 16, dtype=torch.int64))
    with pytest.raises(ValueError, match="is NaN"):
        pareto_front([(1, float("nan"))])
    with pytest.raises(ValueError, match="cannot lose"):
        combined.student_gpt(trained, combined.StudentRecipe(kept=(7,)))
