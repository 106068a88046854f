"""An exercise on packing: codes of a few bits into bytes, without a gap between them."""

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "20_compression"


def pack_bits(codes, bits):
    """One long number, each code shifted past those before it, then cut into bytes."""
    stream = 0
    for place, code in enumerate(codes):
        stream |= (code & (2**bits - 1)) << (bits * place)
    return list(stream.to_bytes((len(codes) * bits + 7) // 8, "little"))


def _stream(codes, bits, mask=True, width=None, size=None):
    width = width or bits
    stream = 0
    for place, code in enumerate(codes):
        stream |= (code & (2**bits - 1) if mask else abs(code)) << (width * place)
    return stream, (len(codes) * width + 7) // 8 if size is None else size


def _bytes(stream, size):
    return [stream >> (8 * place) & 255 for place in range(size)]


def _highest_first(codes, bits):
    stream = "".join(f"{code & (2**bits - 1):0{bits}b}" for code in codes)
    return [int(stream[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(stream), 8)]


def _within_bytes(codes, bits):
    """As many whole codes as go into each byte, the rest of it empty."""
    each = 8 // bits
    return [_bytes(*_stream(codes[i : i + each], bits, size=1))[0] for i in range(0, len(codes), each)]


def _signs_spill(codes, bits):
    stream = 0
    for place, code in enumerate(codes):
        stream |= code << (bits * place)
    return _bytes(stream, (len(codes) * bits + 7) // 8)


PACK_BITS = Exercise(
    id="compression.pack_bits",
    notebook=NOTEBOOK,
    statement=(
        "Pack `codes`, a list of whole numbers from −2^(bits−1) to 2^(bits−1) − 1, into a list of bytes (0 to 255). "
        "Negative codes are in two's complement of `bits` bits. The first code takes the lowest bits of the first "
        "byte, the next one the bits above, and a code that does not fit goes on in the next byte: no bit is left "
        "out. Fill up the last byte with 0. No codes, no bytes."
    ),
    difficulty=2,
    minutes=10,
    hints=(
        "`code & (2**bits - 1)` is two's complement: −1 in 3 bits becomes 7. A Python int can be as long as you like, "
        "so all codes fit into one.",
        "`stream |= (code & (2**bits - 1)) << (bits * place)` for each code at its place; then "
        "`list(stream.to_bytes((len(codes) * bits + 7) // 8, 'little'))`.",
    ),
    solution=pack_bits,
    wrong=(
        WrongAnswer(
            "a byte for each",
            lambda codes, bits: _bytes(*_stream(codes, bits, width=8)),
            "You gave every code a byte of its own: the file is as large as with 8 bits. This is how a model "
            "“in 3 bits” stays as large as one in 8.",
        ),
        WrongAnswer(
            "no code across bytes",
            _within_bytes,
            "You left the rest of a byte empty where the next code did not fit. With 3 bits that wastes a quarter of "
            "the file; a code may begin in one byte and end in the next.",
        ),
        WrongAnswer(
            "highest bits first",
            _highest_first,
            "Your first code lies in the highest bits. The order is a matter of agreement; here the first code has the "
            "lowest bits.",
        ),
        WrongAnswer(
            "signs spill over",
            _signs_spill,
            "A negative Python number has endless ones in front, and they overwrite the codes after it. Cut them off "
            "with `& (2**bits - 1)` before you shift.",
        ),
        WrongAnswer(
            "signs lost",
            lambda codes, bits: _bytes(*_stream(codes, bits, mask=False)),
            "You packed magnitudes, so −2 comes back as 2. Two's complement keeps the sign in the highest bit.",
        ),
        WrongAnswer(
            "moved up instead of two's complement",
            lambda codes, bits: _bytes(*_stream([code + 2 ** (bits - 1) for code in codes], bits)),
            "You added 2^(bits−1) to make all codes positive. That can be read back, too; here negative codes are in "
            "two's complement: `code & (2**bits - 1)`, so −1 becomes all ones and 0 stays 0.",
        ),
        WrongAnswer(
            "the last bits dropped",
            lambda codes, bits: _bytes(_stream(codes, bits)[0], len(codes) * bits // 8),
            "Where the codes do not fill the last byte you dropped it. Round the number of bytes up.",
        ),
    ),
    cases=lambda draw: [
        ([1, 2, -1, 0], 4),
        ([], 3),
        ([-4, 3, -1], 3),
        ([-2, 1, -1, 0, 1], 2),
        *(
            (draw.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), int(draw.integers(3, 12))).tolist(), bits)
            for bits in (3, 5, 4, 6, 8)
        ),
        (draw.integers(-4, 4, 9).tolist(), 3),
    ],
)
