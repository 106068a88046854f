"""Values that leave the sandbox arrive as they were; whatever else arrives is refused, in bounded time and memory."""

import contextlib
import json
import math
import time
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from enum import IntEnum
from fractions import Fraction
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.workbench.answers import same_answer
from labkit.workbench.grading.sandboxing import unwiring, wire
from labkit.workbench.grading.sandboxing.unwiring import Unreadable, clean, decode, kind_of_error, parse
from labkit.workbench.grading.sandboxing.wire import Opaque, encode

torch = pytest.importorskip("torch")


def sent(value):
    node, blob = encode(value)
    return decode(parse(json.dumps(node).encode()), blob)


def alike(one, other):
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return type(other) is dict and list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    return type(one) is type(other) and repr(one) == repr(other) and (one == other or one != one)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans() | st.tuples(st.integers(), st.text()), inner)
    ),
    max_leaves=20,
)


@given(PLAIN)
@settings(max_examples=60, deadline=None)
def test_plain_values_arrive_as_they_were(value):
    assert alike(value, sent(value))


@pytest.mark.parametrize(
    "value",
    [-0.0, math.inf, -math.inf, math.nan, 2**64, -(10**4000), True, ..., b"\x00\xff", "\ud800 lone", {1: "a", "1": 2}],
    ids=repr,
)
def test_special_values_arrive_exactly(value):
    assert type(sent(value)) is type(value)
    assert sent(value) == value or (value != value and math.isnan(sent(value)))
    assert repr(sent(value)) == repr(value)


def test_sets_and_fractions_arrive():
    value = {1, "a", (2, None), frozenset({3})}
    assert sent(value) == value
    assert type(sent(frozenset({1}))) is frozenset
    assert sent(Fraction(10**30, 7)) == Fraction(10**30, 7)


@pytest.mark.parametrize("name", wire.DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3)])
def test_an_array_arrives_with_its_type_and_shape(name, shape):
    array = np.arange(math.prod(shape)).reshape(shape).astype(name)
    came = sent([array, array[()] if shape == () else 0])
    assert came[0].dtype == array.dtype and came[0].shape == array.shape and np.array_equal(came[0], array)
    if shape == ():
        assert type(came[1]) is type(array[()])


def test_other_orders_of_bytes_and_other_strides_do_not_matter():
    array = np.arange(12, dtype=">i4").reshape(3, 4)
    assert np.array_equal(sent(array), array)
    assert np.array_equal(sent(array.T[::-1]), array.T[::-1])
    assert np.array_equal(sent(np.array(["a", "längst"])), np.array(["a", "längst"]))


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32", "float64", "int64", "bool", "complex64", "uint8"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_a_tensor_arrives_with_its_type_and_shape(name, shape):
    tensor = torch.arange(math.prod(shape)).reshape(shape).to(getattr(torch, name))
    came = sent(tensor)
    assert came.dtype == tensor.dtype and came.shape == tensor.shape and torch.equal(came, tensor)


def test_tensors_that_want_gradients_or_are_views_arrive_as_values():
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    came = sent((parameter, parameter.T, torch.tensor([1 + 2j]).conj()))
    assert [type(one) for one in came] == [torch.Tensor] * 3
    assert came[1].shape == (3, 2) and came[2].item() == 1 - 2j


def test_subclasses_travel_as_what_they_are_underneath():
    class Level(IntEnum):
        LOW = 1

    point = namedtuple("point", "x y")
    values = (Counter("aab"), defaultdict(int, a=1), OrderedDict(b=2), point(1, 2), Level.LOW, MappingProxyType({1: 2}))
    assert [type(one) for one in sent(values)] == [dict, dict, dict, tuple, int, dict]
    assert sent(values)[0] == {"a": 2, "b": 1} and sent(values)[3] == (1, 2) and sent({"k": 1}.keys()) == {"k"}


def test_a_number_whose_comparisons_lie_arrives_as_the_number_it_is():
    class Liar(float):
        def __eq__(self, other):
            return True

        __hash__ = None

    assert type(sent(Liar(3.5))) is float and sent(Liar(3.5)) != 4.0


@pytest.mark.parametrize(
    "value",
    [
        object(),
        print,
        type,
        iter([1]),
        deque([1]),
        np.array([object()]),
        np.datetime64("2020-01-01"),
        torch.eye(2).to_sparse(),
        torch.empty(2, device="meta"),
        1 << 100_000,
        np.broadcast_to(1.0, (10**6, 10**6)),
        torch.ones(1).expand(10**12),
        [0] * (wire.MOST_NODES + 1),
        "x" * 100_000_000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_travel_is_opaque_and_equals_nothing(value):
    came = sent(value)
    assert isinstance(came, Opaque)
    assert not same_answer(came, value) and not same_answer(value, came) and not same_answer(came, came.type_name)
    assert len(repr(came)) < 400


def test_what_contains_itself_or_is_too_deep_is_opaque():
    deep = itself = []
    itself.append(itself)
    assert isinstance(sent(itself), Opaque)
    for _ in range(10_000):
        deep = [deep]
    assert isinstance(sent(deep), Opaque)


NODES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(wire.DTYPES),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(st.sampled_from([*unwiring._TAGS, "x"]), inner, inner).map(list)
        | st.tuples(st.sampled_from([*unwiring._TAGS]), inner).map(list)
    ),
    max_leaves=15,
)


