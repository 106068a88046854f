"""One JupyterLab server and one browser for a file of tests, and a fresh copy of a notebook for each test."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.chromium import installed
from tests.browser.lab import PATIENCE, USUAL, Page
from tests.census import nobody_left
from tests.project import ROOT

pytest.register_assert_rewrite("tests.browser.pages", "tests.browser.keyboard")
# Chromium asks its makers' servers for this and that when it starts; a test must not.
QUIET = ("background-networking", "component-update", "sync")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    *(f"--disable-{name}" for name in QUIET),
]
SETTINGS = {
    # Cells off screen are not in the page otherwise.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@pytest.fixture(scope="module")
def server():
    """Address, token and folder of a JupyterLab that leaves nothing outside a temporary folder."""
    # Not pytest's own folder: the paths of kernels' sockets must be short.
    home = Path(tempfile.mkdtemp(prefix="lab-"))
    (home / "pages").mkdir()
    with serving(home, [sys.executable, "-m", "jupyterlab"], {"ServerApp.root_dir": home / "pages"}) as found:
        yield *found, home / "pages"


@pytest.fixture(scope="module")
def course():
    """Address, token and folder of `labkit lab`, over a copy of the course's notebooks."""
    home = Path(tempfile.mkdtemp(prefix="lab-"))
    folder = home / "course" / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".*"))
    names = {"LABKIT_NOTEBOOKS": str(folder)}
    with serving(home, [sys.executable, "-m", "labkit.workbench.cli", "lab"], {}, names) as found:
        yield *found, home


@contextmanager
def serving(home, program, options, names=()):
    """A JupyterLab started by a program, its own files in `home`: its address and its token, until the block ends."""
    for name, values in SETTINGS.items():
        write_settings(home, name, values)
    port, token = free_port(), secrets.token_hex(16)
    line = [*program, "--no-browser", "--allow-root", *given(port, token, options)]
    try:
        with nobody_left(patience=20) as marked, open(home / "server.log", "w") as log:
            process = subprocess.Popen(line, env=environment(home) | dict(names) | marked, stdout=log, stderr=log)
            try:
                wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", process, home / "server.log")
                yield f"http://127.0.0.1:{port}", token
            finally:
                process.terminate()
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def write_settings(home, name, values):
    """Settings of a JupyterLab in `home`, as its reader would make them; they hold from the next page on."""
    path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def given(port, token, options):
    """The command line of a server that only this machine can ask, and only with the token."""
    every = {
        "ip": "127.0.0.1",
        "port": port,
        "IdentityProvider.token": token,
        "ServerApp.port_retries": 0,
        "LabApp.expose_app_in_browser": True,
        "KernelManager.transport": "ipc" if os.name == "posix" else "tcp",
    }
    return [f"--{name}={value}" for name, value in (every | options).items()]


def environment(home):
    folders = ("config", "data", "settings", "workspaces")
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    own = {name: str(home / folder) for name, folder in zip(names, folders, strict=True)}
    return {**os.environ, **own, "IPYTHONDIR": str(home / "ipython"), "JUPYTER_RUNTIME_DIR": str(home / "run")}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(address, process, log, seconds=180):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="module")  # its event loop must not meet the tests of other modules
def browser():
    """A headless Chromium; without one the browser tests fail, and only they."""
    from playwright.sync_api import sync_playwright

    path = installed()
    if path is None:
        pytest.fail(
            "There is no Chromium on this machine: install the package chromium, or `playwright install chromium`."
        )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, headless=True, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_notebook(server, browser):
    """A function that opens a fresh copy of a notebook in JupyterLab and gives the page; all are closed at the end."""
    address, token, folder = server
    contexts = []

    def open_one(path):
        name = f"{len(os.listdir(folder))}-{secrets.token_hex(4)}"
        (folder / name).mkdir()
        shutil.copy(path, folder / name)
        contexts.append(browser.new_context(viewport=USUAL))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}/lab/workspaces/{name}/tree/{name}/{Path(path).name}?token={token}&reset")
        return Page(page)

    yield open_one
    for context in contexts:
        context.close()
    end_kernels(address, token)


def end_kernels(address, token):
    """Ends what a page has left running: a closed browser does not, and a few kernels with models fill a machine."""
    with urllib.request.urlopen(f"{address}/api/kernels?token={token}", timeout=180) as answer:
        kernels = [kernel["id"] for kernel in json.load(answer)]
    for kernel in kernels:
        request = urllib.request.Request(f"{address}/api/kernels/{kernel}?token={token}", method="DELETE")
        urllib.request.urlopen(request, timeout=180).close()
