"""Pages and the GPU: each model is told its device, and the cells of the device run on a fake one at scale "gpu"."""

import ast
import json
import re

import pytest

from labkit.workbench import notebooks
from tests.fake_gpu import MISSING, supported
from tests.gpu_scale import slices
from tests.gpu_scale.__main__ import page
from tests.gpu_scale.seams import FewSteps
from tests.project import ROOT

# The only places that choose a GPU by themselves: what everything else in labkit is given, it stays with.
CHOOSERS = {
    "labkit/workbench/session.py",  # lab.device
    "labkit/pretraining/recipes.py",  # the device of a model that is told none
    "labkit/ranks/group.py",  # ranks.device(), where every rank has a GPU
    "labkit/zero/tracing.py",  # only waits for a GPU before it looks at the clock
    "labkit/workbench/doctor.py",  # only tells what there is
    "labkit/training/packing.py",  # only keeps the state of its random numbers
}
LEFT_TO_THE_MODEL = {("13_data_pipelines", "worth-train")}  # it is judged by functions that follow it


def code_cells(path):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def cell(name, *lines, tags=()):
    return {"id": name, "cell_type": "code", "source": list(lines), "metadata": {"tags": list(tags)}}


def test_a_page_says_for_each_model_where_it_is_to_be():
    silent = set()
    for path in notebooks.find():
        for each in code_cells(path):
            if any(slices.chooses_a_device(node) for node in ast.walk(ast.parse("".join(each["source"])))):
                silent.add((path.stem, each["id"]))
    assert silent == LEFT_TO_THE_MODEL  # the best device is chosen, while the page's other tensors are on the CPU


def test_nothing_else_in_labkit_chooses_a_gpu():
    looks = re.compile(r"cuda\.(is_available|device_count)\(|mps\.is_available\(")
    sources = (ROOT / "labkit").rglob("*.py")
    found = {path.relative_to(ROOT).as_posix() for path in sources if looks.search(path.read_text(encoding="utf-8"))}
    assert found == CHOOSERS


def test_a_slice_has_the_cells_of_the_device_and_those_that_they_need():
    cells = [
        cell("parameters", "scale = 'ci'\n", tags=["parameters"]),
        cell("start", "import torch, labkit\n", "lab = labkit.start(scale)"),
        cell("unneeded", "x = 3"),
        cell("needed", "def shape(): return 2, 3"),
        cell("again", "lab2 = 5\n", "x = torch.ones(2)"),
        cell("on", "weights = torch.ones(shape()).to(lab.device)"),
        cell("within", "def look(): return weights.sum()"),
        cell("local", "def f(weights): return weights"),
        cell("called", "look()"),
        cell("loop", "for name in 'ab':\n", "    y = [name, weights]"),
        cell("name", "print(name)"),
        cell("over", "weights = 1"),
        cell("no longer", "print(weights)"),
    ]
    found = slices.of_the_device(cells)
    assert found == ["on", "within", "called", "loop"]
    assert slices.with_what_they_need(cells, found) == [
        "parameters",
        "start",
        "needed",
        "on",
        "within",
        "called",
        "loop",
    ]


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("tiny_gpt(device='cpu')", False),
        ("pretraining.tiny_gpt()", True),
        ("pretraining.load_or_train(plan, device=lab.device)", True),
        ("n = lab.pick(ci=1, laptop=2)", False),
        ("n = lab.pick(ci=1, gpu=2)", True),
        ("n = lab.room('it', need, ci=1)", True),
    ],
)
def test_what_asks_for_the_device(line, asked):
    assert slices.asks(ast.parse(line).body[0]) is asked


def test_long_loops_of_a_page_become_short_and_sizes_stay():
    few = FewSteps("09_training_loop")
    few.begin("search-tried")
    page_code = (
        "steps, width = lab.pick(ci=9, gpu=99), lab.pick(ci=8)\ntrain(steps=60, every=10)\nfit(steps=lab.pick(ci=1))"
    )
    assert ast.unparse(few.visit(ast.parse(page_code))).splitlines() == [
        "steps, width = (6, lab.pick(ci=8))",
        "train(steps=6, every=2)",
        "fit(steps=6)",
    ]


def test_a_recipe_cut_to_a_few_steps_warms_up_in_one():
    few = FewSteps("10_pretraining")
    assert ast.unparse(few.visit(ast.parse("replace(small, steps=lab.pick(ci=150), width=8)"))) == (
        "replace(small, steps=3, width=8, warmup=1)"
    )
    assert ast.unparse(few.visit(ast.parse("fit(model, steps=lab.pick(ci=150))"))) == "fit(model, steps=3)"


# The others take longer: `python -m tests.gpu_scale` runs them all.
@pytest.mark.parametrize("number", ["06"])
def test_the_cells_of_the_device_run_at_scale_gpu(number):
    if not supported():
        pytest.skip(MISSING)
    (path,) = notebooks.find([number])
    told = page(path)
    assert told["mistakes"] == {}
    assert told["ran"] + len(told["left_out"]) == told["device"] > 0
    for need in told["needs"]:
        assert 0.5 * need["measured"] <= need["need"] <= 4 * need["measured"], need
