"""What was survived: one row for each trial, for the terminal and for the page of measurements."""

from labkit.workbench import report

HEADERS = ("what was done to it", "how", "runs of pages", "whole and equal", "minutes", "what was seen")
SHOWN = 3
ABOUT = (
    "Every page of the course is run headless under hardship. A run of a page survives when it comes to its end, every "
    "claim on it holds, its outputs equal the stored ones and those of the first run (decimals to a thousandth; what a "
    "page marks as differing by machine is masked), and no process, file or shared memory is left behind."
)


def rows(trials, records):
    """A row for each trial that was begun."""
    found = []
    for trial in trials:
        mine = [record for record in records if record["trial"] == trial.name]
        if mine:
            found.append(_row(trial, mine))
    return found


def _row(trial, records):
    pages = [page for record in records for page in record["pages"]]
    lost = sum(len(record.get("lost", ())) for record in records)
    whole = sum(page["whole"] for page in pages)
    minutes = round(sum(record["seconds"] for record in records) / 60, 1)
    return [
        trial.title,
        records[0]["how"] or "-",
        len(pages) + lost,
        whole + lost,
        minutes,
        _seen(trial, records, pages),
    ]


def _seen(trial, records, pages):
    missing = next((record["missing"] for record in records if record.get("missing")), "")
    if missing:
        return f"left out: {missing}"
    wrong = faults(records)
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        return "; ".join(wrong[:SHOWN]) + more
    return "; ".join(_good(trial, records, pages))


def _good(trial, records, pages):
    if trial.kills:
        killed, lost = ([one for record in records for one in record[key]] for key in ("killed", "lost"))
        yield f"{len(killed)} kernels killed, {len(lost)} sentences that say so, each page whole in the next run"
    elif trial.hungry:
        most = max(record["most_bytes"] for record in records)
        yield f"{most / 2**20:,.0f} MiB held at most; a page that takes 3 GiB is ended with a sentence"
    elif not trial.fetched:
        stopped = sum(page.get("stopped", False) for page in pages)
        yield f"{len(pages) - stopped} pages ran to their end on texts that lie here, their claims hold"
        yield f"{stopped} stopped with the command that fetches what nothing can replace"
    if trial.fetched:
        yield f"equal to the last digit in {sum(page['exact'] for page in pages)} of {len(pages)} runs"


def faults(records):
    """Sentences on all that was not survived."""
    found = []
    for record in records:
        where = f"round {record['number']}" if record["number"] > 1 else ""
        for page in record["pages"]:
            found += [", ".join(filter(None, (where, f"{page['name']}: {fault}"))) for fault in page["faults"]]
        found += [", ".join(filter(None, (where, problem))) for problem in record["problems"]]
    return found


def verdict(trials, records):
    """One sentence on the whole."""
    begun = [trial for trial in trials if any(record["trial"] == trial.name for record in records)]
    left_out = [trial for trial in begun if any(r["trial"] == trial.name and r.get("missing") for r in records)]
    bad = [trial for trial in begun if faults([r for r in records if r["trial"] == trial.name])]
    good = len(begun) - len(left_out) - len(bad)
    names = f": not {', '.join(trial.title for trial in bad)}" if bad else ""
    out = f" ({len(left_out)} could not be tried here)" if left_out else ""
    runs = sum(len(record["pages"]) + len(record.get("lost", ())) for record in records)
    return f"{good} of {len(begun) - len(left_out)} trials survived in {runs} runs of pages{names}{out}"


def text(trials, records):
    """The table for a terminal, the faults and the verdict."""
    table = report.table(HEADERS, rows(trials, records), right=(2, 3, 4))
    return "\n".join([table, "", *faults(records), verdict(trials, records)])


def section(trials, records, command, results):
    """The section of the page of measurements; `results` is the module that keeps it."""
    pages = sorted({name for record in records for name in record["course"]})
    return {
        "title": "Endurance",
        "about": ABOUT,
        "command": command,
        "date": results.today(),
        "machine": results.machine(),
        "versions": results.versions(["torch", "numpy", "papermill", "ipykernel"]),
        "headers": list(HEADERS),
        "rows": rows(trials, records),
        "notes": [f"{len(pages)} pages: {', '.join(pages)}."],
        "verdict": verdict(trials, records),
        "passed": not faults(records),
    }
