"""Interrupts at moments of our choice: one that came in the middle of starting or ending processes would leave some."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["held"]


@contextmanager
def held() -> Iterator[Callable[[], None]]:
    """Note an interrupt instead of raising it; call what is given where it may be raised. At the end it is, if noted.

    In other threads than the main one there are no interrupts, and nothing is done.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: None
        return
    noted: list[int] = []

    def pass_on() -> None:
        if noted:
            noted.clear()
            before(signal.SIGINT, None)

    signal.signal(signal.SIGINT, lambda number, _frame: noted.append(number))
    try:
        yield pass_on
    finally:
        signal.signal(signal.SIGINT, before)
        pass_on()
