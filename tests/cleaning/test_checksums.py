"""Check digits and assigned ranges: published examples, every error of one digit, and what Luhn cannot see."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning import checksums

PAYLOADS = st.text("0123456789", min_size=1, max_size=24)


def test_luhn_by_hand_on_the_example_of_the_standard():
    # 7992739871 from the right, every second doubled: 2 7 16→7 9 6 7 4 9 18→9 7 = 67, and 3 makes it 70
    assert checksums.luhn_digit("7992739871") == "3"
    assert [last for last in "0123456789" if checksums.luhn("7992739871" + last)] == ["3"]


@pytest.mark.parametrize(
    "number", ["4111111111111111", "5555555555554444", "378282246310005", "6011111111111117", "30569309025904"]
)
def test_the_test_numbers_that_payment_companies_publish_are_cards(number):
    assert checksums.card(number)


@pytest.mark.parametrize(
    "number", ["9783161484100", "79927398713", "4111111111111112", "411111111111111", "", "４１１１"]
)
def test_other_numbers_are_no_cards_whatever_their_check_digit(number):
    assert not checksums.card(number)


@given(PAYLOADS, st.data())
@settings(max_examples=40, deadline=None)
def test_luhn_sees_every_wrong_digit(payload, data):
    number = payload + checksums.luhn_digit(payload)
    at = data.draw(st.integers(0, len(number) - 1))
    wrong = data.draw(st.sampled_from([d for d in "0123456789" if d != number[at]]))
    assert checksums.luhn(number) and not checksums.luhn(number[:at] + wrong + number[at + 1 :])


def test_the_only_swap_of_neighbours_that_luhn_misses_is_of_0_and_9():
    missed = set()
    for a, b in itertools.permutations("0123456789", 2):
        numbers = [f"{front}{a}{b}{back}" for front in ("7", "31") for back in ("", "5", "58")]
        right = [n + checksums.luhn_digit(n) for n in numbers]
        if any(checksums.luhn(n.replace(a + b, b + a, 1)) for n in right if a + b in n):
            missed.add(a + b)
    assert missed == {"09", "90"}


def test_a_chinese_id_by_hand():
    # the example of the standard: the sum of 11010519491231002, weighted, is 167; 167 mod 11 is 2; 12 − 2 is written X
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    assert sum(int(d) * w for d, w in zip("11010519491231002", weights, strict=True)) == 167
    assert checksums.chinese_id_character("11010519491231002") == "X"
    assert checksums.chinese_id("11010519491231002X") and checksums.chinese_id("11010519491231002x")


def test_chinese_ids_agree_with_those_that_faker_makes():
    faker = pytest.importorskip("faker").Faker("zh_CN")
    faker.seed_instance(5)
    assert all(checksums.chinese_id(faker.ssn()) for _ in range(200))


@pytest.mark.parametrize(
    ("first", "why"),
    [("99010519491231002", "region"), ("11010519491331002", "month"), ("11010519490229002", "29 February 1949"),
     ("11010500001231002", "year"), ("11010529491231002", "in 900 years")],
)  # fmt: skip
def test_an_id_with_the_right_check_character_needs_a_region_and_a_date_too(first, why):
    assert not checksums.chinese_id(first + checksums.chinese_id_character(first)), why


def test_mod_11_2_sees_every_wrong_digit_and_every_swap_of_neighbours():
    rng = random.Random(0)
    for _ in range(5):
        first = "".join(rng.choices("0123456789", k=17))
        last = checksums.chinese_id_character(first)
        for i in range(17):
            others = {first[:i] + d + first[i + 1 :] for d in "0123456789"} - {first}
            others |= {first[:i] + first[i + 1] + first[i] + first[i + 2 :] for i in range(16)} - {first}
            assert all(checksums.chinese_id_character(other) != last for other in others)


@pytest.mark.parametrize(
    "number",
    [
        *("000-12-3456", "666-12-3456", "900-12-3456", "999-12-3456", "123-00-4567", "123-45-0000"),
        *("078-05-1120", "219-09-9999", "12-345-678", "1234567890", "abc"),
    ],
)
def test_a_social_security_number_that_is_never_given_out_is_none(number):
    assert not checksums.ssn(number)


def test_social_security_numbers_agree_with_those_that_faker_makes():
    faker = pytest.importorskip("faker").Faker("en_US")
    faker.seed_instance(5)
    assert all(checksums.ssn(faker.ssn()) for _ in range(200))


@pytest.mark.parametrize(
    ("address", "expected"),
    [("8.8.8.8", "public"), ("10.255.0.1", "private"), ("172.31.0.1", "private"), ("172.32.0.1", "public"),
     ("192.168.1.1", "private"), ("127.1.2.3", "loopback"), ("::1", "loopback"), ("192.0.2.1", "documentation"),
     ("198.51.100.9", "documentation"), ("203.0.113.255", "documentation"), ("203.0.114.0", "public"),
     ("2001:db8::5", "documentation"), ("fd00::1", "private"), ("2606:4700::1111", "public"),
     ("::ffff:10.0.0.1", "private"), ("::ffff:8.8.8.8", "public"), ("224.0.0.251", "other")],
)  # fmt: skip
def test_an_address_has_the_scope_that_its_rfc_gives_it(address, expected):
    assert checksums.scope(address) == expected


@pytest.mark.parametrize("payload", ["", "12a", "１２", "-1", 12])
def test_a_check_digit_of_something_else_is_refused(payload):
    with pytest.raises(ValueError, match="digits 0 to 9"):
        checksums.luhn_digit(payload)
    with pytest.raises(ValueError, match="17 digits"):
        checksums.chinese_id_character(payload)
    with pytest.raises(ValueError):
        checksums.scope(payload)
