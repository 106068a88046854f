"""Exercises on a run that may be killed: chunks of whole lines, and which of them are still to do."""

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "13_data_pipelines"


def line_chunks(content, size):
    """From each multiple of the size on to the next line that begins; a long line swallows several marks."""
    starts = [0]
    for mark in range(size, len(content), size):
        start = content.find(b"\n", mark - 1) + 1
        if starts[-1] < start < len(content):
            starts.append(start)
    return list(zip(starts, [*starts[1:], len(content)], strict=True)) if content else []


def _cut(content, starts):
    return list(zip(starts, [*starts[1:], len(content)], strict=True)) if content else []


def _at_the_marks(content, size):
    return _cut(content, list(range(0, max(1, len(content)), size)))


def _from_the_mark(content, size):
    starts = [0]
    for mark in range(size, len(content), size):
        start = content.find(b"\n", mark) + 1
        if starts[-1] < start < len(content):
            starts.append(start)
    return _cut(content, starts)


def _back_to_the_line(content, size):
    starts = [0]
    for mark in range(size, len(content), size):
        start = content.rfind(b"\n", 0, mark) + 1
        if start > starts[-1]:
            starts.append(start)
    return _cut(content, starts)


def _long_line_again(content, size):
    starts = [0]
    for mark in range(size, len(content), size):
        start = content.find(b"\n", mark - 1) + 1
        if 0 < start < len(content):
            starts.append(start)
    return _cut(content, starts)


def _at_the_line_end(content, size):
    return [(start, stop - 1) if stop < len(content) else (start, stop) for start, stop in line_chunks(content, size)]


def _content(draw, lines, longest):
    return b"\n".join(b"x" * int(length) for length in draw.integers(0, longest, lines))


LINE_CHUNKS = Exercise(
    id="cleaning.line_chunks",
    notebook=NOTEBOOK,
    statement=(
        "Workers shall share a file. Give the chunks of the bytes `content` as a list of (start, stop): at each "
        "multiple of `size` below the length a chunk begins with the first line that begins there or later. "
        "The chunks cover the content without gaps, none is empty, and empty content has none. Lines end with b'\\n'."
    ),
    difficulty=2,
    minutes=10,
    hints=(
        "A line begins at 0 and behind each b'\\n'. So at a mark look for the first b'\\n' from `mark - 1` on: if it "
        "stands exactly there, a line begins at the mark itself.",
        "`start = content.find(b'\\n', mark - 1) + 1`; take it if it is greater than the start before (a long line may "
        "swallow several marks) and less than the length. Each chunk stops where the next one starts, the last at the "
        "end.",
    ),
    solution=line_chunks,
    wrong=(
        WrongAnswer(
            "at the marks",
            _at_the_marks,
            "You cut at the multiples themselves, through the middle of lines: two workers get half a document each, "
            "and both halves are broken JSON.",
        ),
        WrongAnswer(
            "a line is skipped over",
            _from_the_mark,
            "When a line begins exactly at a multiple, the chunk should begin there. You look for the b'\\n' from the "
            "mark on and find the end of that very line; look from one byte before.",
        ),
        WrongAnswer(
            "back to the line",
            _back_to_the_line,
            "You go back to the line in which the mark lies. Asked is the first line that begins at the mark or later.",
        ),
        WrongAnswer(
            "the long line again",
            _long_line_again,
            "A line longer than `size` holds several marks, and each of them finds the same next line: you have chunks "
            "that are empty. Take a start only if it is greater than the one before.",
        ),
        WrongAnswer(
            "a gap at the line end",
            _at_the_line_end,
            "Your chunks leave out the b'\\n' at their ends. The sizes then do not add up to that of the file, which "
            "is how one notices that something was lost.",
        ),
    ),
    cases=lambda draw: [
        (b"", 4),
        (b"one line without an end", 5),
        (b"ab\ncd\nef\ngh\n", 3),
        (b"ab\n" + b"long " * 6 + b"\ncd\nef", 4),
        (b"\n\n\n\n", 2),
        *((_content(draw, lines, longest), size) for lines, longest, size in ((9, 6, 7), (12, 9, 5), (5, 20, 6))),
    ],
)


def chunks_to_do(names, count):
    """A chunk is done when the file that is written last has its own name."""
    finished = {int(name.removesuffix(".json")) for name in names if name.endswith(".json")}
    return [number for number in range(count) if number not in finished]


def _numbers(names, wanted):
    return {int(name[:5]) for name in names if wanted(name)}


def _without(names, count, wanted):
    found = _numbers(names, wanted)
    return [number for number in range(count) if number not in found]


def _after_the_last(names, count):
    return list(range(max(_numbers(names, lambda name: name.endswith(".json")), default=-1) + 1, count))


def _after_as_many(names, count):
    return list(range(len(_numbers(names, lambda name: name.endswith(".json"))), count))


def _names(draw, count):
    names = []
    for number in range(count):
        stage = int(draw.integers(0, 4))
        files = [f"{number:05d}.kept", f"{number:05d}.left", f"{number:05d}.json"][:stage]
        if stage < 3 and draw.random() < 0.7:
            files.append(f"{number:05d}.{('kept', 'left', 'json')[stage]}.4711.part")
        names += files
    return [names[place] for place in draw.permutation(len(names))], count


CHUNKS_TO_DO = Exercise(
    id="cleaning.chunks_to_do",
    notebook=NOTEBOOK,
    statement=(
        "A run was killed. For each of `count` chunks a worker writes first 00012.kept, then 00012.left, last "
        "00012.json; a file that is being written is called 00012.json.4711.part until it is whole. Given the `names` "
        "in the folder, in any order, list the numbers of the chunks that must be done again, ascending."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "Which single file proves that everything of its chunk is there? Several workers wrote at a time, so finished "
        "chunks need not be the first ones.",
        "Collect `int(name.removesuffix('.json'))` of the names that end in '.json' (a .part does not), and list the "
        "numbers of `range(count)` that are not among them.",
    ),
    solution=chunks_to_do,
    wrong=(
        WrongAnswer(
            "the first file counts",
            lambda names, count: _without(names, count, lambda name: name.endswith(".kept")),
            "You take a chunk as done when its .kept is there. The worker may have died before it wrote what was "
            "removed: only the file that is written last proves the chunk.",
        ),
        WrongAnswer(
            "half a file counts",
            lambda names, count: _without(names, count, lambda name: ".json" in name),
            "A name such as 00003.json.4711.part contains .json and is half a file. It counts only under its own name.",
        ),
        WrongAnswer(
            "after the last",
            _after_the_last,
            "You go on after the highest number that is finished. With two workers chunk 7 may be finished before "
            "chunk 6: its documents would be lost without a word.",
        ),
        WrongAnswer(
            "after as many",
            _after_as_many,
            "You skip as many chunks as are finished. Those need not be the first ones: some would be done twice, and "
            "others never.",
        ),
        WrongAnswer(
            "anything counts",
            lambda names, count: _without(names, count, lambda name: True),
            "You take every chunk as done of which any file is there, even half of one.",
        ),
    ),
    cases=lambda draw: [
        ([], 3),
        (["00000.kept", "00000.left", "00000.json"], 1),
        (["00001.json", "00001.kept", "00001.left", "00000.kept", "00000.left.4711.part"], 3),
        (["00000.kept", "00000.left", "00000.json.4711.part", "00002.json", "00002.left", "00002.kept"], 4),
        (["00001.kept.4711.part"], 2),
        *(_names(draw, count) for count in (6, 9, 12)),
    ],
)
