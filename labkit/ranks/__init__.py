"""Run a function of a notebook cell on N real processes, or write it as a script for torchrun.

What is imported here is loaded when it is first used: every rank imports this package, and needs little of it.
"""

_FACE = {
    "RankFailed": "failures",
    "RanksTimeout": "failures",
    "device": "group",
    "local_rank": "group",
    "rank": "group",
    "start_group": "group",
    "world": "group",
    "run_ranks": "launching",
    "run_torchrun": "torchrun",
    "torchrun_command": "torchrun",
    "torchrun_script": "torchrun",
}
__all__ = sorted(_FACE)


def __getattr__(name: str) -> object:
    import importlib

    if name not in _FACE:
        raise AttributeError(f"labkit.ranks has no {name!r}; it has {', '.join(__all__)}")
    found = getattr(importlib.import_module(f"{__name__}.{_FACE[name]}"), name)
    globals()[name] = found  # the next use does not come through here
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
