"""One notebook through papermill, watched: which cell it is in, how much memory its processes take, that they end.

Imports papermill, so only `runner` may import this module, and only when it runs something.
"""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import papermill.execute
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from nbclient.exceptions import CellTimeoutError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from traitlets.config import Config

from labkit.corpora.cache import SHARED_FOLDER
from labkit.workbench import forking
from labkit.workbench.watching import Watch

STARTUP = 120
GOODBYE = 10.0  # seconds; after half of them a kernel that has not ended, on a busy machine say, is told to end at once
LONGEST_SOCKET_PATH = 100  # the system's limit is 104 to 108 bytes
LONGEST_TEMPORARY_PATH = 30  # Ray adds 76 to it


class ForkedManager(AsyncKernelManager):
    """A manager whose kernel is forked from a process that has everything imported, where that works."""

    ask: Callable[..., Any]

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kwargs: Any) -> None:
        forked = self.ask(kernel_cmd, **kwargs) if type(self.provisioner) is LocalProvisioner else None
        if forked is None:
            await super()._async_launch_kernel(kernel_cmd, **kwargs)
            return
        self.provisioner.process, self.provisioner.cwd = forked, kwargs["cwd"]
        self.provisioner.pid = self.provisioner.pgid = forked.pid
        self._reconcile_connection_info(self.provisioner.connection_info)

    _launch_kernel = _async_launch_kernel


class WatchedClient(PapermillNotebookClient):
    """Papermill's client with a watch on the kernel that it starts, or has forked where `fork` is given."""

    watch: Watch
    place: Path
    fork: Callable[..., Any] | None = None

    def create_kernel_manager(self) -> AsyncKernelManager:
        """Give a manager that asks `fork` before it starts a kernel itself."""
        manager = super().create_kernel_manager()
        manager.ask, manager.shutdown_wait_time = self.ask, GOODBYE
        return manager

    def ask(self, command: list[str], **kwargs: Any) -> Any:
        """Give a forked kernel, or None for a fresh one; the watch knows which."""
        self.watch.forked = self.fork(command, **kwargs) if self.fork else None
        return self.watch.forked

    def start_new_kernel(self, **kwargs: Any) -> None:
        """Start the kernel with the environment it needs, and let the watch follow it."""
        names = forking.kernel_environment(os.environ) | own_temporary_folder(self.place) | ipython_folder(self.place)
        super().start_new_kernel(**{"env": names, **kwargs})
        self.watch.begin(self.km.provisioner.pid)

    async def _async_check_alive(self) -> None:
        await self._note_exit_code()
        await super()._async_check_alive()

    async def _async_cleanup_kernel(self) -> None:
        if self.watch.started is None:  # it did not come as far as a cell
            await self._note_exit_code()
        await super()._async_cleanup_kernel()

    async def _note_exit_code(self) -> None:
        # The exit code is only known here: the clean-up that follows forgets the process.
        provisioner = self.km.provisioner if self.km is not None else None
        if provisioner is not None:
            self.watch.exit_code = await provisioner.poll()

    def execute_cell(self, cell: Any, cell_index: int, **kwargs: Any) -> Any:
        """Run one cell; the watch knows which."""
        if cell.cell_type != "code":
            return cell
        self.watch.enter(cell)
        begun = time.perf_counter()
        try:
            done = super().execute_cell(cell, cell_index, **kwargs)
        except CellTimeoutError:
            self.watch.kill()  # a kernel that hangs would not listen to a polite request
            raise
        finally:
            injected = "injected-parameters" in cell["metadata"].get("tags", [])
            name = "injected-parameters" if injected else cell.get("id", "")
            self.watch.cells.append((name, time.perf_counter() - begun))
        self.watch.look()
        return done


