"""Packages that are imported on their first use: exercises are listed at once, and also where a package is missing."""

import importlib
from typing import Any


class Later:
    """Stands for a package until something of it is used: `torch = Later("torch")` costs nothing, `torch.exp` imports.

    >>> math = Later("math")
    >>> math.floor(2.5)
    2
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # who asks so only looks at this object: copy, inspect, a debugger
            raise AttributeError(attribute)
        try:
            package = importlib.import_module(self._name)
        except ModuleNotFoundError as error:
            if error.name != self._name:
                raise
            from labkit.workbench import installing

            get = installing.command(installing.extra_for(self._name) or installing.CORE)
            raise ModuleNotFoundError(f"No module named '{self._name}'; get it with {get}", name=self._name) from error
        return getattr(package, attribute)
