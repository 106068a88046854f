"""What a container leaves of a machine's memory: on a shared server each learner has a limit that the system keeps."""

from collections.abc import Iterator
from pathlib import Path

NO_LIMIT = 2.0**60  # the older groups say it as the largest number of pages, the newer ones as "max"


def free_memory(root: Path | str = "/") -> float | None:
    """Give the bytes that may still be taken before the control group, or one around it, is full; None without a limit.

    Files that the system only keeps at hand are given back when memory is short, so they count as free.

    Source: Linux kernel, admin-guide/cgroup-v2 (memory.max, memory.current, memory.stat) and cgroup-v1/memory.
    """
    return min(_left(Path(root)), default=None)


def _left(root: Path) -> Iterator[float]:
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, kinds, inside = line.split(":", 2)
        if number == "0":
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif kinds == "memory":
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = top / inside.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top) and (left := _left_in(folder, *names)) is not None:
                yield left


def _left_in(folder: Path, limit: str, used: str, spare: str) -> float | None:
    try:
        most, taken = (float((folder / name).read_text(encoding="ascii")) for name in (limit, used))
        kept = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):  # there is no such group from in here, or "max", which is no limit
        return None
    return max(0.0, most - taken + float(kept.get(spare, 0))) if most < NO_LIMIT else None