class WatchedEngine(NBClientEngine):
    """A papermill engine that runs notebooks by `WatchedClient`."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
        """Run the cells of the notebook that papermill manages."""
        client = WatchedClient(
            nb_man,
            kernel_manager_class=ForkedManager,
            kernel_name=kernel_name,
            timeout=kwargs["execution_timeout"],
            startup_timeout=STARTUP,
            iopub_timeout=60,  # a busy machine may deliver the last outputs late
            resources={"metadata": {"path": str(kwargs["folder"])}},
            config=transport(kwargs["sockets"]),
        )
        client.watch, client.fork, client.place = kwargs["watch"], kwargs["fork"], kwargs["sockets"]
        with saving_now_and_then(nb_man):
            return client.execute()


def execute(
    source: Path,
    target: Path,
    *,
    parameters: Mapping[str, Any],
    timeout: int,
    watch: Watch,
    parents: forking.Parents | None = None,
) -> None:
    """Run a notebook in its own folder, its kernel forked by `parents` if given; write the executed copy, cell by cell.

    Raises:
        papermill.PapermillExecutionError, nbclient.exceptions.CellTimeoutError, nbclient.exceptions.DeadKernelError:
            as the run fails; the copy holds all that was reached.
    """
    papermill_engines.register("labkit", WatchedEngine)
    with tempfile.TemporaryDirectory(prefix="labkit-", ignore_cleanup_errors=True) as sockets:
        fork = partial(parents.fork, forking.imports(source), folder=Path(sockets)) if parents else None
        try:
            papermill.execute.execute_notebook(
                _for_papermill(source),
                _for_papermill(target),
                parameters=dict(parameters),
                engine_name="labkit",
                kernel_name="python3",
                language="python",
                progress_bar=False,
                execution_timeout=timeout,
                folder=source.parent,
                sockets=Path(sockets),
                watch=watch,
                fork=fork,
            )
        finally:
            watch.end()
            _close_loop()


def _for_papermill(path: Path) -> str:
    """Give a path as papermill takes it, which fills in what stands in braces and writes it into the copy, in UTF-8."""
    near = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    return near.replace("{", "{{").replace("}", "}}")


@contextlib.contextmanager
def saving_now_and_then(manager: Any) -> Iterator[None]:
    """Within the block papermill writes the executed copy when that takes a fiftieth of the time at most.

    It would write it twice for every cell, of text too: half a minute for a page of two hundred cells. The whole copy
    is written after the block, whatever happened in it.
    """
    write, due = manager.save, 0.0

    def save(**kwargs: Any) -> None:
        nonlocal due
        begun = time.perf_counter()
        if begun >= due:
            write(**kwargs)
            due = time.perf_counter() + 50 * (time.perf_counter() - begun)

    manager.save = save
    try:
        yield
    finally:
        del manager.save  # what was hidden by it is there again


def own_temporary_folder(place: Path) -> dict[str, str]:
    """Give names for the environment of a kernel whose temporary files lie in `place`, and go with it, however it ends.

    Not where that is long: sockets of libraries lie below it, and the path of one has a hundred characters or so.
    """
    if os.name != "posix" or len(os.fsencode(place)) > LONGEST_TEMPORARY_PATH:
        return {}
    return {"TMPDIR": str(place), SHARED_FOLDER: tempfile.gettempdir()}


def ipython_folder(place: Path) -> dict[str, str]:
    """Give names that let IPython use `place` where the home cannot be written: it would warn, and leave a folder."""
    usual = os.path.expanduser(os.environ.get("IPYTHONDIR") or "~/.ipython")
    nearest = usual if os.path.exists(usual) else os.path.dirname(usual)
    return {} if os.access(nearest, os.W_OK) else {"IPYTHONDIR": str(place / "ipython")}


def transport(place: Path) -> Config:
    """Give the configuration of a kernel that talks through files in `place` instead of ports, where that works.

    Ports are open to everyone on a shared machine. The file must be named: its default is relative, and a kernel with a
    folder of its own would look for it elsewhere.
    """
    address = place / "kernel.json"
    short = len(os.fsencode(address)) + len("-ipc-5") < LONGEST_SOCKET_PATH
    if os.name != "posix" or not short or not str(address).isprintable():  # not in UTF-8, as zmq wants it
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
