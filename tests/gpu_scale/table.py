"""What became of a page at the scale "gpu", as data, as a line of a table, and as a section of the results."""

from pathlib import Path

from benchmarks import results
from labkit.workbench import room

ABOUT = (
    "Every page with torch at its largest scale, on a device that has shapes and types and no values. Run are the "
    "cells that ask for the device, or use what was made there, and the cells that those need. A tensor on the wrong "
    "device is an error there as on a GPU. Bytes are those of all tensors that were alive at once, counted one by one."
)
NOTES = (
    "Cut: trainings take 2 to 6 steps, models write 4 tokens, a hyperparameter search has 2 trials, tiles are sixteen "
    "times as large. Sizes of models and batches are those of the scale; their memory peaks in the first two steps.",
    "Not seen: values, so that claims are made and not judged; bfloat16, which only CUDA is given; the memory that a "
    "real GPU's own libraries take.",
    "A page without cells of the device keeps all its models on the CPU, where its ranks are; a GPU changes nothing.",
)


def empty(path, cells, of_device):
    """What is told of a page of which nothing has run."""
    told = {"page": Path(path).stem, "cells": cells, "device": of_device, "ran": 0, "claims": 0, "needs": []}
    return told | {"left_out": {}, "mistakes": {}, "seconds": 0.0, "peak": 0}


def row(told):
    """A line of the table."""
    needs = ", ".join(f"{need['what']}: {room.size(need['need'])}" for need in told["needs"])
    seen = ", ".join(room.size(need["measured"]) for need in told["needs"])
    peak = room.size(told["peak"]) if told["peak"] else "nothing"
    ran = f"{told['ran']} of {told['device']}"
    return [told["page"], told["cells"], ran, told["claims"], needs or "—", seen or "—", peak, f"{told['seconds']:.0f}"]


def section(pages):
    """The section of benchmarks/RESULTS.md."""
    left = [f"{told['page']}, {name}: {why}" for told in pages for name, why in told["left_out"].items()]
    wrong = [f"{told['page']}, {name}: {why}" for told in pages for name, why in told["mistakes"].items()]
    ran, of = (sum(told[key] for told in pages) for key in ("ran", "device"))
    verdict = f"{ran} of {of} cells of the device ran on {len(pages)} pages; {len(wrong)} mistakes."
    headers = ["page", "code cells", "cells of the device that ran", "claims made"]
    headers += ["need by formula", "taken after that was said", "most on the device", "CPU seconds"]
    return {
        "title": "The scale gpu without a GPU",
        "about": ABOUT,
        "command": "python -m tests.gpu_scale",
        "date": results.today(),
        "machine": results.machine(),
        "versions": results.versions(["torch", "numpy"]),
        "headers": headers,
        "rows": [row(told) for told in pages],
        "notes": [*NOTES, *(f"Left out: {line}" for line in left), *(f"Mistake: {line}" for line in wrong)],
        "verdict": verdict,
        "passed": not wrong,
    }
