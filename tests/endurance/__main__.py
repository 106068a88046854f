"""The whole course under hardship: `make endurance`, or python -m tests.endurance [NN ...] [--only two,kill]."""

import json
import shutil
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path

from benchmarks import results
from labkit.workbench import notebooks
from tests.endurance import summary
from tests.endurance.trials import Course, all_trials, one_round
from tests.project import ROOT

OUT = ROOT / "_endurance"


def main(arguments=None):
    """Run the rounds that are not yet done, print what was survived; the exit code is 0 when all was."""
    asked = _parser().parse_args(arguments)
    known = all_trials(asked.rounds)
    chosen = asked.only.split(",") if asked.only else list(known)
    wrong = [name for name in chosen if name not in known]
    if wrong:
        sys.exit(f"there is no trial {', '.join(wrong)}; there are {', '.join(known)}")
    trials = [known[name] for name in chosen]
    out = asked.out.resolve()
    if not asked.resume:
        for folder in ("course", "reference", "rounds", "runs", "made_up"):
            shutil.rmtree(out / folder, ignore_errors=True)
    course = Course.copied(notebooks.find(asked.pages), out)
    try:
        records = [record for trial in trials for record in _rounds(trial, course, asked)]
    except KeyboardInterrupt:
        print("Interrupted. What is done is kept: the same command with --resume goes on from here.", file=sys.stderr)
        return 130
    print(summary.text(trials, records))
    if asked.record:
        command = "make endurance" if not arguments else f"python -m tests.endurance {' '.join(arguments)}"
        print(results.write("endurance", summary.section(trials, records, command, results)).relative_to(ROOT))
    return int(bool(summary.faults(records)))


def _parser():
    parser = ArgumentParser(prog="python -m tests.endurance", description="Run the course under hardship.")
    parser.add_argument("pages", nargs="*", metavar="NN", help="pages; without any, all")
    parser.add_argument("--only", default="", help="trials, with commas: ten,two,memory,network,bare,1970,2040,kill")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of the trial `ten`")
    parser.add_argument("--jobs", type=int, default=1, help="notebooks at a time, also where a trial says one")
    parser.add_argument("--seed", type=int, default=0, help="what the moments of the kills are drawn from")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for rounds and executed copies")
    parser.add_argument("--resume", action="store_true", help="leave out the rounds that are done")
    parser.add_argument("--record", action="store_true", help="write the section of benchmarks/RESULTS.md")
    return parser


def _rounds(trial, course, asked):
    for number in range(1, trial.rounds + 1):
        file = course.out / "rounds" / f"{trial.name}-{number}.json"
        if (known := _known(file, course)) is not None:
            yield known
            continue
        print(f"{trial.title}, round {number} of {trial.rounds} ...", flush=True)
        record = one_round(trial, number, course, asked.seed, asked.jobs)
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".part")
        draft.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(file)
        for fault in summary.faults([record]):
            print(f"  {fault}", flush=True)
        yield record


def _known(file, course):
    """The record of a round that was finished with the same pages, or None."""
    if not file.exists():
        return None
    record = json.loads(file.read_text(encoding="utf-8"))
    return record if record["course"] == list(course.names) else None


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the run that goes on must be ended, too
    sys.exit(main(sys.argv[1:]))
