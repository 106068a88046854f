"""System calls that an answer has no use for, shut before it runs: what they take is counted by no limit (Linux).

Memory in a `memfd` or a System V segment belongs to no process, a new namespace brings file systems of any size, and
one signal to "all processes" reaches those of the teacher where no sandbox stands between.
"""

import contextlib
import ctypes
import platform
import struct

__all__ = ["shut"]

# Numbers of calls: memfd_create, memfd_secret, shmget, msgget, unshare, setns, mount, io_uring_setup, userfaultfd, bpf,
# perf_event_open, add_key, request_key, keyctl; then clone, clone3, kill. Those above 424 are the same everywhere.
CALLS = {
    "x86_64": (0xC000003E, (319, 447, 29, 68, 272, 308, 165, 425, 323, 321, 298, 248, 249, 250), 56, 435, 62),
    "aarch64": (0xC00000B7, (279, 447, 194, 186, 97, 268, 40, 425, 282, 280, 241, 217, 218, 219), 220, 435, 129),
}
NAMESPACES = 0x7E020000  # all flags of clone() that make one
LOAD, EQUAL, ABOVE, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # instructions of the kernel's filter language
NUMBER, ARCHITECTURE, FIRST = 0, 4, 16  # where they stand in what a filter is asked about
ALLOW, NOT_PERMITTED, NOT_THERE = 0x7FFF0000, 0x00050001, 0x00050026
OTHER_NUMBERS = 0x40000000  # the second table of calls of x86-64


def shut() -> bool:
    """Refuse these calls to this process and all it starts, for good; False where that is not known how."""
    known = CALLS.get(platform.machine())
    if known is None:
        return False
    program = _program(*known)
    kept = ctypes.create_string_buffer(program, len(program))

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]

    asked = Filter(len(program) // 8, ctypes.addressof(kept))
    nothing = ctypes.c_ulong(0)
    with contextlib.suppress(OSError, AttributeError):
        prctl = ctypes.CDLL(None).prctl
        prctl(38, ctypes.c_ulong(1), nothing, nothing, nothing)  # no new privileges: without it no filter is taken
        return prctl(22, ctypes.c_ulong(2), ctypes.byref(asked), nothing, nothing) == 0
    return False


def _program(machine: int, refused: tuple[int, ...], clone: int, clone3: int, kill: int) -> bytes:
    steps = [
        _step(LOAD, ARCHITECTURE),
        *_unless(machine, NOT_PERMITTED),
        _step(LOAD, NUMBER),
        *_when(ABOVE, OTHER_NUMBERS, NOT_PERMITTED),
        *(step for number in refused for step in _when(EQUAL, number, NOT_PERMITTED)),
        *_when(EQUAL, clone3, NOT_THERE),  # its flags cannot be looked into; libraries then take clone
        *_first(clone, ANY_BIT, NAMESPACES),
        *_first(kill, EQUAL, 0xFFFFFFFF),
        _step(RETURN, ALLOW),
    ]
    return b"".join(steps)


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


def _when(test: int, value: int, result: int) -> list[bytes]:
    return [_step(test, value, 0, 1), _step(RETURN, result)]


def _unless(value: int, result: int) -> list[bytes]:
    return [_step(EQUAL, value, 1, 0), _step(RETURN, result)]


def _first(call: int, test: int, value: int) -> list[bytes]:
    """Refuse a call by its first argument."""
    inner = [_step(LOAD, FIRST), *_when(test, value, NOT_PERMITTED), _step(LOAD, NUMBER)]
    return [_step(EQUAL, call, 0, len(inner)), *inner]
