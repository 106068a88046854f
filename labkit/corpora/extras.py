"""Packages that a topic can use and the course does not insist on; refused with the way to get them."""

import importlib
from typing import Any

PACKAGES = {"ray": "'ray[data]'", "faker": "Faker"}  # what to install where it has another name than the module


def need(module: str, extra: str = "cleaning", why: str = "") -> Any:
    """The module of this name, imported now.

    >>> need("json").dumps([1])
    '[1]'

    Args:
        module: as in an import statement; `need("ray.data")` gives that submodule.
        extra: the extra of llm-labkit that brings it.
        why: what it is needed for, as the end of a sentence: "to parse HTML".

    Raises:
        ModuleNotFoundError: if it cannot be imported; the message says what for, and the command that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        purpose = f" {why}" if why else ""
        raise ModuleNotFoundError(
            f"the package {package} is needed{purpose} and does not load here ({error}): "
            f"pip install {PACKAGES.get(package, package)} (it comes with the extra llm-labkit[{extra}])",
            name=package,
        ) from error
