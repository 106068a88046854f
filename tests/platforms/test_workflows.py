"""What a public fork would run: every system and Python, rights to read only, commands that exist."""

import re

import pytest
import yaml

from tests.platforms import workflows
from tests.project import ROOT

PATHS = workflows.workflows()
needs_actionlint = pytest.mark.skipif(bool(workflows.missing()), reason=workflows.missing() or "it is here")


def read(path):
    # "on" is a truth value in YAML 1.1, and a word here.
    return {"on" if key is True else key: value for key, value in yaml.safe_load(path.read_text("utf-8")).items()}


def steps(path):
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


@needs_actionlint
def test_actionlint_finds_nothing():
    assert workflows.problems(PATHS) == []


@needs_actionlint
def test_actionlint_finds_what_is_wrong(tmp_path):
    path = tmp_path / "wrong.yml"
    path.write_text(PATHS[0].read_text("utf-8").replace("matrix.python }}", "matrix.pyton }}"), encoding="utf-8")
    assert "pyton" in " ".join(workflows.problems([path]))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_ends_by_itself_and_uses_what_the_platform_itself_offers(path):
    assert read(path)["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 360 for job in read(path)["jobs"].values())
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps(path) if "uses" in step)
    assert "://" not in path.read_text("utf-8")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_what_a_workflow_runs_is_there(path):
    commands = " ".join(step.get("run", "") for step in steps(path))
    targets = set(re.findall(r"^([a-z_]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    assert all((ROOT / script).is_file() for script in re.findall(r"\bbash ([\w./]+)", commands))
    assert set(re.findall(r"\bmake (\w+)", commands)) <= targets


def test_the_long_proofs_are_targets_and_are_started_by_the_clock_or_by_hand():
    weekly = read(ROOT / ".github/workflows/weekly.yml")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    offered = weekly["on"]["workflow_dispatch"]["inputs"]["proof"]["options"]
    proofs = re.search(r"&& '(\[.*?\])'", weekly["jobs"]["long-proofs"]["strategy"]["matrix"]["proof"]).group(1)
    assert set(weekly["on"]) == {"schedule", "workflow_dispatch"}
    assert set(offered) == {"all", "fresh machine", *yaml.safe_load(proofs)}
    assert set(yaml.safe_load(proofs)) <= targets
