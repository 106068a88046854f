"""What transformers returns when it is asked quickly: the same."""

import numpy as np
import pytest

from labkit.transformer import reference

gguf = pytest.importorskip("gguf", reason="its functions are compared with ours")


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0"])
@pytest.mark.parametrize("shape", [(3, 64), (2, 5, 64), (reference.ROWS + 1, 32)], ids=str)
def test_many_rows_at_a_time_unpack_to_what_gguf_itself_returns(
    kind: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = gguf.GGMLQuantizationType[kind]
    weights = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    packed = gguf.quantize(weights, number)
    expected = gguf.dequantize(packed, number)

    monkeypatch.setattr(gguf.quants, reference.GROUPING, reference._by_many_rows)

    assert gguf.dequantize(packed, number).tobytes() == expected.tobytes()
    assert gguf.quantize(weights, number).tobytes() == packed.tobytes()


def test_many_rows_at_a_time_are_fewer_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, seen = np.arange(600.0).reshape(300, 2), []

    def doubled(some: np.ndarray) -> np.ndarray:
        seen.append(len(some))
        return np.concatenate([some, some], axis=-1)

    found = reference._by_many_rows(doubled, rows, np.float32, (300, 4))

    assert seen == [reference.ROWS, 300 - reference.ROWS]
    np.testing.assert_array_equal(found, np.concatenate([rows, rows], axis=-1))
    assert found.dtype == np.float32
