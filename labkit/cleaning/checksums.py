"""What tells a real number from a number that only looks like one: check digits, dates, ranges that are assigned."""

import ipaddress
from datetime import date
from operator import mul
from typing import Any

_VALUES = bytes.maketrans(b"0123456789", bytes(range(10)))  # digits as they are written, and what they stand for
DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # the sum of the digits of twice a digit
_DOUBLES = bytes.maketrans(bytes(range(10)), bytes(DOUBLED))
PLACES = tuple(2**i % 11 for i in range(17, 0, -1))  # of the first 17 characters: 7 9 10 5 8 4 2 1 6 3 7 9 10 5 8 4 2
CHECK_CHARACTERS = "10X98765432"  # by the weighted sum mod 11
# The first two digits of a Chinese ID: provinces, then Taiwan (71, 83), Hong Kong (81), Macau (82), abroad (91).
REGIONS = frozenset(
    str(number)
    for first, last in ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (71, 71), (81, 83), (91, 91))
    for number in range(first, last + 1)
)
# Issuers of payment cards: the first prefix and the last of a range, and how many digits the whole number has.
ISSUERS = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("6011", "6011", (16, 19)),  # Discover
    ("644", "659", (16, 19)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("1800", "1800", (15,)),
    ("2131", "2131", (15,)),
    ("300", "305", (14, 16, 19)),  # Diners Club
    ("3095", "3095", (14, 16, 19)),
    ("36", "36", (14, 16, 19)),
    ("38", "39", (14, 16, 19)),
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    *((low, high, tuple(range(12, 20))) for low, high in (("5018", "5018"), ("5020", "5020"), ("5038", "5038"))),
    *((low, high, tuple(range(12, 20))) for low, high in (("5893", "5893"), ("6304", "6304"), ("6759", "6763"))),
)
NEVER_ISSUED = frozenset({"078051120", "219099999"})  # printed in advertisements, and withdrawn


def luhn(number: str) -> bool:
    """Whether the last digit is right: with every second one doubled, they add up to 0 mod 10.

    The second from the right is doubled, the fourth, and so on; a doubled digit counts with the sum of its digits.

    Source: ISO/IEC 7812-1, annex B.

    >>> luhn("79927398713"), luhn("79927398710")
    (True, False)
    """
    return _ascii_digits(number) and _luhn_sum(number) % 10 == 0


def luhn_digit(payload: str | Any) -> str:
    """Give the digit that has to follow.

    Raises:
        ValueError: if the payload is not digits.

    >>> luhn_digit("7992739871")
    '3'
    """
    if not isinstance(payload, str) or not _ascii_digits(payload):
        raise ValueError(f"a check digit follows one or more digits 0 to 9 in a string, got {payload!r}")
    return str(-_luhn_sum(payload + "0") % 10)


def _luhn_sum(number: str) -> int:
    digits = number.encode().translate(_VALUES)[::-1]
    return sum(digits[0::2]) + sum(digits[1::2].translate(_DOUBLES))


def chinese_id_character(first: str | Any) -> str:
    """Give the check character that ends a Chinese resident ID number, by its first 17 digits.

    The whole number, each place weighted by a power of 2, is 1 mod 11; a check of 10 is written X.

    Raises:
        ValueError: if there are not 17 digits.

    Source: GB 11643-1999; ISO 7064, MOD 11-2.

    >>> chinese_id_character("11010519491231002")
    'X'
    """
    if not isinstance(first, str) or len(first) != len(PLACES) or not _ascii_digits(first):
        raise ValueError(f"the check character follows 17 digits 0 to 9 in a string, got {first!r}")
    return CHECK_CHARACTERS[sum(map(mul, first.encode().translate(_VALUES), PLACES)) % 11]


def chinese_id(number: str) -> bool:
    """Whether this is a Chinese resident ID number: region, date of birth, serial number, check character.

    Source: GB 11643-1999.

    >>> chinese_id("11010519491231002X"), chinese_id("110105194912310021")
    (True, False)
    """
    first, last = number[:17], number[17:]
    if len(first) < 17 or not _ascii_digits(first) or number[:2] not in REGIONS or not _birthday(number[6:14]):
        return False
    return last.upper() == chinese_id_character(first)


def _birthday(digits: str) -> bool:
    try:
        born = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return 1850 <= born.year < 2100  # not "until today": a text must be read alike in every year


def ssn(number: str) -> bool:
    """Whether these nine digits can be a US social security number; hyphens or spaces may separate area, group, serial.

    No area is 000, 666 or 900 to 999, no group 00, no serial 0000. There is no check digit.

    Source: US Social Security Administration, "SSN randomization" (2011), and its list of invalid numbers.

    >>> [ssn(number) for number in ("536-22-8726", "666-22-8726", "536-00-8726", "536-22-0000")]
    [True, False, False, False]
    """
    digits = number.replace("-", "").replace(" ", "")
    if len(digits) != 9 or not _ascii_digits(digits) or digits in NEVER_ISSUED:
        return False
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def card(number: str) -> bool:
    """Whether this is the number of a payment card: an issuer's prefix, a length that issuer uses, the check digit.

    Source: ISO/IEC 7812-1; the issuers' published ranges.

    >>> [card(number) for number in ("4111111111111111", "4111111111111112", "9783161484100")]
    [True, False, False]
    """
    if not luhn(number):
        return False
    return any(len(number) in lengths and low <= number[: len(low)] <= high for low, high, lengths in ISSUERS)


def scope(address: str | Any) -> str:
    """Say who can be meant by an IP address: "public", "private", "loopback", "documentation" or "other".

    Everybody's computer is 127.0.0.1 and half of all routers are 192.168.0.1: such addresses identify nobody.

    Raises:
        ValueError: if it is no address.

    Source: RFC 1918, RFC 4193 (private); RFC 5737, RFC 3849, RFC 9637 (documentation); RFC 1122, RFC 4291 (loopback).

    >>> [scope(a) for a in ("8.8.8.8", "192.168.0.1", "127.0.0.1", "203.0.113.7", "2001:db8::1")]
    ['public', 'private', 'loopback', 'documentation', 'documentation']
    """
    if not isinstance(address, str):
        raise ValueError(f"an address is a string such as '192.0.2.1', got {address!r}")
    parsed = ipaddress.ip_address(address)
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if any(parsed in net for net in map(ipaddress.ip_network, _DOCUMENTATION) if net.version == parsed.version):
        return "documentation"
    if parsed.is_loopback:
        return "loopback"
    if parsed.is_global and not parsed.is_multicast:
        return "public"
    return "private" if parsed.is_private else "other"


_DOCUMENTATION = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")


def _ascii_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