@given(NODES, st.binary(max_size=40))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_sent_becomes_a_value_or_is_refused(node, blob):
    with contextlib.suppress(Unreadable):
        decode(node, blob)


@given(st.binary(max_size=60) | st.text(alphabet='[]{},:"0123456789.eE-ntfu\\', max_size=60).map(str.encode))
@settings(max_examples=150, deadline=None)
def test_whatever_bytes_are_sent_are_parsed_or_refused(text):
    with contextlib.suppress(Unreadable):
        parse(text)


@given(PLAIN, st.data())
@settings(max_examples=60, deadline=None)
def test_a_frame_with_changed_bytes_becomes_a_value_or_is_refused(value, data):
    node, blob = encode(value)
    text = bytearray(json.dumps(node).encode())
    for _ in range(3):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Unreadable):
        decode(parse(bytes(text)), blob)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 1_000_000,
        b"[" + b"[]," * 1_000_000 + b"1]",
        b'["l",[' + b"1," * 2_000_000 + b"1]]",
        b"9" * 100_000,
        b'"' + b"x" * 20_000_000 + b'"',
        b"NaN",
        b"[1",
        b"\xff",
    ],
    ids=["deep", "many lists", "many numbers", "long number", "long text", "NaN", "cut", "no text"],
)
def test_text_that_costs_too_much_to_parse_is_refused_before_it_is_parsed(text):
    with pytest.raises(Unreadable):
        parse(text)


@pytest.mark.parametrize(
    ("node", "blob"),
    [
        (["a", "float64", [2**39, 2**39]], b""),
        (["a", "float64", [0, 2**39, 2**39, 2**39]], b""),
        (["a", "float64", [-1]], b"12345678"),
        (["a", "float64", [True]], b"12345678"),
        (["a", "object", [1]], b"12345678"),
        (["a", "float64", [1]], b"1234"),
        (["a", "int8", [1]], b"12"),
        (["a", ["float64"], [1]], b"12345678"),
        (["T", ["float64"], [1]], b"12345678"),
        (["T", "qint8", [1]], b"1"),
        (["b", 10], b"1"),
        (["b", -1], b"1"),
        (["i", "f" * 100_000], b""),
        (["q", 1, 0], b""),
        (["u", [2], ["a" * 10_000_000, "b"]], b""),
        (["l", [["u", [1000], ["a" * 16_000, *[""] * 999]]] * 50], b""),
        (["s", [["l", []]]], b""),
        (["d", [[["d", []], 1]]], b""),
        (["d", [[1]]], b""),
        (["f", "1e5"], b""),
        (["o", 1, 2], b""),
        ({"l": 1}, b""),
        ([], b""),
        (["zz", 1], b""),
        (["c", 1, 2], b""),
    ],
)
def test_nodes_that_describe_no_value_are_refused(node, blob):
    with pytest.raises(Unreadable):
        decode(node, blob)


def test_one_array_cannot_be_used_twice_to_fill_the_memory():
    with pytest.raises(Unreadable):
        decode(["l", [["a", "float64", [100]]] * 1000], bytes(800))


@pytest.mark.parametrize("tag", ["s", "z", "d"])
def test_keys_that_are_made_to_collide_are_refused_at_once(tag):
    keys = [["i", hex(i * (2**61 - 1))] for i in range(5_000)]
    began = time.process_time()
    with pytest.raises(Unreadable, match="slow"):
        decode([tag, [[key, 1] for key in keys] if tag == "d" else keys], b"")
    assert time.process_time() - began < 60  # it would be hours


def test_only_builtin_errors_keep_a_name_without_a_dot():
    assert kind_of_error("ValueError") == "ValueError"
    assert kind_of_error("json.decoder.JSONDecodeError") == "json.decoder.JSONDecodeError"
    for kind in ("Mine", "print", "int", "Ｖalue", "Value Error", "IOError"):
        assert "." in kind_of_error(kind)


def test_words_can_be_printed_and_written_anywhere():
    words = clean("a\x1b[31m\x00\ud800\u202e\nb" * 100, 50)
    assert len(words) == 50 and words.encode("utf-8") and all(sign.isprintable() or sign == "\n" for sign in words)
