"""Explorables moved by the keyboard alone: every control to both of its ends and back, the picture seen to follow.

After each move three things must agree: where the control should be, what the kernel drew the picture for, and the
words below the picture in the page. So nothing is waited for longer than it takes, and a picture that lags is found.
"""

import time
from dataclasses import dataclass

# In the kernel: every explorable of the page, in its order, as plain data.
READ = """
def _labkit_explorables():
    import ipywidgets
    from labkit.workbench.explore import Explorer
    def place(widget, value):
        values = [choice for _, choice in getattr(widget, "options", ())]
        return next((i for i, each in enumerate(values) if each is value or each == value), value)
    def control(name, each, drawn):
        ends = [place(each.widget, end) for end in (each.ends[0], each.ends[-1])]
        at, start = (place(each.widget, value) for value in (drawn.get(name), each.start))
        return {"name": name, "kind": type(each.widget).__name__, "at": at, "start": start, "ends": ends}
    def explorable(each):
        each.alt  # draws what has been asked for; what it was drawn for must be read before the words it was given
        drawn = each._drawn_for
        controls = [control(name, one, drawn) for name, one in each._controls.items()]
        return {"controls": controls, "alt": each.alt, "error": each.error}
    shown = {id(each): each for each in Out.values() if isinstance(each, Explorer)}.values()
    return [explorable(each) for each in shown]
"""
EXPLORABLES = ".jp-OutputArea-output:has(.widget-vbox figure.labkit)"
WORDS = """output => {
  const said = output.querySelector('figcaption span[aria-live], figure span[role=alert]');
  return said ? said.innerText.split(/\\s+/).join(' ').trim() : '';
}"""
SECONDS = 180  # for one picture; a page of the course draws its slowest in two on a machine of its own


@dataclass(frozen=True)
class Move:
    """One control at one place: the words below the picture there."""

    control: str
    place: object
    words: str


def explorables(page):
    """Where the explorables of a page are, in its order; as many as the kernel has shown."""
    found = page.page.locator(EXPLORABLES).all()
    known = read(page)
    if len(found) != len(known):
        raise AssertionError(f"the page shows {len(found)} explorables, its kernel has {len(known)}")
    return found


def read(page):
    """What the kernel knows of every explorable."""
    return page.asked("_labkit_explorables()", READ)


def drive(page, number, output):
    """Moves every control of the explorable `number` to its lower end, its upper end and back; gives the moves."""
    moves = []
    for row, control in enumerate(read(page)[number]["controls"]):
        place = output.locator(".widget-vbox").first.locator(":scope > *").nth(row)
        for end in (*control["ends"], control["start"]):
            PRESS[control["kind"]](place, control, end)
            moves.append(Move(control["name"], end, settled(page, number, output, row, end)))
    return moves


def stuck(output, handle):
    """Moves one slider by a step; what stays the same though it moved, as a sentence, or an empty text."""
    before = output.evaluate(WORDS)
    at_the_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    handle.press("ArrowLeft" if at_the_end else "ArrowRight")
    over = time.monotonic() + SECONDS
    while output.evaluate(WORDS) == before:
        if time.monotonic() > over:
            return f"moving a slider changed nothing: {before!r}"
        output.page.wait_for_timeout(50)
    return ""


def settled(page, number, output, row, wanted):
    """Waits until control, kernel and picture agree, and gives the words below the picture."""
    over = time.monotonic() + SECONDS
    while True:
        known = read(page)[number]
        control, words = known["controls"][row], output.evaluate(WORDS)
        if same(control["at"], wanted) and words == " ".join(known["alt"].split()):
            break
        if time.monotonic() > over:
            raise AssertionError(
                f"{control['name']} should be at {wanted!r} and the picture is drawn for {control['at']!r}; "
                f"the page says {words!r}, the kernel {known['alt']!r}"
            )
    if known["error"]:
        raise AssertionError(f"{control['name']} at {wanted!r}: {known['error']}")
    return words


def same(a, b):
    """Whether a control is where it should be; a slider reckons its steps in floating point."""
    numbers = isinstance(a, int | float) and isinstance(b, int | float)
    return abs(a - b) <= 1e-9 * max(1, abs(a), abs(b)) if numbers else a == b


def slider(place, control, end):
    """Home and End on the handle; any other number is typed into the box beside it."""
    if end in control["ends"]:
        place.locator(".noUi-handle").press("End" if end == control["ends"][1] else "Home")
    else:
        typed(place.locator("input[type=number]"), f"{end!r}")


def menu(place, control, end):
    """Home or End; a choice between them is picked by its place, not by keys."""
    chosen = place.locator("select")
    if end in control["ends"]:
        chosen.press("End" if end == control["ends"][1] else "Home")
    else:
        chosen.select_option(index=end)


def checkbox(place, control, end):
    """The space bar, when it is not as it should be."""
    box = place.locator("input[type=checkbox]")
    if box.is_checked() != bool(end):
        box.press("Space")


def text(place, control, end):
    """The words typed over the old ones, and Enter (in a box of several lines Enter is a line)."""
    several = control["kind"] == "Textarea"
    typed(place.locator("textarea" if several else "input[type=text]"), end, enter=not several)


def typed(field, words, enter=True):
    """Types words over what stands in a field."""
    field.press("Control+a")
    field.press("Delete")
    if words:
        field.page.keyboard.insert_text(words)
    if enter:
        field.press("Enter")


PRESS = {
    "IntSlider": slider,
    "FloatSlider": slider,
    "Dropdown": menu,
    "Checkbox": checkbox,
    "Text": text,
    "Textarea": text,
}
