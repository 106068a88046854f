"""The llm-labkit course: `import labkit` gives the classroom at once and loads a topic when it is first used.

The first cell of a notebook is `lab = labkit.start(scale, seed)`; `claim`, `check`, `explore` and `show` do the rest.
"""

from sys import _getframe
from sys import meta_path as _finders
from sys import stdlib_module_names as _of_python

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


class _Lacking:
    """Asked last for a module, when nobody has it: an import that labkit needs fails with the command that helps."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if "." in name or name in _of_python:  # what another system's Python lacks has its own answer
            return
        frame = _getframe(1)
        while frame and str(frame.f_globals.get("__name__")).startswith(("importlib._bootstrap", "_frozen_importlib")):
            frame = frame.f_back
        # Only import statements: who asks importlib for a module has an own answer for an absent one, and what pickle
        # looks for is not named in the code that calls it.
        ours = frame and str(frame.f_globals.get("__name__")).startswith("labkit.")
        if ours and any(each.partition(".")[0] == name for each in frame.f_code.co_names):
            from labkit.workbench import lacking

            raise ModuleNotFoundError(lacking.sentence(name, lacking.asker(frame)), name=name)


_finders.append(_Lacking)
