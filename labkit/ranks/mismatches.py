"""What torch says when ranks do not fit together, in one sentence: which rank called what."""

import re

__all__ = ["explained", "follows"]

_FINGERPRINT = re.compile(
    r"[Rr]ank (\d+) is running collective: CollectiveFingerPrint\(SequenceNumber=\d+, OpType=(\w+)"
    r"(?:, TensorShape=\[([\d, ]*)\])?(?:, TensorDtypes=(\w+))?"
)
_NAMES = {
    "ALLREDUCE": "all_reduce",
    "ALLGATHER": "all_gather",
    "_ALLGATHER_BASE": "all_gather_single",
    "REDUCE_SCATTER": "reduce_scatter",
    "_REDUCE_SCATTER_BASE": "reduce_scatter_single",
    "ALLTOALL": "all_to_all",
    "ALLTOALL_BASE": "all_to_all_single",
}
_ABSENT = re.compile(r"Ranks? ([\d, ]+) failed to pass monitoredBarrier in (\d+) ms")
_WAITED = re.compile(r"Timed out waiting (\d+)ms for (recv|send)")
_GONE = re.compile(r"Connection (was )?(reset|closed|refused)|Broken pipe|[Cc]losed by peer|Socket Timeout|unreachable")
_TAKEN = re.compile(r"port: (\d+).*EADDRINUSE")
_SIZES = re.compile(r"(\d+) vs (\d+)\. Received data size doesn't match")


def explained(message: str, call: str) -> str:
    """One sentence for what torch says of ranks that do not fit together; empty if it speaks of something else.

    >>> explained("[Rank 0]: Ranks 1 failed to pass monitoredBarrier in 5000 ms", "all_reduce")
    'waited 5 s in all_reduce for rank 1, which did not call it'
    """
    doing = call or "a collective"
    if "Detected mismatch between collectives" in message:
        calls = [f"rank {rank} calls {_call(*what)}" for rank, *what in _FINGERPRINT.findall(message)]
        return f"the ranks do not agree: {', '.join(sorted(calls))}"
    if found := _ABSENT.search(message):
        return f"waited {int(found[2]) / 1000:g} s in {doing} for rank {found[1]}, which did not call it"
    if found := _WAITED.search(message):
        other = "did not send" if found[2] == "recv" else "did not receive"
        return f"waited {int(found[1]) / 1000:g} s in {doing} for another rank, which {other}"
    if found := _SIZES.search(message):
        return (
            f"another rank sent {found[1]} bytes where {found[2]} were expected: the ranks disagree on shape, dtype or "
            "order of a collective (checks=True names it)"
        )
    if found := _TAKEN.search(message):
        return f"the port {found[1]} is in use by another process: choose another MASTER_PORT"
    if _GONE.search(message) and ("loo" in message or "tcp" in message or "store" in message.lower()):
        return f"lost the connection in {doing} to a rank that has ended"
    return ""


def follows(message: str) -> bool:
    """Whether this is how a rank complains of another one's end, which is not the cause of anything."""
    return bool(re.search(r"(^|: )(lost the connection|waited [\d.]+ s) in ", message))


def _call(operation: str, shape: str, dtype: str) -> str:
    name = _NAMES.get(operation, operation.lower())
    if not dtype:
        return name
    size = " × ".join(shape.split(", ")) if shape else "one"
    return f"{name} of {size} {dtype.lower()}"
