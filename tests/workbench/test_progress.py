import io
import sys

from labkit.workbench.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run_two(progress):
    progress.start("01_a", 3)
    progress.start("02_b", 9)
    progress.at("01_a", 2, "by-hand")
    progress.tick()
    progress.done("01_a", "ok, 1.0 s")
    progress.done("02_b", "FAILED")
    progress.done("03_never_started", "FAILED")


def test_a_terminal_sees_the_cell_that_runs_in_a_line_per_notebook(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "100")
    run_two(Progress(width=5))
    shown = sys.stderr.getvalue()
    assert "01_a  · cell 2/3 by-hand" in shown
    assert "02_b  · starting" in shown
    assert "01_a  · ok, 1.0 s\n" in shown


def test_a_log_gets_one_line_per_notebook_and_no_bars(capsys):
    run_two(Progress(width=4))
    assert capsys.readouterr().err == "01_a · ok, 1.0 s\n02_b · FAILED\n03_never_started · FAILED\n"
