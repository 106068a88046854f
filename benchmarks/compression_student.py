"""A student of two layers beside its teacher of six on one thread: a part of the benchmark."""

import torch
from peers import Row, paired

from labkit.compression.students import Distilled, StudentRecipe, distilled_minilm
from labkit.corpora import CorpusUnavailable

# Three times the paragraphs of the notebook's scale, read twice; judged on 200 of each library.
LONGER = StudentRecipe(learn=300, judge=200, tokens=32, epochs=2)


def bench(rounds: int) -> list[Row]:
    """The task's score at the scale of the notebook and one larger, and the time of one text and of a batch."""
    torch.set_num_threads(1)
    try:
        found, longer = distilled_minilm(), distilled_minilm(recipe=LONGER)
    except CorpusUnavailable as reason:
        return [Row("the student of MiniLM", note=f"did not run: {reason}")]
    rows = [score(found, None), score(longer, 0.95)]
    middle = found.batches[len(found.batches) // 2]
    for what, rows_of in (("one text", 1), ("a batch", len(middle.ids))):
        ids, mask = middle.ids[:rows_of], middle.mask[:rows_of]
        times = paired(reading(found.student, ids, mask), reading(found.teacher, ids, mask), rounds)
        note = f"{1 / times[2]:.2f} of the teacher's"
        wanted = 2.22 if rows_of == 1 else None
        rows.append(
            Row(f"{what} of {ids.shape[1]} tokens", "ms", *(100 * t for t in times[:2]), times[2], wanted, note)
        )
    return rows


def score(found: Distilled, asked: float | None) -> Row:
    """The student's score beside its teacher's; the control, which saw the labels alone, is in the note."""
    ratio, low, high = found.interval("student", "teacher")
    what = f"{found.recipe.learn} paragraphs of each library: student, teacher"
    note = f"95 % of exams: {low:.1%} to {high:.1%} of the teacher's; labels alone {found.score('control'):.3f}"
    return Row(what, "right", found.score("student"), found.score("teacher"), ratio, asked, note)


def reading(reader: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor):
    """Ten times the logits of these texts."""

    @torch.no_grad()
    def read() -> None:
        for _ in range(10):
            reader(ids, mask)

    return read
