"""The same weights through other libraries: the same numbers, no noise, and a reason where one is missing."""

import logging
import subprocess
import sys

import pytest
import torch

from labkit.compression import references
from labkit.compression.codebooks import NF4
from labkit.compression.references import REFERENCES, Ran, Sample, quiet, quiet_import, which_ran

NAMES = [reference.name for reference in REFERENCES]


@pytest.fixture(scope="module")
def ran():
    return {row.name: row for row in which_ran()}


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_that_runs_gives_our_numbers(ran, name):
    row = ran[name]
    if "does not load here" in row.reason:  # any other reason is a failure
        pytest.skip(row.reason)
    assert row.difference is not None, row.reason
    assert row.difference <= 1e-6 and row.version and not row.reason


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("torch,")])
def test_torch_itself_never_misses(ran, name):
    assert ran[name].difference is not None


def test_the_same_holds_for_other_weights_and_groups():
    draw = torch.Generator().manual_seed(3)
    rows = which_ran(torch.randn(96, 64, generator=draw) ** 3, 3 * torch.randn(5, 64, generator=draw) + 1)
    assert len(rows) == len(NAMES)
    assert max(row.difference for row in rows if row.difference is not None) <= 1e-6


def test_a_missing_library_is_a_row_with_what_would_bring_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    rows = {row.name: row for row in which_ran()}
    assert len(rows) == len(NAMES)
    assert rows["bitsandbytes, NF4"].difference is None and "pip install" in rows["bitsandbytes, NF4"].reason
    assert "llm-labkit[compression]" in rows["ONNX Runtime, dynamic"].reason


def test_a_library_that_changed_is_a_row_with_its_own_words(monkeypatch):
    def refuse(*given):
        raise NotImplementedError("no kernel for this processor\nand more")

    reference = REFERENCES[0]._replace(run=refuse)
    monkeypatch.setattr(references, "REFERENCES", (reference,))
    (row,) = which_ran()
    assert row == Ran(
        reference.name,
        row.version,
        reference.compared,
        None,
        "NotImplementedError: no kernel for this processor",
    )


def test_a_wrong_number_is_shown_and_not_hidden(monkeypatch):
    monkeypatch.setattr(references, "fake_quantize", lambda x, *rest: 1.5 * x)
    sample = Sample(torch.randn(8, 64), torch.randn(2, 64))
    assert references.fake_quantized(torch, sample) > 0.1


def test_quiet_means_quiet_and_leaves_nothing_behind(capfd):
    before = logging.root.handlers[:], logging.root.manager.disable
    with quiet():
        logging.warning("noise")
        logging.getLogger("other").error("more noise")
        print("to stderr", file=sys.stderr)
        import os

        os.write(2, b"from C++")
    assert (logging.root.handlers[:], logging.root.manager.disable) == before
    assert capfd.readouterr() == ("", "")


def test_an_error_inside_quiet_is_still_an_error(capfd):
    with pytest.raises(ZeroDivisionError), quiet():
        1 / 0  # noqa: B018
    print("heard again", file=sys.stderr)
    assert "heard again" in capfd.readouterr().err


def test_torchao_is_imported_without_a_word_in_a_fresh_process():
    pytest.importorskip("torchao")
    code = "from labkit.compression.references import quiet_import as q; print(q('torchao.quantization').__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("torchao.quantization", "")


def test_a_module_that_is_not_there_says_how_to_get_it():
    with pytest.raises(ModuleNotFoundError, match=r"llm-labkit\[compression\]"):
        quiet_import("no_such_module_at_all")


def test_the_sixteen_levels_are_those_of_torchao_to_its_four_digits():
    pytest.importorskip("torchao")
    theirs = quiet_import("torchao.quantization").NF4Tensor.from_tensor(torch.randn(64, 64), 64, 64).nf4
    torch.testing.assert_close(torch.tensor(NF4), theirs, rtol=0, atol=5.1e-5)


def test_onnx_runtimes_own_quantizer_finds_our_codes(tmp_path):
    onnx, _ = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    from labkit.compression.grid import quantize

    weight = torch.randn(24, 64, generator=torch.Generator().manual_seed(1))
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", floats, [None, 64])],
        [helper.make_tensor_value_info("y", floats, [None, 24])],
        [onnx.numpy_helper.from_array(weight.T.contiguous().numpy(), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    tools = quiet_import("onnxruntime.quantization")
    with quiet():
        tools.quantize_dynamic(model, tmp_path / "q.onnx", weight_type=tools.QuantType.QInt8, per_channel=True)
    arrays = [onnx.numpy_helper.to_array(item) for item in onnx.load(tmp_path / "q.onnx").graph.initializer]
    (codes,) = [torch.tensor(array) for array in arrays if array.shape == (64, 24)]
    assert torch.equal(codes.T, quantize(weight, 8).codes)
