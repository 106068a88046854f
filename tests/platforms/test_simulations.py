"""One machine with every difficulty at once: its paths, its locale, its home, its network."""

from dataclasses import replace

import pytest

from tests.platforms import simulations
from tests.platforms.simulations import EVERYTHING, STEPS


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    # Without bubblewrap nothing can be sealed; paths and locale are as bad as they were.
    place = EVERYTHING if not EVERYTHING.impossible() else replace(EVERYTHING, sealed=())
    return simulations.Machine(place, tmp_path_factory.mktemp("machine"))


def test_the_machine_is_as_bad_as_it_should_be(machine):
    said = machine.python("-c", "import os, sys; print(sys.getfilesystemencoding(), open(os.devnull).encoding)").stdout
    assert said.decode().split() == ["ascii", "ANSI_X3.4-1968"]
    assert not machine.work.as_posix().isascii() and " " in machine.work.as_posix()
    if machine.place.sealed:
        write = "import pathlib; pathlib.Path.home().joinpath('a').touch()"
        assert b"Read-only file system" in machine.python("-c", write).stderr
        call = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
        assert b"Network is unreachable" in machine.python("-c", call).stderr


@pytest.mark.parametrize("name", ["version", "data list", "run", "release", "grade"])
def test_a_command_does_its_work_there(machine, name):
    (step,) = [step for step in STEPS if step.name == name]
    outcome = machine.take(step)
    assert outcome.passed, outcome.words[-3000:]
