"""Personal data made up at random, right and nearly right, in the formats that people write."""

import random
from collections.abc import Callable

Maker = Callable[[random.Random], str]
_FIRST = [
    "anna",
    "ben",
    "carla",
    "david",
    "elena",
    "farid",
    "grace",
    "henry",
    "ines",
    "jonas",
    "kofi",
    "lena",
    "marco",
    "nadia",
    "omar",
    "petra",
    "quinn",
    "rosa",
    "sven",
    "tara",
]
_LAST = [
    "ahmed",
    "baker",
    "costa",
    "diaz",
    "evans",
    "fischer",
    "garcia",
    "hughes",
    "ito",
    "jensen",
    "khan",
    "lopez",
    "mori",
    "novak",
    "okafor",
    "patel",
    "rossi",
    "smith",
]
_HOSTS = (
    "example.com",
    "example.org",
    "mail.example.com",
    "example.net",
    "dept.north.example.edu",
    "post-office.example.org",
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("0123456789", k=count))


def _grouped(digits: str, sizes: tuple[int, ...], between: str) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(digits[at : at + size])
        at += size
    return between.join(parts)


def email_1(rng: random.Random) -> str:
    """Plain addresses: first.last@host, initials, a number."""
    first, last, host = rng.choice(_FIRST), rng.choice(_LAST), rng.choice(_HOSTS[:3])
    return rng.choice((f"{first}.{last}@{host}", f"{first[0]}{last}@{host}", f"{first}{rng.randint(1, 99)}@{host}"))


def email_2(rng: random.Random) -> str:
    """Rarer ones: capitals, a plus, underscores, hyphens, several subdomains, digits only."""
    first, last, host = rng.choice(_FIRST), rng.choice(_LAST), rng.choice(_HOSTS)
    return rng.choice((
        f"{first}.{last}+news@{host}", f"{first}_{last}{rng.randint(1, 9)}@{host}",
        f"{first.title()}.{last.title()}@{host}",
        f"{rng.randrange(10**8, 10**9)}@{host}", f"{last}-{first[0]}@{host.title()}",
        f"{first[0]}.{last[0]}.x@{host}",
    ))  # fmt: skip


def phone_1(rng: random.Random) -> str:
    """North American numbers of the fictional range 555-01xx, British ones set aside for drama."""
    area, line = rng.choice(("212", "303", "415", "617", "702", "808", "919")), f"01{_digits(rng, 2)}"
    return rng.choice((
        f"({area}) 555-{line}", f"{area}-555-{line}", f"+1 {area}-555-{line}", f"1-800-555-{line}",
        f"+44 20 7946 0{_digits(rng, 3)}",
    ))  # fmt: skip


def phone_2(rng: random.Random) -> str:
    """Dots, no blanks, other countries, a trunk zero in brackets."""
    area, line = rng.choice(("206", "312", "404", "510", "713", "916")), f"01{_digits(rng, 2)}"
    return rng.choice((
        f"{area}.555.{line}", f"+1{area}555{line}", f"+1 ({area}) 555-{line}", f"07700 900{_digits(rng, 3)}",
        f"+44 7700 900{_digits(rng, 3)}",
        f"+44 (0)20 7946 0{_digits(rng, 3)}", f"+49 30 23125 {_digits(rng, 3)}",
        f"+33 1 99 00 {_digits(rng, 2)} {_digits(rng, 2)}",
    ))  # fmt: skip


def phone_zh_1(rng: random.Random) -> str:
    """Chinese mobile numbers and land lines as mostly written."""
    mobile = rng.choice(("138", "139", "150", "186", "177")) + _digits(rng, 8)
    return rng.choice(
        (mobile, mobile, _grouped(mobile, (3, 4, 4), " "), f"010-6{_digits(rng, 7)}", f"0755-2{_digits(rng, 7)}")
    )


def phone_zh_2(rng: random.Random) -> str:
    """With the country's code, hyphens, brackets, and a service number."""
    mobile = rng.choice(("133", "152", "158", "188", "199")) + _digits(rng, 8)
    return rng.choice((
        f"+86 {mobile}", f"+86-{_grouped(mobile, (3, 4, 4), '-')}", _grouped(mobile, (3, 4, 4), "-"),
        f"(021) 5{_digits(rng, 3)}-{_digits(rng, 4)}",
        f"400-8{_digits(rng, 2)}-{_digits(rng, 4)}", f"+86 21 5{_digits(rng, 3)} {_digits(rng, 4)}",
    ))  # fmt: skip


def ipv4(rng: random.Random) -> str:
    """An address, one in four of them private."""
    if rng.random() < 0.25:
        return rng.choice(
            (f"192.168.{rng.randrange(256)}.{rng.randrange(256)}", f"10.{rng.randrange(256)}.{rng.randrange(256)}.7")
        )
    return ".".join(str(rng.randrange(*limits)) for limits in ((11, 126), (0, 256), (0, 256), (1, 255)))


