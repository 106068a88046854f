"""The llm-labkit course: `import labkit` gives the classroom at once and loads a topic when it is first used.

The first cell of a notebook is `lab = labkit.start(scale, seed)`; `claim`, `check`, `explore` and `show` do the rest.
"""

_FACE = {
    "start": "session",
    "claim": "claims",
    "ledger": "claims",
    "at_least": "claims",
    "at_most": "claims",
    "between": "claims",
    "explore": "explore",
    "check": "checking",
    "hint": "checking",
    "solution": "checking",
    "given": "personal",
    "seed_for": "personal",
    "progress": "learner",
    "points": "releasing.interchange",
    "show": "showing",
}


def __getattr__(name: str) -> object:
    import importlib

    if name in _FACE:
        found = getattr(importlib.import_module(f"labkit.workbench.{_FACE[name]}"), name)
    elif name == "__version__":
        found = _version()
    elif not name.startswith("_") and name in _submodules():
        found = importlib.import_module(f"labkit.{name}")
    else:
        raise AttributeError(_unknown(name))
    globals()[name] = found  # the next use does not come through here
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE, *_submodules(), "__version__"})


def _submodules() -> list[str]:
    import pkgutil

    return [module.name for module in pkgutil.iter_modules(__path__)]


def _version() -> str:
    from importlib import metadata

    return metadata.version("llm-labkit")


def _unknown(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, [*_FACE, *_submodules()], n=1) if not name.startswith("_") else []
    return f"labkit has no {name!r}" + (f"; did you mean {near[0]!r}?" if near else "; dir(labkit) lists what it has")
