"""Curves while a run goes on, in TensorBoard: written, read back, and opened."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from labkit.training.files import extra

# Its frame has no name of its own, and a screen reader would say nothing.
NAMED = "<script>for (const f of document.querySelectorAll('iframe[id^=tensorboard]')) f.title = 'TensorBoard'</script>"


class TensorBoard:
    """A `log` for `train` that writes every value where TensorBoard finds it.

        with TensorBoard("runs/first") as board:
            train(model, batches, optimizer, steps=1000, log=board)

    Raises:
        ModuleNotFoundError: if tensorboard is not installed; the message says how to get it.
    """

    def __init__(self, folder: Path | str):
        extra("tensorboard")
        self.folder = Path(folder)
        self._writer = extra("torch.utils.tensorboard").SummaryWriter(str(self.folder))

    def __call__(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still in memory."""
        self._writer.close()

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


def read_scalars(folder: Path | str) -> dict[str, dict[int, float]]:
    """What TensorBoard has been told, by name: the value at each step (in float32, as it keeps them).

    Raises:
        FileNotFoundError: if nothing was written there.
    """
    reader = extra("tensorboard.backend.event_processing.event_accumulator")
    if not any(Path(folder).glob("**/events.out.tfevents.*")):
        raise FileNotFoundError(f"{Path(folder).name}/ holds nothing that TensorBoard could read")
    found = reader.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    # Tags are written with spaces as underscores.
    return {
        tag.replace("_", " "): {event.step: event.value for event in found.Scalars(tag)}
        for tag in found.Tags()["scalars"]
    }


def show_tensorboard(folder: Path | str) -> None:
    """Open TensorBoard in a notebook that somebody looks at; anywhere else say in a line how to open it."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and _is_live() and importlib.util.find_spec("tensorboard"):
        program = Path(sys.executable).with_name("tensorboard")  # it need not be on the PATH of a kernel
        if program.exists():
            os.environ.setdefault("TENSORBOARD_BINARY", str(program))
        shell.run_line_magic("load_ext", "tensorboard")
        shell.run_line_magic("tensorboard", f"--logdir {str(folder)!r}")
        display = sys.modules["IPython"].display
        display.display(display.HTML(NAMED))
        return
    print("TensorBoard opens here in a live notebook; on a terminal: tensorboard --logdir <the folder of the run>")


def _is_live() -> bool:
    """Whether a person has the notebook open: Colab, or JupyterLab, which names its session to the kernel."""
    return "google.colab" in sys.modules or ("JPY_SESSION_NAME" in os.environ and "NBVAL" not in os.environ)
