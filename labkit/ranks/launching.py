"""Run a function of a notebook cell on real processes: fresh interpreters, which are watched until the last has ended.

    run_ranks(fn, 2)      # what fn() returned on rank 0 and on rank 1

Fresh ones, not forks of the kernel: one that has used threads cannot be forked safely. (`forking` has what is as good
as a fresh interpreter, where torch is imported already.) Each rank leads a process group of its own, so that it can be
ended with all that it has started, and holds a pipe to this process, without which it ends.
"""

import importlib.util
import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from labkit.ranks.environment import cores, refuse_odd_names
from labkit.ranks.interrupts import held
from labkit.ranks.sending import pack
from labkit.ranks.watching import Run

__all__ = ["run_ranks"]

LONGEST = 10_000_000  # seconds: about what clocks of all systems can hold


def run_ranks(
    fn: Any,
    n: Any,
    *args: Any,
    timeout: Any = 60.0,
    threads: Any = 1,
    env: Mapping[str, Any] | Any = None,
    quiet: bool = False,
    group: bool = True,
    backend: str | None = None,
    checks: bool = False,
    **kwargs: Any,
) -> list[Any]:
    """Run `fn(*args, **kwargs)` on n fresh processes and give what each of them returned, in the order of the ranks.

    `fn` may be defined in a cell, and so may what it uses. The processes form a group of torch.distributed.

    Args:
        timeout: seconds until the ranks have to be done, their start included; ten million at most.
        threads: for each rank.
        env: more variables of the environment; None takes one away.
        quiet: whether what the ranks print is not shown.
        group: whether torch.distributed is started before `fn`; without, torch is not imported.
        backend: of the group; None for gloo, and nccl where every rank has a GPU.
        checks: whether collectives that do not match are found and named, which is slow.

    Raises:
        RankFailed: when a rank raised, was killed or ended too early; the others are ended at once.
        RanksTimeout: when ranks are not done in time, with the stack of every rank.
        ValueError: if `fn` or an argument cannot be sent, or n, timeout, threads or env make no sense.
        RuntimeError: inside of a rank: ranks do not start ranks.
    """
    __tracebackhide__ = True
    _check(fn, n, timeout, threads, group)
    refuse_odd_names(env or {})
    n, timeout = int(n), float(timeout)  # those of NumPy are numbers too
    options = {"timeout": timeout, "threads": threads, "group": group, "backend": backend, "checks": checks}
    options["patience"] = min(10.0, timeout / 2) if checks else timeout
    packed = pack(fn, args, kwargs)
    if not quiet:
        _say_how_crowded(n)
    with held() as interrupts:
        run = Run(n, options, quiet)
        try:
            run.start(packed, env or {})
            return run.results(interrupts)
        finally:
            run.end()


def _check(fn: Any, n: Any, timeout: Any, threads: Any, group: bool) -> None:
    if "LABKIT_RANK" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        raise RuntimeError("run_ranks was called on a rank: only the first process starts ranks")
    if not callable(fn):
        raise ValueError(f"{fn!r} is no function; give one that every rank calls, as in run_ranks(fn, 2)")
    if isinstance(n, bool) or not isinstance(n, Integral) or n < 1:
        raise ValueError(f"the number of ranks is {n!r}; it must be a whole number from 1, as in run_ranks(fn, 2)")
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not 0 < timeout <= LONGEST:
        raise ValueError(f"timeout is {timeout!r}; it must be a number of seconds above 0, and at most {LONGEST:,}")
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads is {threads!r}; every rank needs at least 1")
    if group and importlib.util.find_spec("torch") is None:
        raise ModuleNotFoundError("a process group needs torch: install it, or say group=False")


def _say_how_crowded(n: int) -> None:
    """One line, in marks because it differs by machine; for two ranks only if even those are too many."""
    if n > cores():
        print(f"‹{n} ranks on {cores()} cores: they take turns, so what they measure of time says little›")
    elif n > 2:
        print(f"‹{n} ranks on {cores()} cores›")
