"""Masks: what is replaced, what stays, and that a second time changes nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning import masking
from labkit.cleaning.masking import mask, pseudonyms
from labkit.cleaning.personal import Span, find
from labkit.corpora.crawl import personal_documents


def test_values_become_tokens_and_are_counted_where_they_stood():
    done = mask("电话13812345678，邮箱bob@example.org。")
    assert done.text == "电话<phone>，邮箱<email>。"
    assert done.count == 2 and done.spans == (Span(2, 13, "phone"), Span(16, 31, "email"))


@pytest.mark.parametrize(
    ("token", "expected"),
    [("[PII]", "[PII] [PII]"), ("", " "), ("[{kind}]", "[email] [ipv4]"), ({"email": "@@"}, "@@ 8.8.8.8"),
     (lambda kind, found: found[0] * 3, "bbb 888"), (lambda kind, found: None, "bob@x.org 8.8.8.8"),
     (lambda kind, found: found, "bob@x.org 8.8.8.8"), ("{0}{{kind}}", "{0}{email} {0}{ipv4}")],
)  # fmt: skip
def test_the_token_is_a_text_a_mapping_or_a_function(token, expected):
    done = mask("bob@x.org 8.8.8.8", token)
    assert done.text == expected
    assert (
        done.count
        == len(done.spans)
        == sum(a != b for a, b in zip(expected.split(" "), ["bob@x.org", "8.8.8.8"], strict=True))
    )


ADDRESSES = "10.0.0.1 127.0.0.1 192.0.2.1 ::1 2001:db8::1 8.8.8.8 2606:4700::1111"


def test_addresses_that_mean_nobody_are_kept_unless_the_policy_is_to_mask_them():
    assert mask(ADDRESSES).text == "10.0.0.1 127.0.0.1 192.0.2.1 ::1 2001:db8::1 <ipv4> <ipv6>"
    assert mask(ADDRESSES, private_addresses="mask").count == 7


def test_only_the_kinds_chosen_are_masked():
    assert mask("bob@x.org 415-555-0132", kinds="phone").text == "bob@x.org <phone>"


TOKENS = ["<{kind}>", "[{kind}]", "nobody@example.invalid", "see http://masked.example/{kind} 000", pseudonyms("k")]


@pytest.mark.parametrize("token", TOKENS, ids=["angle", "square", "an address", "a URL in words", "pseudonym"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_masked_text_is_masked_already(token, language):
    for document in personal_documents(8, seed=2, language=language, templates=2):
        once = mask(document.text, token, private_addresses="mask")
        again = mask(once.text, token, private_addresses="mask")
        assert once.count == len(document.spans)
        assert (again.text, again.count, again.spans) == (once.text, 0, ())


PIECES = [
    *("8.8.8.8", "bob@x.org", "415-555-0132", "4111 1111 1111 1111", "https://a.org/b", "fe80::1", "电话"),
    *"-. 1x@:/\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=100, deadline=None)
def test_values_side_by_side_are_masked_once_and_for_all(text):
    once = mask(text, private_addresses="mask")
    assert mask(once.text, private_addresses="mask").text == once.text


def test_what_looks_like_somebody_elses_token_is_no_reason_to_spare_its_neighbour():
    assert mask("<email> bob@x.org [phone]415-555-0132").text == "<email> <email> [phone]<phone>"
    assert mask("maria@b.co a@b.co", "a@b.co").text == "a@b.co a@b.co"


def test_pseudonyms_are_the_same_for_the_same_value_and_differ_with_the_key():
    text = "bob@x.org eve@x.org bob@x.org"
    first, second, third = mask(text, pseudonyms("one")).text.split()
    assert first == third != second and first.startswith("<email:")
    assert first not in mask(text, pseudonyms(b"two")).text
    assert find(mask(text, pseudonyms("one")).text) == []


def test_a_text_without_personal_data_comes_back_itself():
    text = "话说天下大势，分久必合。" * 10
    assert mask(text).text is text


@pytest.mark.parametrize(
    "arguments",
    [{"token": 7}, {"token": None}, {"token": {"mail": "x"}}, {"kinds": "mail"}, {"private_addresses": "drop"}],
)
def test_an_impossible_mask_is_refused(arguments):
    with pytest.raises(ValueError, match="got"):
        mask("bob@x.org", **arguments)


def test_a_key_that_protects_nothing_is_refused():
    for key in ("", b"", "x" * 65, 7):
        with pytest.raises(ValueError, match="1 to 64 bytes"):
            pseudonyms(key)


def test_an_address_in_full_width_digits_is_judged_like_any_other():
    assert mask("服务器１９２．１６８．０．１").text == "服务器１９２．１６８．０．１"
    assert mask("服务器８．８．８．８ ２００１:db8::1").text == "服务器<ipv4> ２００１:db8::1"


def test_a_chinese_address_with_a_number_right_behind_it_is_masked_the_first_time():
    once = mask("张三@例子.中国13800138000")
    assert once.text == "<email><phone>" and mask(once.text).count == 0


def test_masks_of_many_tokens_do_not_fill_the_memory():
    for number in range(200):
        mask("bob@x.org", f"<{number}>")
    assert masking._tokens.cache_info().currsize <= 64
