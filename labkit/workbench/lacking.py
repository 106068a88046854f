"""What is said when a module of labkit imports a package that is not there: who needs it, and how to get it."""

from types import FrameType

from labkit.workbench import installing

# Imported by name, but asked for only through the package that cannot work without it.
BROUGHT_BY = {
    "nbclient": "papermill",
    "nbformat": "papermill",
    "jupyter_client": "papermill",
    "ipykernel": "jupyterlab",
    "cycler": "matplotlib",
    "traitlets": "ipywidgets",
}
# Folders of labkit whose extra is called otherwise.
EXTRAS = {"workbench": "lab", "transformer": "models", "zero": "deepspeed"}


def sentence(package: str, module: str) -> str:
    """Give the sentence for a module of labkit that cannot be imported without a package.

    >>> sentence("torch", "labkit.attention").partition(": ")[0]
    'labkit.attention needs torch, which is not installed'
    """
    try:
        folders = reversed(module.split(".")[1:])
        extra = installing.extra_for(BROUGHT_BY.get(package, package), *(EXTRAS.get(each, each) for each in folders))
    except ImportError:  # neither packaging nor pip is here to read what the course asks for
        extra = installing.CORE
    if extra is None:
        return f"{module} needs {package}, which the course does not bring to this system and Python"
    return f"{module} needs {package}, which is not installed: {installing.command(extra)}"


def asker(frame: FrameType) -> str:
    """Give the name of the module of labkit that somebody wanted: of several that import each other, the outermost."""
    name, outer = str(frame.f_globals["__name__"]), frame
    while outer is not None and _is_importing(outer):
        name = str(outer.f_globals["__name__"]) if _is_ours(outer) else name
        outer = outer.f_back
    return name


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("labkit.")


def _is_importing(frame: FrameType) -> bool:
    """Tell whether a frame belongs to the import of a module: its own first run, or the machinery that starts it."""
    machinery = str(frame.f_globals.get("__name__", "")).startswith("importlib._bootstrap")
    return machinery or (_is_ours(frame) and frame.f_code.co_name == "<module>")