def ipv6_1(rng: random.Random) -> str:
    """A full address of the documentation range."""
    return "2001:0db8:" + ":".join(f"{rng.randrange(65536):04x}" for _ in range(6))


def ipv6_2(rng: random.Random) -> str:
    """Compressed, link-local, in capitals, with an IPv4 tail."""
    a, b = f"{rng.randrange(1, 65536):x}", f"{rng.randrange(1, 65536):x}"
    return rng.choice(
        (
            f"2001:db8::{a}",
            f"2001:db8:{a}::{b}",
            f"fe80::{a}:{b}",
            f"2001:DB8:0:0:{a.upper()}::1",
            f"::ffff:{ipv4(rng)}",
        )
    )


def luhn_digit(digits: str) -> str:
    """The check digit that makes a number pass Luhn's test (ISO/IEC 7812-1, annex B)."""
    doubled = (int(d) * 2 if i % 2 == 0 else int(d) for i, d in enumerate(reversed(digits)))
    return str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)


def card_number(
    rng: random.Random, *, right: bool = True, prefixes: tuple[str, ...] = ("4", "51", "55", "2221", "37")
) -> str:
    """The digits of a card: 16, for prefix 37 15; with `right=False` the check digit is wrong."""
    prefix = rng.choice(prefixes)
    body = prefix + _digits(rng, (14 if prefix == "37" else 15) - len(prefix))
    check = luhn_digit(body)
    return body + (check if right else str((int(check) + rng.randint(1, 9)) % 10))


def card_1(rng: random.Random) -> str:
    """Groups of four with blanks, or no groups."""
    digits = card_number(rng, prefixes=("4", "51", "55"))
    return rng.choice((digits, _grouped(digits, (4, 4, 4, 4), " ")))


def card_2(rng: random.Random) -> str:
    """Hyphens, other issuers, the 4-6-5 of American Express."""
    digits = card_number(rng, prefixes=("37", "2221", "4"))
    return _grouped(digits, (4, 6, 5) if len(digits) == 15 else (4, 4, 4, 4), rng.choice(("-", " ")))


def bad_card(rng: random.Random) -> str:
    """What looks like a card and fails Luhn's test."""
    digits = card_number(rng, right=False, prefixes=("4", "51"))
    return rng.choice((digits, _grouped(digits, (4, 4, 4, 4), " "), _grouped(digits, (4, 4, 4, 4), "-")))


def ssn(rng: random.Random) -> str:
    """A social security number that could have been given out: no area 000, 666, 9xx, no group 00, no serial 0000."""
    area = rng.choice((rng.randint(1, 665), rng.randint(667, 899)))
    return f"{area:03d}-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}"


def bad_ssn(rng: random.Random) -> str:
    """A number of the same form that was never given out."""
    area, group, serial = rng.randint(100, 600), rng.randint(10, 99), rng.randint(1000, 9999)
    return rng.choice((f"000-{group}-{serial}", f"666-{group}-{serial}", f"{area}-00-{serial}", f"{area}-{group}-0000"))


def id_cn(rng: random.Random, *, right: bool = True) -> str:
    """A Chinese identity number: region, birthday, serial, and the check character of GB 11643-1999."""
    region = rng.choice(("110105", "310112", "440305", "510107", "330106", "420111"))
    birthday = f"{rng.randint(1950, 2005)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    body = region + birthday + _digits(rng, 3)
    check = "10X98765432"[sum(int(d) * w for d, w in zip(body, _WEIGHTS, strict=True)) % 11]
    return body + (check if right else rng.choice([c for c in "0123456789X" if c != check]))


def bad_id_cn(rng: random.Random) -> str:
    """The same with a wrong check character, and no card number by chance either."""
    number = id_cn(rng, right=False)
    while number.isdigit() and luhn_digit(number[:-1]) == number[-1]:
        number = id_cn(rng, right=False)
    return number


def url_1(rng: random.Random) -> str:
    """Addresses with a path or with www."""
    word = rng.choice(_LAST)
    return rng.choice(
        (
            f"https://www.example.com/{word}",
            f"http://{word}.example.org/news/{rng.randint(1, 999)}.html",
            f"www.example.net/{word}/",
        )
    )


def url_2(rng: random.Random) -> str:
    """Ports, queries, fragments, an address of numbers, percent signs."""
    word, n = rng.choice(_LAST), rng.randint(2, 999)
    return rng.choice((
        f"https://{word}.example.com:8443/login?user={n}&next=%2Fhome",
        f"http://192.0.2.{n % 250}:8080/{word}", f"https://example.org/~{word}/#part-{n}",
        f"https://example.net/a_b-c/{n}?q={word}+{n}", f"ftp://files.example.org/pub/{word}.tar.gz",
    ))  # fmt: skip
