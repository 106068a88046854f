"""Every attack earns nothing and costs only its own exercise: the next one in the same submission gets its marks."""

import os
import platform
import sys

import pytest

from labkit.workbench.checking import all_exercises
from labkit.workbench.grading.marks import outcome_of
from labkit.workbench.grading.sandboxing import doors
from labkit.workbench.grading.sandboxing.places import others_can_read
from labkit.workbench.grading.sandboxing.sandbox import Limits, Sandbox, pack
from labkit.workbench.marking import fresh_cases, judge, key_of
from tests.workbench.teaching.malice import MALICE, NEEDS_A_LIMIT_ON_PROCESSES, NOT_RESISTED_WITHOUT_BUBBLEWRAP
from tests.workbench.teaching.sandboxes import KINDS

LIMITS = Limits(memory=300_000_000)
SHORT = 0.25  # seconds for what takes its whole time
PLENTY = 30.0  # for the rest, on a busy machine
FOLLOWER = "def follower(x):\n    return [x, x + 1]"


@pytest.fixture(scope="module", params=KINDS)
def box(request):
    with Sandbox(LIMITS, ("numpy",), kind=request.param) as started:
        yield started


@pytest.fixture(scope="module")
def exercise():
    return next(one for one in all_exercises() if one.notebook.startswith("02") and one.kind == "function")


@pytest.fixture(scope="module")
def keys():
    of_the_page = [one for one in all_exercises() if one.notebook.startswith("02") and one.kind == "function"]
    cases = [fresh_cases(one, 3) for one in of_the_page]
    return [(key_of(one, inputs), pack(inputs)) for one, inputs in zip(of_the_page, cases, strict=True)]


def unprotected_root(box):
    return box.kind != "bubblewrap" and os.geteuid() == 0 and not others_can_read()


@pytest.mark.parametrize("name", MALICE)
def test_an_attack_earns_nothing_and_costs_only_its_own_exercise(name, box, exercise):
    attack = MALICE[name]
    if box.kind != "bubblewrap" and not sys.platform.startswith("linux"):
        pytest.skip("a process for each answer has no memory watched and no children counted here")
    if box.kind != "bubblewrap" and name in NOT_RESISTED_WITHOUT_BUBBLEWRAP:
        pytest.skip(f"a limited subprocess does not protect from this: {attack.what}")
    if unprotected_root(box) and name in NEEDS_A_LIMIT_ON_PROCESSES:
        pytest.skip("no limit on processes binds root, and no other user can read this interpreter")
    if attack.doors and platform.machine() not in doors.CALLS:
        pytest.skip("it is not known here which system calls to refuse")
    cases = fresh_cases(exercise, 11)[:2]
    answered = box.run(attack.source("follower"), "follower", cases, seconds=SHORT if attack.costly else PLENTY)
    assert answered.status in attack.expected, answered
    outcomes = [outcome_of(came) for came in answered.outcomes]
    verdict = judge(exercise, outcomes, cases[: len(outcomes)], "follower") if outcomes else None
    assert verdict is None or verdict.status != "correct"
    assert not any("found" in came.words or "written" in came.words for came in answered.outcomes), answered
    after = box.run(FOLLOWER, "follower", [(1,), (2,)], seconds=PLENTY)
    assert after.status == "ok" and [came.value for came in after.outcomes] == [[1, 2], [2, 3]]


def test_what_is_declared_as_not_resisted_is_what_touches_files_the_network_or_the_parent():
    assert {"reads files", "deletes files", "the network", "many files", "reads its parent"} == set(
        NOT_RESISTED_WITHOUT_BUBBLEWRAP
    )


@pytest.mark.parametrize("name", ["equals everything", "lying number", "lying array", "all nan", "changes labkit"])
def test_a_forged_value_is_right_for_no_exercise_of_the_page(name, box, keys):
    for key, packed in keys:
        answered = box.run(MALICE[name].source("f"), "f", packed, seconds=PLENTY)
        verdict = judge(key.exercise, [outcome_of(came) for came in answered.outcomes], key.cases, "f", key)
        assert verdict.status in ("wrong", "error"), (key.exercise.id, verdict)


def test_a_daemon_is_dead_when_the_next_answer_runs(box):
    if not sys.platform.startswith("linux"):
        pytest.skip("processes are listed in /proc on Linux only")
    source = (
        "import os, time\ndef f():\n    pid = os.fork()\n    if pid == 0:\n        os.setsid()\n"
        "        while True: time.sleep(1)\n    return pid"
    )
    pid = box.run(source, "f", [()]).outcomes[0].value
    alive = box.run(f"import os\ndef f(): return os.path.exists('/proc/{pid}/exe')", "f", [()])
    assert alive.outcomes[0].value is False


def test_nobody_can_answer_for_the_next_exercise(box):
    source = (
        "import os, threading, time, json, struct\n"
        "def late():\n    text = json.dumps(['came', 99, '', '', '', False, False]).encode()\n"
        "    while True:\n        for n in range(3, 30):\n"
        "            try: os.write(n, struct.pack('<IQ', len(text), 0) + text)\n            except OSError: pass\n"
        "def f():\n    if os.fork() == 0:\n        os.setsid()\n        late()\n    return 1"
    )
    box.run(source, "f", [()])
    again = [box.run(FOLLOWER, "follower", [(i,)]).outcomes[0].value for i in range(5)]
    assert again == [[i, i + 1] for i in range(5)]


def test_a_signal_to_everybody_reaches_nobody_outside(box):
    if box.kind != "bubblewrap":  # it is refused there, too; but this test must not be what finds out that it is not
        pytest.skip("without bubblewrap it would reach all processes of this user")
    source = "import os\ndef f():\n    if os.fork() == 0: os.kill(-1, 9)\n    os.wait()\n    return 1"
    answered = box.run(source, "f", [()])
    assert answered.status in ("ok", "crashed") and box._place.process.poll() is None
    assert box.run(FOLLOWER, "follower", [(1,)]).outcomes[0].value == [1, 2]
