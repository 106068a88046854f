"""Pictures: `labkit.figures.<topic>.draw_x(arrays…, ax=None) -> Axes`, loaded when they are first used."""


def __getattr__(name: str) -> object:
    import importlib
    import pkgutil

    if name not in {module.name for module in pkgutil.iter_modules(__path__)}:
        raise AttributeError(f"labkit.figures has no topic {name!r}")
    return importlib.import_module(f"labkit.figures.{name}")
