"""TensorBoard: what is written is read back; a page nobody looks at gets a line instead of a window."""

import os
import sys
from pathlib import Path

import pytest
import torch

from labkit.training import TensorBoard, read_scalars, show_tensorboard, train
from labkit.transformer import Config, Decoder, windows


def test_the_curves_of_a_run_are_read_back(tmp_path):
    model = Decoder(Config(vocabulary=10, context=8, layers=1, heads=2, width=16))
    with TensorBoard(tmp_path / "run") as board:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        history = train(model, windows(torch.arange(50) % 10, 2, 4), optimizer, steps=6, every=2, log=board)
    found = read_scalars(tmp_path / "run")
    assert set(found) == {"loss", "learning rate", "tokens per second"}
    means = {step: sum(history.losses[step - 2 : step]) / 2 for step in (2, 4, 6)}
    assert found["loss"] == pytest.approx(means, abs=1e-6)


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds nothing that TensorBoard could read"):
        read_scalars(tmp_path)


def test_without_a_live_notebook_a_line_says_how_to_open_it(tmp_path, capsys):
    show_tensorboard(tmp_path)
    assert "tensorboard --logdir" in capsys.readouterr().out


def test_in_a_live_notebook_it_is_opened(tmp_path, monkeypatch):
    class Shell:
        lines = ()

        def run_line_magic(self, name, line):
            self.lines += ((name, line),)

    shell = Shell()
    shown = []
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setenv("JPY_SESSION_NAME", "09.ipynb")
    monkeypatch.delenv("NBVAL", raising=False)
    monkeypatch.setenv("TENSORBOARD_BINARY", "of another environment")
    monkeypatch.delenv("TENSORBOARD_BINARY")
    show_tensorboard(tmp_path)
    assert shell.lines == (("load_ext", "tensorboard"), ("tensorboard", f"--logdir {str(tmp_path)!r}"))
    assert "f.title = 'TensorBoard'" in shown[0].data  # its frame has no name of its own
    assert Path(os.environ["TENSORBOARD_BINARY"]).parent == Path(sys.executable).parent  # whatever the PATH
