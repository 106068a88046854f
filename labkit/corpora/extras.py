"""Packages that a topic can use and the course does not insist on; refused with the way to get them."""

import contextlib
import importlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from labkit.corpora.cache import CorpusUnavailable

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


def if_possible(load: Callable[[], Any]) -> Any:
    """What `load()` returns, or None, with a printed line that says why, where a text, a model or a package is missing.

    A page can go on without it: `if model:` guards what needs it.

    >>> if_possible(lambda: 3)
    3
    """
    try:
        return load()
    except CorpusUnavailable as reason:
        print("going on without:", reason)
        return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing is written to stderr, logged or warned inside, by Python or by C++, and no handler stays behind."""
    disabled, handlers = logging.root.manager.disable, logging.root.handlers[:]
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    logging.disable(logging.CRITICAL)
    os.dup2(nowhere, 2)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
        logging.disable(disabled)
        logging.root.handlers[:] = handlers


def quiet_import(module: str, extra: str = "compression", why: str = "") -> Any:
    """The module of this name, imported without a word: torchao, for one, tells which kernels it did not find.

    Raises:
        ModuleNotFoundError: if it cannot be imported; the message says how to get it.

    >>> quiet_import("json").dumps([1])
    '[1]'
    """
    with quiet():
        return need(module, extra, why)
