"""Spans of personal data: right ones, near misses, both languages, and input made to keep a pattern busy."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning.patterns import looks
from labkit.cleaning.personal import KINDS, Span, find, folded, worth_reading
from labkit.corpora.crawl import personal_documents

# In ⟦…⟧ what is to be found, and of what kind.
FOUND = [
    ("Write to ⟦bob@example.org⟧, or call ⟦415-555-0132⟧.", "email phone"),
    ("电话⟦13812345678⟧，邮箱⟦zhang.san@qq.com⟧谢谢", "phone email"),
    ("身份证⟦11010519491231002X⟧。", "id_cn"),
    ("身份证：⟦１１０１０５１９４９１２３１００２Ｘ⟧，手机⟦１３８－１２３４－５６７８⟧", "id_cn phone"),
    ("身份证号⟦110105 19491231 002X⟧", "id_cn"),
    ("Paid with ⟦4111 1111 1111 1111⟧ and ⟦3782-822463-10005⟧.", "card card"),
    ("See ⟦https://example.com/a?user=bob@x.org⟧, ok?", "url"),
    ("(⟦https://en.wikipedia.org/wiki/A_(b)⟧) [⟦http://a.org⟧] <⟦www.example.com/x⟧>", "url url url"),
    ("访问⟦https://example.com/查看⟧".replace("查看⟧", "⟧查看"), "url"),
    ("访问“⟦https://例子.中国/a⟧”。", "url"),
    ("From ⟦192.0.2.7⟧, ⟦fe80::1⟧ and ⟦2001:db8::8a2e:370:7334⟧.", "ipv4 ipv6 ipv6"),
    ("IP地址⟦8.8.8.8⟧。IPv6:⟦2001:db8::1⟧ [⟦2001:db8::1⟧]:80", "ipv4 ipv6 ipv6"),
    ("⟦::ffff:192.168.1.1⟧ ⟦http://192.168.1.1:80/x⟧ ⟦http://[2001:db8::1]/⟧ ⟦10.0.0.0⟧/8", "ipv6 url url ipv4"),
    ("SSN ⟦536-22-8726⟧, or ssn: ⟦536228726⟧", "ssn ssn"),
    ("⟦+44 20 7946 0958⟧, ⟦+1-914-213-1456x208⟧, ⟦(555)234-4567⟧, ⟦+49 (0)30 901820⟧", "phone phone phone phone"),
    ("⟦010-88886666⟧ ⟦(021)52345678⟧ ⟦0086-13812345678⟧", "phone phone phone"),
    ("⟦+86 138 1234 5678⟧ ⟦400-123-4567⟧ ⟦0161 496 0123⟧ ⟦01 99 00 12 34⟧", "phone phone phone phone"),
    ("Tel. ⟦030 901820⟧, phone number is ⟦5550132⟧", "phone phone"),
    ("⟦user@bücher.de⟧, ⟦иван@почта.рф⟧, ⟦用户@例子.广告⟧", "email email email"),
    ("⟦8.8.8.8⟧-⟦415-555-0132⟧", "ipv4 phone"),
    ("mail:⟦bob@x.com⟧.", "email"),
    ("٠١٢ call ⟦٤١٥-٥٥٥-٠١٣٢⟧", "phone"),
]  # fmt: skip

NEAR_MISSES = """身份证110105194912310021 and 11010519491331002X
pay 4111-1111-1111-1112 or 4687 0865 8702 9953
999.1.2.3, version 1.2.3.4, v1.2.3.4, 1.2.3.4.5, foo-1.2.3.4.tar.gz, 01.02.03.04
std::vector a::b :: 12:30:45 00:1a:2b:3c:4d:5e
666-12-3456, 900-12-3456, 123-00-4567, 536228726
ISBN 978-3-16-148410-0, 9783161484100, $1,234,567.00, 2024-01-15, 1990-2000, call 2024-01-15
icon@2x.png git@github.com:a/b user@localhost @handle a@b jane at example dot org
order 5551234567, ORD-415-555-0132, 123-456-7890, 12345678901234567890
http:// www. :// https://）
一九九〇年，三国演义第一百二十回"""


@pytest.mark.parametrize(("marked", "kinds"), FOUND)
def test_what_is_marked_is_found_and_nothing_else(marked, kinds):
    text = marked.replace("⟦", "").replace("⟧", "")
    wanted = [part.partition("⟧")[0] for part in marked.split("⟦")[1:]]
    assert [(text[start:end], kind) for start, end, kind in find(text)] == list(zip(wanted, kinds.split(), strict=True))


@pytest.mark.parametrize("text", NEAR_MISSES.splitlines())
def test_what_only_looks_like_personal_data_is_left_alone(text):
    assert find(text) == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("templates", [1, 2])
def test_every_planted_value_is_found_and_no_near_miss(language, templates):
    documents = personal_documents(30, seed=7, language=language, templates=templates)
    assert sum(len(d.spans) for d in documents) > 50
    assert [[tuple(span) for span in find(d.text)] for d in documents] == [list(d.spans) for d in documents]


def test_places_are_counted_over_the_lines():
    text = "one\r\n\r\ntwo\u2028bob@example.org\n8.8.8.8"
    assert find(text) == [Span(11, 26, "email"), Span(27, 34, "ipv4")]


def test_only_the_kinds_asked_for_are_found():
    text = "https://example.com/?user=bob@example.org 8.8.8.8"
    assert [s.kind for s in find(text)] == ["url", "ipv4"]
    assert find(text, "email") == [Span(26, 41, "email")]
    assert [kind for kind in KINDS if find(text, [kind])] == ["url", "email", "ipv4"]


def test_a_number_inside_a_longer_one_is_none():
    for number in (
        "4111111111111111",
        "11010519491231002X",
        "13812345678",
        "415-555-0132",
        "255.8.8.255",
        "536-22-8726",
    ):
        assert len(find(f"a {number} b")) == 1
        assert find(f"a 7{number} b") == [] == find(f"a {number}7 b")


def test_a_local_part_has_at_most_64_characters_as_mail_servers_demand():
    assert len(find("a" * 64 + "@example.org")) == 1
    assert find("a" * 65 + "@example.org") == []  # RFC 5321, section 4.5.3.1.1


LINES = st.text(st.sampled_from("ab1234@.:/-+() \n一电话fwx") | st.characters(), max_size=60)


@given(LINES)
@settings(max_examples=50, deadline=None)
def test_spans_are_in_order_apart_and_inside_one_line(text):
    spans = find(text)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all(0 <= s.start < s.end <= len(text) and len(text[s.start : s.end].splitlines()) == 1 for s in spans)


@given(LINES)
@settings(max_examples=40, deadline=None)
def test_folding_keeps_every_place(text):
    assert len(folded(text)) == len(text)


@given(st.sampled_from(FOUND), LINES)
@settings(max_examples=40, deadline=None)
def test_the_gate_lets_every_line_pass_that_holds_something(example, noise):
    text = noise + " " + example[0].replace("⟦", "").replace("⟧", "")
    lines = text.splitlines(keepends=True)
    assert sum(len(find(line)) for line in lines if worth_reading(folded(line))) == len(find(text))
    assert all(find(line) == [] for line in lines if not worth_reading(folded(line)))


def test_most_lines_of_prose_stop_at_the_gate():
    assert not worth_reading("It was the best of times, it was the worst of times; in 1775 (or 1776), 12 men.")
    assert not worth_reading("话说天下大势，分久必合，合久必分。")


# What a pattern begins with, over and over; what it nearly is; what every part of it can be.
HOSTILE = [
    *(
        "1",
        "a",
        "A",
        "0",
        "1.",
        "1-",
        "1 ",
        "12 ",
        "1:",
        ":",
        "::",
        "a:",
        "@",
        "a@",
        "@a.",
        "a.",
        "a.b@",
        "a-",
        "_",
        "é",
    ),
    *("http://", "www.", "www.a", "://", "http://a)", "a.xn--", "a@b.co-", "a@b.co ", "用", "用@", "a@用."),
    *(
        "+",
        "+1",
        "+1 ",
        "(",
        "(1",
        "(1)",
        "1)",
        "1 (",
        "1/",
        "0 ",
        "13",
        "0086",
        "(+86)",
        "phone: 1",
        "number ",
        "１",
        "＠",
    ),
    *("fe80::", "1.1.1.", "1.2.3.4 ", "version ", "1111-", "4111 ", "123-45-", "4111111111111111,", "\x00"),
    "8.8.8.8-415-555-0132-",
]


def seconds(work, text):
    times = []
    for _ in range(2):
        begin = time.process_time()
        work(text)
        times.append(time.process_time() - begin)
    return min(times)


@pytest.mark.parametrize("unit", HOSTILE, ids=ascii)
def test_eight_times_the_hostile_input_is_about_eight_times_the_work(unit):
    """Quadratic work would be 64 times as much."""
    long = (unit * 4_000)[:4_000]
    taken = seconds(find, long)
    if taken > 0.003:  # below, the clock decides
        assert taken < 32 * seconds(find, long[:500])


@pytest.mark.parametrize("look", looks(), ids=lambda look: look.rules[-1][0])
def test_each_pattern_alone_is_linear_too(look):
    for unit in HOSTILE:
        long = (unit * 4_000)[:4_000]
        for _, pattern, _ in look.rules:
            taken = seconds(pattern.findall, long)
            if taken > 0.003:
                assert taken < 32 * seconds(pattern.findall, long[:500]), (pattern.pattern, unit)


@pytest.mark.parametrize(
    ("text", "kinds"), [("a", "mail"), ("a", []), ("a", ["email", "iban"]), (b"a@b.co", KINDS), (None, KINDS)]
)
def test_an_unknown_kind_and_bytes_are_refused(text, kinds):
    with pytest.raises(ValueError, match="got"):
        find(text, kinds)
