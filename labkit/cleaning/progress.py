"""A progress bar, where a label asks for one."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["bar", "counted"]


@contextmanager
def bar(label: str | None, total: int | None, done: int = 0, unit: str = "documents") -> Iterator[Any]:
    """A bar (of tqdm) with this label, which is told by `.update(count)`; without a label nothing is shown."""
    if label is None:
        yield _Silent()
        return
    import threading

    from tqdm.auto import tqdm

    tqdm.set_lock(threading.RLock())  # its own, between processes, would be left over after a kill
    scale = unit == "B"
    with tqdm(total=total, initial=done, desc=label, unit=unit, unit_scale=scale, leave=False) as shown:
        yield shown


class _Silent:
    def update(self, count: int = 1) -> None:
        """Nothing is shown."""


def counted(items: Iterable[Any], label: str | None) -> Iterator[Any]:
    """The items as they are, counted by a bar as they pass."""
    total = len(items) if hasattr(items, "__len__") else None
    with bar(label, total) as shown:
        for item in items:
            yield item
            shown.update(1)
