"""The project's own papers agree with each other: README, Makefile, dependencies, workflow."""

import re

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project import ROOT, pyproject, repository, texts
from tests.test_architecture import MODULES, third_party

PROJECT = pyproject()["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Where the name one imports is not the name one installs.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow", "IPython": "ipython", "yaml": "pyyaml"}
# Come with a dependency that is declared and could not work without them.
BROUGHT_ALONG = {
    "nbclient": "papermill",
    "jupyter_client": "papermill",
    "nbformat": "papermill",
    "cycler": "matplotlib",
    "traitlets": "ipywidgets",
}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def declared():
    """Names of everything pyproject.toml asks for, in the core or an extra, without the project itself."""
    listed = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    names = {canonicalize_name(Requirement(line).name) for line in listed}
    return names - {canonicalize_name(PROJECT["name"])}


def pins():
    """The version that constraints.txt gives each package."""
    lines = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


def test_the_commands_of_the_readme_are_targets_of_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), flags=re.MULTILINE))
    told = set(re.findall(r"(?:^\s*\$?\s*|`)make ([a-z]+)", read("README.md"), flags=re.MULTILINE))
    assert {"run", "test", "lab", "bench"} <= targets
    assert {"run", "test", "lab"} <= told <= targets


def test_ci_runs_the_test_command_of_the_readme():
    commands = [line for line in read(".ci/run").splitlines() if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == ["make test"]
    assert "make test" in read("README.md")


def test_conda_leaves_the_list_of_dependencies_to_pyproject():
    environment = yaml.safe_load(read("environment.yml"))
    python, pip, ours = environment["dependencies"]
    assert (python, pip, ours) == (f"python {PROJECT['requires-python']}", "pip", {"pip": ['-e ".[dev]"']})


def test_the_workflow_covers_every_system_and_python_and_may_only_read():
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    matrix = workflow["jobs"]["everywhere"]["strategy"]["matrix"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert any(step.get("run") == "bash .ci/run" for step in steps)
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)


def test_what_installs_names_no_server():
    for name in ("Makefile", "constraints.txt", "environment.yml", ".ci/run", ".github/workflows/ci.yml"):
        assert "://" not in read(name), name


def test_the_pins_cover_what_is_asked_for_and_lie_in_the_ranges():
    versions = pins()
    assert declared() - set(versions) <= {"pip"}
    assert versions["torch"] == "2.13.0"
    assert not [pin for pin in versions.values() if "+" in pin]
    for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]:
        asked = Requirement(line)
        if canonicalize_name(asked.name) in versions:
            assert asked.specifier.contains(versions[canonicalize_name(asked.name)]), line


def test_the_core_has_no_upper_bounds_so_that_a_hosted_notebook_keeps_its_versions():
    assert [line for line in PROJECT["dependencies"] if re.search("<|==|~=", line)] == []


def test_every_package_that_is_imported_is_asked_for():
    names = {name for path in MODULES for name in third_party(path, ROOT / "labkit")}
    wanted = {canonicalize_name(DISTRIBUTIONS.get(name, BROUGHT_ALONG.get(name, name))) for name in names}
    assert wanted <= declared()


def test_the_address_of_the_repository_is_the_same_wherever_it_stands():
    owner = repository().removeprefix("https://github.com/")
    for path, text in texts().items():
        places = set(re.findall(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/blob", text))
        places |= set(re.findall(r"github\.com/([\w.-]+/llm-labkit)\b", text)) if path.parts[0] != "tests" else set()
        assert places <= {owner}, path
    code = [path for path, text in texts().items() if repository() in text and path.parts[0] == "labkit"]
    assert code == [], "labkit reads the address from its metadata"


def test_every_notebook_has_its_badge_and_its_line_in_the_readme():
    owner = repository().removeprefix("https://github.com/")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert f"github/{owner}/blob/main/notebooks/{path.name}" in read("README.md"), f"no Colab badge for {path.name}"
        assert f"(notebooks/{path.name})" in read("README.md"), f"no link to {path.name}"


def test_the_links_and_pictures_of_the_readme_lead_somewhere():
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", read("README.md")) + re.findall(r'src="([^"]+)"', read("README.md"))
    assert [name for name in targets if "://" not in name and not (ROOT / name).exists()] == []
    assert re.findall(r"!\[\s*\]\(", read("README.md")) == []


def test_the_licence_is_in_the_name_of_the_authors():
    assert PROJECT["license"] == "MIT"
    assert "The llm-labkit authors" in read("LICENSE")
