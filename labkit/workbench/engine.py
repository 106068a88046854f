"""One notebook through papermill, watched: which cell it is in, how much memory its processes take, that they end.

Imports papermill, so only `runner` may import this module, and only when it runs something.
"""

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import papermill.execute
import psutil
from nbclient.exceptions import CellTimeoutError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from traitlets.config import Config

POLL = 0.1  # seconds between two looks at the memory
STARTUP = 120
LONGEST_SOCKET_PATH = 100  # the system's limit is 104 to 108 bytes


class Watch:
    """Follows one kernel: its cell, its peak memory, its processes; can stop it from another thread."""

    def __init__(self, on_cell: Callable[[int, str], None] = lambda number, name: None):
        self.on_cell = on_cell
        self.number = 0  # of the code cell that runs, as in the notebook that was given
        self.cell_id = ""
        self.source = ""
        self.peak_bytes = 0
        self.exit_code: int | None = None
        self.stopped = False
        self._kernel: psutil.Process | None = None
        self._processes: dict[int, psutil.Process] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def begin(self, pid: int) -> None:
        """Start to follow the kernel that has just been launched."""
        try:
            self._kernel = self._processes[pid] = psutil.Process(pid)
        except psutil.NoSuchProcess:
            return  # gone already; the client finds out and says so
        self._thread.start()
        if self.stopped:
            self.stop()

    def enter(self, cell: Any) -> None:
        """Note that a code cell begins."""
        self.cell_id, self.source = cell.get("id", ""), cell["source"]
        if "injected-parameters" not in cell["metadata"].get("tags", []):
            self.number += 1
            self.on_cell(self.number, self.cell_id)

    def look(self) -> None:
        """Add up what the kernel and its children hold now; one that left the family is still ours to end."""
        try:
            for child in self._kernel.children(recursive=True) if self._kernel else ():
                self._processes.setdefault(child.pid, child)
        except psutil.Error:
            pass  # the kernel has just ended
        total = 0
        for process in list(self._processes.values()):
            try:
                total += process.memory_info().rss
            except psutil.Error:
                self._processes.pop(process.pid, None)
        self.peak_bytes = max(self.peak_bytes, total)

    def stop(self) -> None:
        """Kill the kernel and everything it started, now."""
        self.stopped = True
        self.kill()

    def kill(self) -> None:
        """Kill every process that was seen and still lives."""
        self.look()
        for process in list(self._processes.values()):
            try:
                process.kill()  # psutil makes sure that the number was not given to another process meanwhile
            except psutil.Error:
                continue

    def end(self) -> None:
        """Stop following, and leave no process behind that the notebook started."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self.kill()

    def _poll(self) -> None:
        while not self._done.wait(POLL):
            self.look()


class WatchedClient(PapermillNotebookClient):
    """Papermill's client with a watch on the kernel that it starts."""

    watch: Watch

    def start_new_kernel(self, **kwargs: Any) -> None:
        """Start the kernel with the environment it needs, and let the watch follow it."""
        super().start_new_kernel(**{"env": kernel_environment(os.environ), **kwargs})
        self.watch.begin(self.km.provisioner.pid)

    async def _async_check_alive(self) -> None:
        # The exit code is only known here: the clean-up that follows forgets the process.
        provisioner = self.km.provisioner if self.km is not None else None
        if provisioner is not None:
            self.watch.exit_code = await provisioner.poll()
        await super()._async_check_alive()

    def execute_cell(self, cell: Any, cell_index: int, **kwargs: Any) -> Any:
        """Run one cell; the watch knows which."""
        if cell.cell_type != "code":
            return cell
        self.watch.enter(cell)
        try:
            done = super().execute_cell(cell, cell_index, **kwargs)
        except CellTimeoutError:
            self.watch.kill()  # a kernel that hangs would not listen to a polite request
            raise
        self.watch.look()
        return done


class WatchedEngine(NBClientEngine):
    """A papermill engine that runs notebooks by `WatchedClient`."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
        """Run the cells of the notebook that papermill manages."""
        client = WatchedClient(
            nb_man,
            kernel_name=kernel_name,
            timeout=kwargs["execution_timeout"],
            startup_timeout=STARTUP,
            iopub_timeout=60,  # a busy machine may deliver the last outputs late
            resources={"metadata": {"path": str(kwargs["folder"])}},
            config=transport(kwargs["sockets"]),
        )
        client.watch = kwargs["watch"]
        return client.execute()


def execute(source: Path, target: Path, *, parameters: Mapping[str, Any], timeout: int, watch: Watch) -> None:
    """Run a notebook in its own folder and write the executed copy, cell by cell.

    Raises:
        papermill.PapermillExecutionError, nbclient.exceptions.CellTimeoutError, nbclient.exceptions.DeadKernelError:
            as the run fails; the copy holds all that was reached.
    """
    papermill_engines.register("labkit", WatchedEngine)
    with tempfile.TemporaryDirectory(prefix="labkit-", ignore_cleanup_errors=True) as sockets:
        try:
            papermill.execute.execute_notebook(
                str(source),
                str(target),
                parameters=dict(parameters),
                engine_name="labkit",
                kernel_name="python3",
                language="python",
                progress_bar=False,
                execution_timeout=timeout,
                folder=source.parent,
                sockets=Path(sockets),
                watch=watch,
            )
        finally:
            watch.end()
            _close_loop()


def kernel_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of a kernel: ours, with paths that hold in the notebook's folder too."""
    paths = [str(Path(each).resolve()) for each in own.get("PYTHONPATH", "").split(os.pathsep) if each]
    ours = {"LABKIT_HEADLESS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return {**own, **ours, **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})}


def transport(place: Path) -> Config:
    """Give the configuration of a kernel that talks through files in `place` instead of ports, where that works.

    Ports are open to everyone on a shared machine. The file must be named: its default is relative, and a kernel with a
    folder of its own would look for it elsewhere.
    """
    address = place / "kernel.json"
    short = len(os.fsencode(address)) + len("-ipc-5") < LONGEST_SOCKET_PATH
    if os.name != "posix" or not short:
        return Config()
    return Config({"KernelManager": {"transport": "ipc", "connection_file": str(address)}})


def _close_loop() -> None:
    """Close the event loop that the client made for this thread."""
    try:
        loop = asyncio.get_event_loop()
    except RuntimeError:  # it never came so far
        return
    left = asyncio.all_tasks(loop)  # what waited for the outputs of a kernel that died
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()
    asyncio.set_event_loop(None)
