"""The archives that people install: `build` makes them, nothing is missing in them, and an index would take them."""

import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser

import pytest

from tests.packaging.building import build, run
from tests.project import files, pyproject, repository

PROJECT = pyproject()["project"]
# What only the checkout on a code host needs.
OF_THE_HOST = (".ci/", ".github/", ".gitattributes")


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The source archive, and the wheel that was built from what it holds."""
    made = build(tmp_path_factory.mktemp("dist"))
    wheel, source = sorted(made, key=lambda path: path.name.endswith(".tar.gz"))
    assert (wheel.suffix, source.name[-7:], len(made)) == (".whl", ".tar.gz", 2)
    return source, wheel


@pytest.fixture(scope="module")
def metadata(archives):
    with zipfile.ZipFile(archives[1]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(wheel.read(name).decode())


def test_a_wheel_holds_the_whole_package_and_nothing_else(archives):
    with zipfile.ZipFile(archives[1]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        about = {name.partition(".dist-info/")[2] for name in wheel.namelist() if ".dist-info/" in name}
        entries = next(wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    assert held == {path.as_posix() for path in files() if path.parts[0] == "labkit"}
    assert about == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert entries.split() == ["[console_scripts]", "labkit", "=", "labkit.workbench.cli:main"]


def test_a_source_archive_holds_all_that_the_course_and_its_tests_are_made_of(archives):
    with tarfile.open(archives[0]) as source:
        held = {name.partition("/")[2] for name in source.getnames()}
    assert held - {"PKG-INFO"} == {path.as_posix() for path in files() if not path.as_posix().startswith(OF_THE_HOST)}


def test_the_wheel_from_the_source_archive_is_the_one_from_the_checkout(archives, tmp_path):
    (direct,) = build(tmp_path, "--wheel")
    assert direct.name == archives[1].name
    assert _sha256(direct) == _sha256(archives[1])


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_index_would_take_both_archives_and_show_the_readme(archives):
    told = run([sys.executable, "-m", "twine", "--no-color", "check", "--strict", *map(str, archives)])
    assert told.count("PASSED") == 2 and "WARNING" not in told


def test_twine_refuses_what_it_should(archives, tmp_path):
    broken = tmp_path / archives[1].name
    with zipfile.ZipFile(archives[1]) as wheel, zipfile.ZipFile(broken, "w") as copy:
        for name in wheel.namelist():
            text = wheel.read(name)
            copy.writestr(name, text.replace(b"text/markdown", b"text/x-rst") if name.endswith("METADATA") else text)
    command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", str(broken)]
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_the_metadata_say_for_whom_under_which_licence_and_where_from(metadata):
    assert metadata["Name"] == "llm-labkit" and metadata["Version"] == PROJECT["version"]
    assert metadata["License-Expression"] == "MIT" and metadata.get_all("License-File") == ["LICENSE"]
    assert f"Repository, {repository()}" in metadata.get_all("Project-URL")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().startswith("# llm-labkit")
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])


def test_the_classifiers_name_each_python_that_the_range_allows(metadata):
    oldest, beyond = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    wanted = [f"Programming Language :: Python :: 3.{minor}" for minor in range(int(oldest), int(beyond))]
    named = [each for each in metadata.get_all("Classifier") if each.startswith("Programming Language :: Python :: 3.")]
    assert named == wanted
