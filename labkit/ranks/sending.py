"""How a function of a notebook cell, and what it returns, travels between processes: by value, with cloudpickle."""

import functools
import importlib
import io
import linecache
import os
import pickle
import sys
import sysconfig
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["dump", "pack", "parts_of", "unpack", "unsendable"]

_ONE_BY_ONE = threading.Lock()  # cloudpickle keeps one list of modules for all threads


def pack(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """A function with its arguments as bytes, and the source lines of cells, for the ranks' tracebacks.

    Raises:
        ValueError: if something in it cannot be sent; it is named.
    """
    cells = {name: entry[2] for name, entry in linecache.cache.items() if len(entry) > 1 and not os.path.isfile(name)}
    with _ONE_BY_ONE, _by_value(fn):
        try:
            return pickle.dumps((cells, dumps((fn, args, kwargs))))
        except Exception as error:
            raise ValueError(_culprit(fn, args, kwargs, error)) from error


def unpack(packed: bytes) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """The function and its arguments, in the rank."""
    cells, task = pickle.loads(packed)
    for name, lines in cells.items():
        linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    return pickle.loads(task)


def dumps(what: Any) -> bytes:
    """Pickle by value what other processes cannot import; tensors on a GPU arrive on the CPU."""
    with io.BytesIO() as file:
        dump(what, file)
        return file.getvalue()


def dump(what: Any, file: Any) -> None:
    """Pickle into a file, as `dumps`."""
    import cloudpickle

    torch = sys.modules.get("torch")

    class Pickler(cloudpickle.Pickler):
        def reducer_override(self, one: Any) -> Any:
            if isinstance(one, types.ModuleType) and type(one) is not types.ModuleType:
                # Modules of a class of their own, as torch.ops, which cloudpickle takes for objects.
                found = next((name for name, known in list(sys.modules.items()) if known is one), None)
                if found:
                    return importlib.import_module, (found,)
            if isinstance(one, functools._lru_cache_wrapper) and _travels(one.__module__):
                return _cached, (one.cache_parameters(), one.__wrapped__)
            if torch is not None and isinstance(one, torch.Tensor) and one.device.type not in ("cpu", "meta"):
                return one.detach().cpu().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
            return super().reducer_override(one)

    Pickler(file).dump(what)


def _travels(module: str) -> bool:
    """Whether functions of this module are sent by value, because other processes cannot import them."""
    import cloudpickle

    return module == "__main__" or module in cloudpickle.list_registry_pickle_by_value()


def _cached(parameters: dict[str, Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """A function with a cache of its own, which cloudpickle would look for by its name."""
    return functools.lru_cache(**parameters)(function)


@contextmanager
def _by_value(fn: Callable[..., Any]) -> Iterator[None]:
    """Send the functions of the module of `fn` by value, unless it is installed, where ranks find it too."""
    import cloudpickle

    module = sys.modules.get(getattr(fn, "__module__", None) or "")
    if module is None or _installed(module) or module.__name__ in cloudpickle.list_registry_pickle_by_value():
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _installed(module: types.ModuleType) -> bool:
    if module.__name__ == "__main__" or module.__name__.partition(".")[0] == __package__.partition(".")[0]:
        return True  # cloudpickle sends __main__ by value anyway
    file = getattr(module, "__file__", None)
    if file is None:
        return True
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return any(Path(place) in Path(file).parents for place in places)


def _culprit(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> str:
    """Name the argument or the variable of the function that cannot be pickled."""
    parts = {f"argument {number}": one for number, one in enumerate(args, 1)}
    parts |= {f"argument {key!r}": one for key, one in kwargs.items()} | _variables(fn, set())
    found = unsendable(parts)
    what = f"its {found[0]} is a {found[1]}" if found else "something that it needs is not to be sent"
    name = getattr(fn, "__name__", type(fn).__name__)
    return f"{name} cannot be sent to the ranks: {what} ({error}). Make it inside of the function"


def _variables(fn: Any, seen: set[int]) -> dict[str, Any]:
    """What a function takes from around it, and what the functions among that take."""
    code = getattr(fn, "__code__", None)
    if code is None or id(fn) in seen:
        return {}
    seen.add(id(fn))
    names = {name for one in _codes(code) for name in one.co_names}
    found = {key: one for key, one in fn.__globals__.items() if key in names}
    found |= {
        key: cell.cell_contents
        for key, cell in zip(code.co_freevars, fn.__closure__ or (), strict=True)
        if cell != types.CellType()
    }
    plain = {f"variable {key!r}": one for key, one in found.items() if not isinstance(one, types.FunctionType)}
    for one in found.values():
        plain |= _variables(one, seen)
    return plain


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _codes(one)


def parts_of(what: Any) -> dict[str, Any]:
    """The items of a list, tuple or dictionary, or the attributes of an object, by name."""
    if isinstance(what, dict):
        return {f"item {key!r}": one for key, one in what.items()}
    if isinstance(what, list | tuple):
        return {f"item {number}": one for number, one in enumerate(what)}
    return {f"attribute {key!r}": one for key, one in getattr(what, "__dict__", {}).items()}


def unsendable(parts: dict[str, Any]) -> tuple[str, str] | None:
    """The name and class of the first part that cannot be pickled."""
    for name, one in parts.items():
        try:
            dumps(one)
        except Exception:
            return name, f"{type(one).__module__}.{type(one).__qualname__}".removeprefix("builtins.")
    return None
