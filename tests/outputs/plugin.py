"""nbval made strict where it is blind, tolerant where a digit may differ, and honest about how much it compared.

nbval 0.11 runs every cell and compares outputs as text. On top of that:

- a decimal may differ by a relative tolerance (`alignment.py`);
- a figure stored as a bare image must be there again (nbval skips image types altogether);
- outputs come in the stored order (nbval sorts them by type);
- a cell that was never run fails (nbval passes it unchecked), and so does one that clears or updates its outputs (nbval
  never sees those messages);
- at the end, the run fails when less than 95 % of the outputs were compared or more than 5 % of what a reader sees is
  masked as differing by machine, counted over all workers of pytest-xdist.
"""

from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, fields

import pytest
from nbformat import from_dict
from nbval.plugin import IPyNbCell, coalesce_streams

from tests.outputs.alignment import MASK, aligned, everywhere, readable, without_machine

LEAST_COMPARED = 0.95
MOST_MASKED = 0.05
UNSEEN = {"clear_output", "update_display_data"}
IMAGES = {"image/png", "image/jpeg"}


@dataclass
class Tally:
    """What one run compared: outputs, and the characters a reader sees of them."""

    compared: int = 0
    ignored: int = 0
    characters: int = 0
    masked: int = 0

    @property
    def share_compared(self):
        return self.compared / max(1, self.compared + self.ignored)

    @property
    def share_masked(self):
        return self.masked / max(1, self.characters)

    @property
    def problem(self):
        """What is wrong with so little comparing, as a sentence; empty when nothing is."""
        if not self.compared + self.ignored:
            return ""
        if self.share_compared >= LEAST_COMPARED and self.share_masked <= MOST_MASKED:
            return ""
        return f"FAILED: at least {LEAST_COMPARED:.0%} must be compared, at most {MOST_MASKED:.0%} masked"

    def add(self, counts):
        """Adds the counts of another tally."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + counts.get(field.name, 0))

    def sentence(self):
        """One line for the end of the run."""
        return (
            f"notebook outputs: {self.compared} compared, {self.ignored} ignored ({self.share_compared:.1%} compared); "
            f"{self.share_masked:.1%} of the characters are masked as differing by machine"
        )

    def count(self, outputs, *, checked):
        """Adds the outputs of one cell. One that only holds types nbval skips counts as ignored."""
        for output in outputs:
            parts = {mime: data for mime, data in contents(output).items() if mime not in IMAGES}
            if checked and parts:
                self.compared += 1
            else:
                self.ignored += 1
            for visible in (readable(data) for data in parts.values() if isinstance(data, str)):
                self.characters += len(visible)
                self.masked += sum(map(len, MASK.findall(visible)))


def contents(output):
    """The parts of an output by mime type or stream name."""
    if output["output_type"] == "stream":
        return {output["name"]: output["text"]}
    if output["output_type"] == "error":
        return {"error": f"{output['ename']}: {output['evalue']}"}
    return dict(output["data"])


class Cell(IPyNbCell):
    """A code cell of a notebook, run by nbval and compared by our rules."""

    def runtest(self):
        never_run = self.cell.execution_count is None and self.cell.source.strip()
        if never_run and not self.options["skip"]:
            self.raise_cell_error("The cell was never run: store its outputs with `make save`.")
        tally = self.config.stash[TALLY]
        outputs = coalesce_streams(deepcopy(self.cell.outputs))  # it joins what is printed in place
        tally.count(outputs, checked=self.options["check"] and not self.options["skip"])
        with unseen_messages(self.parent) as unseen:
            super().runtest()
        if unseen and self.options["check"]:
            self.raise_cell_error(f"The cell sends {', '.join(sorted(unseen))}, which no comparison can see.")

    def compare_outputs(self, test, ref, skip_compare=None):
        """Whether the new outputs `test` equal the stored ones `ref`, decimals by tolerance."""
        new, stored = (self.sanitize_outputs(as_stored(outputs)) for outputs in (test, ref))
        shapes = [[sorted(contents(output)) for output in outputs] for outputs in (new, stored)]
        if shapes[0] != shapes[1]:
            self.comparison_traceback = [f"The cell gave {shapes[0] or 'nothing'}, stored is {shapes[1] or 'nothing'}."]
            return False
        for here, there in zip(new, stored, strict=True):
            align_output(here, there, sanitize=self.sanitize)
        return super().compare_outputs(new, stored, skip_compare)


def as_stored(outputs):
    """The outputs in the form in which notebooks are stored: no widgets, addresses, kernel files, clocks."""
    # Imported late: while pytest reads its plugins, the shapes in labkit are not yet being checked.
    from labkit.workbench import sanitising

    return [from_dict(output) for output in sanitising.outputs(outputs, None)]


def align_output(new, stored, *, sanitize):
    """Aligns one output in place; both have the same types. JSON is masked here, since nbval only masks strings."""
    if new["output_type"] == "stream":
        new["text"] = aligned(new["text"], stored["text"])
    elif new["output_type"] == "error":
        new["evalue"] = aligned(new["evalue"], stored["evalue"])
    else:
        for mime in contents(new):
            for data in (new["data"], stored["data"]):
                data[mime] = everywhere(sanitize, without_machine(data[mime], data.get("text/plain", "")))
            new["data"][mime] = aligned(new["data"][mime], stored["data"][mime])


@contextmanager
def unseen_messages(notebook):
    """Within the block, collects the kinds of messages that nbval drops without a word."""
    read, unseen = notebook.get_kernel_message, set()

    def remember(timeout=None, stream="iopub"):
        message = read(timeout=timeout, stream=stream)
        unseen.update({message["msg_type"]} & UNSEEN)
        return message

    notebook.get_kernel_message = remember
    try:
        yield unseen
    finally:
        del notebook.get_kernel_message


TALLY = pytest.StashKey[Tally]()


def pytest_configure(config):
    config.stash[TALLY] = Tally()


def pytest_itemcollected(item):
    # nbval names its class of cells in its own code, so the cells it made become ours here.
    if type(item) is IPyNbCell:
        item.__class__ = Cell


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    # A worker of pytest-xdist that crashed has no output.
    node.config.stash[TALLY].add(getattr(node, "workeroutput", {}).get("outputs", {}))


def pytest_sessionfinish(session):
    tally = session.config.stash[TALLY]
    if hasattr(session.config, "workeroutput"):  # this is a worker; the whole is judged where all counts arrive
        session.config.workeroutput["outputs"] = asdict(tally)
    elif tally.problem and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    tally = config.stash[TALLY]
    if tally.compared + tally.ignored:
        terminalreporter.write_line(tally.sentence())
    if tally.problem:
        terminalreporter.write_line(tally.problem, red=True)
