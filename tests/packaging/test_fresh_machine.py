"""tests/fresh_machine.sh on a made-up project whose commands take no time: what it runs, keeps, tells and leaves."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from benchmarks import results
from tests.packaging import fresh_section
from tests.project import ROOT

pytestmark = pytest.mark.skipif(
    os.name == "nt" or any(shutil.which(tool) is None for tool in ("bash", "git", "make")),
    reason="the script needs bash, git and make",
)

README = """# A project

```
git clone https://example.org/somebody/wrong && cd wrong
```

## Two commands

```
git clone https://example.org/somebody/thing && cd thing
make run      # a remark
make test     # another
```

## Later

    make never
"""
MAKEFILE = """
run:
\t@{run}
test:
\t@{test}
"""
GIT = ["git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]


@pytest.fixture
def project(tmp_path):
    """Makes a committed project whose two commands are those given."""

    def make(run="echo ran", test="echo tested", readme=README):
        folder = tmp_path / "a project"
        (folder / "tests").mkdir(parents=True)
        shutil.copy(ROOT / "tests" / "fresh_machine.sh", folder / "tests")
        (folder / "README.md").write_text(readme)
        (folder / "Makefile").write_text(MAKEFILE.format(run=run, test=test))
        (folder / ".gitignore").write_text("_runs/\n")
        for line in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "all"]):
            subprocess.run([*GIT, *line], cwd=folder, check=True)
        return folder

    return make


@pytest.fixture
def start(tmp_path):
    """Starts the script of a project on a clean place, which must be empty again at the end."""
    place = tmp_path / "place"
    place.mkdir()

    def begin(folder, *options, **extra):
        own = {name: value for name, value in os.environ.items() if name != "PIP_CONFIG_FILE"}  # the script sets it
        command = ["bash", str(folder / "tests" / "fresh_machine.sh"), "--place", str(place), *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, text=True, env={**own, **extra}, cwd=tmp_path, **pipes)

    yield begin
    assert list(place.iterdir()) == [], "the folder of the machine stayed"


def finish(process):
    told = process.communicate()[0]
    return process.returncode, told


def logged(folder):
    return {path.name: path.read_text() for path in (folder / "_runs" / "fresh_machine").glob("*.log")}


def lines(folder):
    table = (folder / "_runs" / "fresh_machine" / "times.tsv").read_text().splitlines()
    return [line.split("\t") for line in table]


def test_the_commands_of_the_readme_run_in_a_clone_and_are_timed(project, start):
    folder = project(run='pwd; i=0; while [ "$$i" -lt 300000 ]; do i=$$((i + 1)); done')
    code, told = finish(start(folder))
    assert code == 0, told
    assert logged(folder)["1-make-run.log"].strip().endswith("/thing"), "not the folder that the README names"
    assert logged(folder)["2-make-test.log"] == "tested\n"
    clone, run, test = [line for line in lines(folder) if line[0] != "note"]
    assert (clone[0], run[0], test[0]) == (README.splitlines()[9], "make run", "make test")
    assert [line[4] for line in (clone, run, test)] == ["passed"] * 3
    assert "make run: passed" in told and "make never" not in told


def test_home_caches_and_temporary_files_are_new_and_the_way_to_packages_stays(project, start, tmp_path):
    home = tmp_path / "my home"
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "pip" / "pip.conf").write_text("[global]\n")
    lent = {
        "HOME": str(home),
        "PIP_FIND_LINKS": "/wheels of mine",
        "PIP_CACHE_DIR": "/full",
        "PIP_TARGET": "/elsewhere",
        "SSL_CERT_FILE": "/certificates",
        "https_proxy": "proxy.example.org",
        "HF_HOME": "/full",
        "XDG_CACHE_HOME": "/full",
        "LABKIT_CACHE": "/full",
        "VIRTUAL_ENV": "/full",
        "PYTHONPATH": "/full",
    }
    folder = project(run='env; ls -A "$$HOME" "$$TMPDIR"', test='echo "[$$PIP_CONFIG_FILE]"')
    code, told = finish(start(folder, **lent))
    assert code == 0, told
    seen = logged(folder)["1-make-run.log"]
    given = dict(line.split("=", 1) for line in seen.splitlines() if "=" in line)
    assert given["PIP_FIND_LINKS"] == "/wheels of mine" and given["https_proxy"] == "proxy.example.org"
    assert given["SSL_CERT_FILE"] == "/certificates"
    assert not set(given) & {"PIP_TARGET", "HF_HOME", "XDG_CACHE_HOME", "LABKIT_CACHE", "VIRTUAL_ENV", "PYTHONPATH"}
    assert given["HOME"].startswith(str(tmp_path / "place")) and given["PIP_CACHE_DIR"].startswith(given["HOME"])
    assert seen.splitlines()[-3:] == [f"{given['HOME']}:", "", f"{given['TMPDIR']}:"], "they were not empty"
    assert logged(folder)["2-make-test.log"] == f"[{home}/.config/pip/pip.conf]\n"


def test_the_virtual_environment_that_is_active_lends_nothing(project, start, tmp_path):
    lent = tmp_path / "active"
    (lent / "bin").mkdir(parents=True)
    (lent / "pyvenv.cfg").touch()
    (lent / "bin" / "lent").write_text("#!/bin/sh\n")
    (lent / "bin" / "lent").chmod(0o755)
    folder = project(run="! command -v lent")
    code, told = finish(start(folder, PATH=f"{lent / 'bin'}:{os.environ['PATH']}"))
    assert code == 0, told


def test_a_command_that_fails_is_told_with_its_last_lines_and_the_next_one_still_runs(project, start):
    folder = project(run="echo because of this; exit 3")
    code, told = finish(start(folder))
    assert code == 1
    assert "make run: failed with exit code 2" in told and "    because of this" in told
    assert "make test: passed" in told and logged(folder)["2-make-test.log"] == "tested\n"


def test_a_change_that_git_sees_and_a_process_that_stays_are_failures(project, start):
    if not os.path.isdir("/proc/self"):
        pytest.skip("without /proc nobody knows which processes stay")
    marked, unmarked = "setsid sleep 987", 'setsid env -i tail -f "$$PWD/Makefile"'
    folder = project(run="touch left.txt", test=" >/dev/null 2>&1 & ".join((marked, unmarked, "sleep 0.2")))
    code, told = finish(start(folder))
    assert code == 1
    assert "make run changed what git sees: ?? left.txt" in told
    assert "make test left a process behind: sleep 987" in told
    assert "make test left a process behind: tail -f " in told
    made = fresh_section.section((folder / "_runs" / "fresh_machine" / "times.tsv").read_text())
    assert made["passed"] is False and made["verdict"].endswith("minutes; 3 left something behind.")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_command_and_leaves_only_the_logs(project, start, tmp_path, how):
    folder = project(run="echo $$$$; sleep 986")
    process = start(folder)
    log = folder / "_runs" / "fresh_machine" / "1-make-run.log"
    while not (log.is_file() and log.read_text().strip()):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(how)
    code, told = finish(process)
    assert code == 130
    assert "make run: interrupted" in told and "make test" not in told
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text().split()[0]), 0)


def test_what_was_put_into_the_home_is_told(project, start):
    put = 'mkdir -p "$$HOME/.cache/course" && head -c 3000000 /dev/zero > "$$HOME/.cache/course/big"; mktemp -d'
    folder = project(run=put)
    code, told = finish(start(folder))
    assert code == 0, told
    assert "In the home that was empty: .cache/course 3 MB." in told
    assert "In the temporary folder that was empty: tmp." in told


def test_other_commands_and_one_of_them(project, start):
    folder = project()
    assert finish(start(folder, "--commands", "echo one;echo two"))[0] == 0
    assert logged(folder).keys() == {"0-git-clone-https---example-org.log", "1-echo-one.log", "2-echo-two.log"}
    assert finish(start(folder, "--only", "test"))[0] == 0
    assert logged(folder).keys() == {"0-git-clone-https---example-org.log", "1-make-test.log"}


def test_what_is_not_committed_is_not_tried_and_said(project, start):
    folder = project()
    (folder / "Makefile").write_text("run:\n\tfalse\n")
    code, told = finish(start(folder))
    assert code == 0 and "1 changes of this checkout are not committed: they are not tried." in told


@pytest.mark.parametrize(
    ("options", "readme", "told"),
    [
        (["--fast"], README, "there is no option --fast"),
        (["--only"], README, "--only needs a value"),
        (["--only", "sing"], README, 'no command of the README ends in "sing"; it has: make run;make test;'),
        (["--place", "/nowhere at all"], README, "/nowhere at all is not a folder that can be written"),
        ([], "# Nothing here\n", 'README.md has no block under "## Two commands"'),
    ],
)
def test_wrong_use_is_refused_in_a_sentence(project, start, options, readme, told):
    code, said = finish(start(project(readme=readme), *options))
    assert code == 2 and told in said


def test_help_is_the_head_of_the_script(project, start):
    code, told = finish(start(project(), "--help"))
    assert code == 0
    assert (
        told.startswith("A machine that has never seen this course") and "--no-record" in told and "set -u" not in told
    )


def test_the_record_holds_each_command_and_no_place_of_this_machine(tmp_path):
    steps = ["git clone x && cd x\t2\t\t1\tpassed", "make run\t700\t400\t900\tpassed"]
    steps += ["make test\t1400\t\t2000\tfailed with exit code 2", "note\tOn the disk: much."]
    table = "\n".join(steps)
    made = fresh_section.section(table)
    assert made["rows"][1] == ["make run", 700, 400, 900, "passed"] and made["rows"][0][2] is None
    assert made["verdict"] == "2 of 3 commands passed in 35 minutes, and left nothing behind." and not made["passed"]
    assert made["notes"] == ["On the disk: much."]
    written = results.write("fresh_machine", made, folder=tmp_path)
    assert json.loads(written.read_text())["headers"] == fresh_section.HEADERS
    with pytest.raises(ValueError, match="the table has no command"):
        fresh_section.section("note\tnothing\n")


def test_the_readme_of_this_project_has_the_block_that_the_script_runs(tmp_path):
    command = ["bash", str(ROOT / "tests" / "fresh_machine.sh"), "--only", "sing", "--place", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "it has: make run;make test;" in done.stderr
