"""Several submissions graded at a time: each in a sandbox of its own, the next one warmed while this one is judged."""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from labkit.workbench.grading.handing_in.submissions import Submission
from labkit.workbench.grading.marks import Judged, Keys, Question

TICK = 0.2  # seconds; Ctrl-C is seen that soon
OUR_FAULT = "This answer could not be judged ({error}); please tell your teacher."


@dataclass(frozen=True)
class Paper:
    """A submission with the exercises that are to be graded, and what each mark will be made from."""

    submission: Submission
    questions: tuple[tuple[Question, str], ...]

    @property
    def sources(self) -> list[str]:
        """All that will be run."""
        return [source for question, _ in self.questions if not question.at_a_glance for source in question.sources]


@dataclass(frozen=True)
class Found:
    """What came of one question; without one, the paper is done."""

    paper: Paper
    question: Question | None = None
    digest: str = ""
    judged: Judged | None = None


class Pool:
    """Grades papers in `jobs` threads; `open_box` starts a sandbox for the sources of a paper.

    Iterating gives what was found, as it comes, in the thread that iterates. Leaving the block kills what still runs.
    """

    def __init__(self, papers: Iterable[Paper], jobs: int, open_box: Callable[[list[str]], Any]):
        self._papers, self._open_box, self._keys = iter(papers), open_box, Keys()
        self._found: queue.Queue[Found | BaseException | None] = queue.Queue(maxsize=1000)
        self._taking, self._stopped = threading.Lock(), threading.Event()
        self._boxes: set[Any] = set()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(jobs)]

    def __enter__(self) -> "Pool":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stopped.set()
        with self._taking:
            boxes = list(self._boxes)
        for box in boxes:
            box.close()
        while any(thread.is_alive() for thread in self._threads):
            self._next(TICK)  # room for a thread that waits to put something down
            for thread in self._threads:
                thread.join(TICK / 10)

    def __iter__(self) -> Iterator[Found | None]:
        """Give what was found; None now and then while nothing comes."""
        working = len(self._threads)
        while working:
            found = self._next(TICK)
            if isinstance(found, BaseException):
                raise found
            if found is _ENDED:
                working -= 1
            else:
                yield found

    def _next(self, seconds: float) -> Any:
        try:
            return self._found.get(timeout=seconds)
        except queue.Empty:
            return None

    def _work(self) -> None:
        now = following = None
        try:
            now = self._take()
            while now and not self._stopped.is_set():
                following = self._take()
                self._grade(*now)
                self._close(now[1])
                now, following = following, None
        except BaseException as error:  # it is raised again where the class is graded
            self._found.put(error)
        finally:
            for taken in (now, following):
                self._close(taken[1] if taken else None)
            self._found.put(_ENDED)

    def _take(self) -> tuple[Paper, Any] | None:
        with self._taking:
            paper = next(self._papers, None)
            if paper is None or self._stopped.is_set():
                return None
            box = self._open_box(paper.sources) if paper.sources else None
            self._boxes |= {box} - {None}
            return paper, box

    def _close(self, box: Any) -> None:
        if box is not None:
            box.close()
            with self._taking:
                self._boxes.discard(box)

    def _grade(self, paper: Paper, box: Any) -> None:
        for question, digest in paper.questions:
            judged = question.at_a_glance or self._ask(question, box)
            if self._stopped.is_set():  # what a sandbox says that was killed from outside is no mark
                return
            self._found.put(Found(paper, question, digest, judged))
        self._found.put(Found(paper))

    def _ask(self, question: Question, box: Any) -> Judged:
        try:
            return question.ask(box, self._keys)
        except Exception as error:  # one answer that our own code trips over must not cost a class its grading
            if isinstance(error, OSError) or os.environ.get("LABKIT_DEBUG") == "1":
                raise  # no memory or no processes left: that is nobody's answer
            return Judged("refused", message=OUR_FAULT.format(error=type(error).__name__))


_ENDED: Any = object()  # what a thread puts down last
