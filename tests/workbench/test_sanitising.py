import pytest

from labkit.workbench import sanitising, storing
from tests.workbench.notebook_files import CLAIM_TYPE, code, notebook, shown, stream


def stored_outputs(*outputs):
    return storing.normalise(notebook(code(outputs=outputs)))["cells"][0]["outputs"]


def stored_text(text):
    return stored_outputs(stream(text))[0]["text"]


def test_streams_that_follow_each_other_are_one_and_a_display_parts_them():
    pieces = [
        stream("a"),
        stream("E", "stderr"),
        stream("b"),
        shown(text_plain="x"),
        stream("c"),
        stream("F", "stderr"),
    ]
    assert [output.get("text") for output in stored_outputs(*pieces)] == ["ab", "E", None, "c", "F"]


def test_the_order_of_standard_output_and_error_is_chance_and_not_stored():
    assert stored_outputs(stream("E", "stderr"), stream("a")) == stored_outputs(stream("a"), stream("E", "stderr"))


@pytest.mark.parametrize(
    ("raw", "screen"),
    [
        ("1%\r50%\r100%\n", "100%\n"),
        ("a\r\nb", "a\nb"),
        ("abc\b\bX", "aX"),
        ("x\r", "x"),
        ("line\n12\r3\n", "line\n3\n"),
    ],
)
def test_only_what_a_terminal_would_show_at_the_end_is_stored(raw, screen):
    assert stored_text(raw) == screen


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ("<function f at 0x7f3a2c11d0>", "<function f at 0x…>"),
        ("/tmp/ipykernel_4242/1234567.py:3: UserWarning: x", "ipykernel/cell.py:3: UserWarning: x"),
        (r"C:\Users\me\Temp\ipykernel_12\99.py:1: W", "ipykernel/cell.py:1: W"),
        ("100%|##| 50/50 [00:12<00:00, 4.1it/s]", "100%|##| 50/50 [time]"),
        ("a hash of the lesson: 0xdeadbeef", "a hash of the lesson: 0xdeadbeef"),
        ("[12:30] is a time of day", "[12:30] is a time of day"),
    ],
)
def test_addresses_kernel_files_and_clocks_are_not_stored(raw, stored):
    assert stored_text(raw) == stored


def test_pictures_and_claims_are_stored_as_they_are():
    picture = '<img alt="loss at 0.5" src="data:image/png;base64,AAA/0xabcdef01+at+0xabcdef">'
    record = {"kind": "equation", "statement": "at 0x7f3a2c11d0", "passed": True}
    outputs = stored_outputs(
        shown(text_html=picture, text_plain="loss at 0.5"), shown(image_png="QUJD\n", **{CLAIM_TYPE: record})
    )
    assert outputs[0]["data"]["text/html"] == picture
    assert outputs[1]["data"] == {"image/png": "QUJD", CLAIM_TYPE: record}


def test_live_widgets_are_not_stored_and_what_stands_beside_them_is():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
    assert stored_outputs({"output_type": "display_data", "metadata": {}, "data": view}) == []
    both = {"output_type": "display_data", "metadata": {}, "data": {**view, "text/html": "<b>x</b>"}}
    assert stored_outputs(both)[0]["data"] == {"text/html": "<b>x</b>"}


def test_the_random_id_of_a_styled_table_becomes_one_made_from_its_content():
    def table(name, value):
        return (
            f'<style>#T_{name}_row0 {{}}</style><table id="T_{name}"><td id="T_{name}_row0">{value} PT-BR</td></table>'
        )

    (one,), (again,), (other,) = (
        stored_outputs(shown(text_html=table(*each))) for each in (("1a2b3", 1), ("9f8e7", 1), ("1a2b3", 2))
    )
    assert one == again
    assert one["data"]["text/html"].partition("<table")[0] != other["data"]["text/html"].partition("<table")[0]
    assert one["data"]["text/html"].count("T_") == 3
    assert "PT-BR" in one["data"]["text/html"]


@pytest.mark.parametrize(
    "unit", ["x", "[0:1", "at 0x", "T_", "ipykernel_1", "/a", "<", "[00:00<", "a\b", "\b", "\r", "‹"]
)
def test_a_megabyte_without_a_line_break_is_stored_in_linear_time(unit):
    # A quadratic pattern would take minutes here and run into the timeout of the whole suite.
    raw = (unit * storing.LARGEST)[: storing.LARGEST]
    assert len(stored_text(raw + "end")) <= len(raw) + 3
    assert sanitising.same([stream(raw)], [stream(raw)])
