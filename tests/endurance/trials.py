"""The trials of the course, and what each round of one is judged by."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from labkit.workbench import notebooks
from tests.endurance import arranging, conditions, running
from tests.endurance.comparing import compare
from tests.endurance.killing import Killer

DIED = "killed by SIGKILL"
TOLD = "labkit data fetch"  # the end of a sentence on what cannot be had and nothing replaces
HELPS = ("out of memory", "--jobs 1")
HUNGRY_BYTES = 3 * 2**30
GUESS = 10.0  # seconds that a page takes, before it was ever run


@dataclass(frozen=True)
class Trial:
    """One kind of hardship: what a reader calls it, how often it comes, and the condition of its runs."""

    name: str
    title: str
    condition: Callable[[Path], conditions.Condition] = lambda built: conditions.plain()
    rounds: int = 1
    jobs: int = 1
    hungry: bool = False  # a page that takes too much must be ended, and say so
    kills: bool = False
    fetched: bool = True  # texts of earlier runs are there; without them a page may show others
    moment: tuple = ()  # when the files of the course were written


def all_trials(rounds=10, kills=2):
    """Every trial by its name."""
    years = [
        Trial(year, f"the clock in {year}", lambda built, year=year: conditions.clock(year, built), moment=moment)
        for year, moment in conditions.MOMENTS.items()
    ]
    trials = (
        Trial("ten", f"{rounds} times in a row", rounds=rounds),
        Trial("two", "two notebooks at once", jobs=2),
        Trial("memory", "2 GiB of memory", lambda built: conditions.little_memory(), hungry=True),
        Trial("network", "the network cut", lambda built: conditions.no_network()),
        Trial(
            "bare", "the network cut, and no text ever fetched", lambda built: conditions.no_network(), fetched=False
        ),
        *years,
        Trial("kill", "kernels killed at random", rounds=kills, kills=True),
    )
    return {trial.name: trial for trial in trials}


@dataclass(frozen=True)
class Course:
    """A copy of the pages, so that all rounds run the same ones whatever happens to the files meanwhile."""

    folder: Path
    out: Path
    names: tuple

    @classmethod
    def copied(cls, pages, out):
        """The pages and those beside them copied into `out`; what an earlier start copied stays."""
        folder = out / "course" / "notebooks"
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted({file for page in pages for file in page.parent.glob("*.ipynb")}):
            if not (folder / file.name).exists():
                shutil.copy(file, folder)
        return cls(folder, out, tuple(page.stem for page in pages))

    def pages(self, names=None):
        """The files of these pages, or of all."""
        return [self.folder / f"{name}.ipynb" for name in (self.names if names is None else names)]

    def reference(self, name):
        """Where the first whole executed copy of a page is kept, with which all later ones are compared."""
        return self.out / "reference" / f"{name}.ipynb"

    def seconds(self):
        """How long the kernel of each page has worked at most in the rounds so far."""
        found = dict.fromkeys(self.names, 0.0)
        for file in sorted((self.out / "rounds").glob("*.json")):
            for page in json.loads(file.read_text(encoding="utf-8"))["pages"]:
                if page["whole"] and page["name"] in found:
                    found[page["name"]] = max(found[page["name"]], page["seconds"] - page["startup"])
        return [found[name] or GUESS for name in self.names]


def one_round(trial, number, course, seed=0, jobs=1):
    """Run one round of a trial to its end, and give the record of it."""
    condition = trial.condition(course.out / "built")
    record = {"trial": trial.name, "number": number, "course": list(course.names), "how": condition.how}
    if condition.missing:
        return {**record, "missing": condition.missing, "seconds": 0.0, "pages": [], "problems": []}
    place = course.out / "runs" / f"{trial.name}-{number}"
    cache = nullcontext({}) if trial.fetched else arranging.without_texts(course.out / "cache")
    try:
        with arranging.written_at(course.pages(), trial.moment), cache as names:
            condition = arranging.named(condition, names)
            if trial.kills:
                return record | _killed_round(course, place, condition, seed + number, jobs)
            ran = running.run(course.pages(), place, condition, max(trial.jobs, jobs))
            found = _judged_all(course, course.names, ran, place, equal=trial.fetched) | _held(ran)
            if trial.hungry:
                found["problems"] += _starve(course, place, condition)
            return record | found
    finally:
        if condition.bound:
            condition.bound.close()


def _killed_round(course, place, condition, seed, jobs):
    """A run whose kernels are killed, then one of the pages that were lost, which must be whole."""
    killers = []

    def around(token):
        killers.append(Killer(token, seed, course.seconds()))
        return killers[0]

    ran = running.run(course.pages(), place, condition, jobs, around)
    lost = [each["name"] for each in ran.results if each["failure"] and DIED in each["failure"]["sentence"]]
    found = _judged_all(course, [name for name in course.names if name not in lost], ran, place)
    found |= {"killed": killers[0].killed, "lost": lost}
    if ran.code != int(bool(lost)) and not found["problems"]:
        found["problems"].append(f"the exit code is {ran.code}, with {len(lost)} pages lost")
    if not killers[0].killed:
        found["problems"].append("no kernel was killed, so nothing was shown")
    if lost:
        again = running.run(course.pages(lost), place / "again", condition, jobs)
        after = _judged_all(course, lost, again, place / "again")
        found["pages"] += after["pages"]
        found["problems"] += [f"in the next run: {each}" for each in after["problems"]]
        found["seconds"] += after["seconds"]
    return found


def _judged_all(course, names, ran, place, equal=True):
    results = {each["name"]: each for each in ran.results}
    pages = [_judged(course, name, results.get(name), place, equal) for name in names]
    return {"seconds": round(ran.seconds, 1), "pages": pages, "problems": ran.problems}


def _judged(course, name, result, place, equal):
    """The record of one page: `whole` when it ran to its end, its claims hold and its outputs are those they were."""
    if result is None:
        return {
            "name": name,
            "whole": False,
            "exact": False,
            "seconds": 0.0,
            "startup": 0.0,
            "faults": ["there is no result of it"],
        }
    faults, exact = [], False
    stopped = not equal and bool(result["failure"]) and TOLD in result["failure"]["sentence"]
    if result["failure"] and not stopped:
        faults.append(result["failure"]["sentence"])
    failed = [claim["statement"] for claim in result["claims"] if not claim["passed"]]
    faults += [f"a claim does not hold: {statement}" for statement in failed]
    if not result["failure"]:
        different, exact = _differences(course, name, place / f"{name}.ipynb")
        faults += different if equal else []
        if not faults and equal and not course.reference(name).exists():
            course.reference(name).parent.mkdir(exist_ok=True)
            shutil.copy(place / f"{name}.ipynb", course.reference(name))
    about = {"seconds": round(result["seconds"], 2), "startup": round(result.get("startup", 0.0), 2)}
    about |= {"peak_bytes": result["peak_bytes"], "claims": len(result["claims"])}
    return {"name": name, "whole": not faults, "exact": exact, "stopped": stopped, **about, "faults": faults}


def _differences(course, name, executed):
    """How an executed copy differs from the stored page, and from the first executed copy."""
    new = notebooks.read(executed)
    different, _ = compare(new, notebooks.read(course.folder / f"{name}.ipynb"))
    faults = [f"other than stored: {sentence}" for sentence in different]
    if not course.reference(name).exists():
        return faults, True
    different, exact = compare(new, notebooks.read(course.reference(name)))
    return faults + [f"other than at first: {sentence}" for sentence in different], exact


def _held(ran):
    return {"most_bytes": ran.most_bytes, "ended_by_system": ran.ended_by_system}


def _starve(course, place, condition):
    """Run a page that takes 3 GiB; what is wrong unless it is ended with a sentence that helps."""
    folder = course.out / "made_up"
    folder.mkdir(exist_ok=True)
    page = write_page(folder / "hungry.ipynb", hungry(HUNGRY_BYTES))
    ran = running.run([page], place / "hungry", condition)
    sentence = next((each["failure"]["sentence"] for each in ran.results if each["failure"]), "")
    missing = [words for words in (DIED, *HELPS) if words not in sentence]
    if missing:
        return [
            f"a page that takes 3 GiB ended with {sentence or 'nothing'!r}, without {', '.join(missing)}",
            *ran.problems,
        ]
    return [f"with the page that takes 3 GiB: {problem}" for problem in ran.problems]


def hungry(most):
    """The source of a cell that takes this much memory, piece by piece."""
    return f"held = [bytes([1]) * 2**26 for _ in range({most // 2**26})]\nprint(len(held))"


def write_page(path, *sources):
    """Write a notebook of these code cells, and give its path."""
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(sources, 1)
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
    return path
