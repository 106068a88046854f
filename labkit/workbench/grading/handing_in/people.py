"""Who is who: files are brought together by person, and two people of one name are kept apart or both are named."""

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime

from labkit.workbench.grading.handing_in.handedin import HandedIn
from labkit.workbench.grading.handing_in.layouts import Who
from labkit.workbench.grading.handing_in.roster import Roster, Student, folded, forms
from labkit.workbench.grading.handing_in.submissions import Found


@dataclass
class Handed:
    """One file on its way to becoming a submission: what was read, and step by step whose it is and when it came."""

    file: HandedIn
    who: Who
    stem: str = ""
    stamp: str = ""
    reason: str = ""
    found: Found | None = None
    version: str = ""
    typed: str = ""
    key: str = ""
    name: str = ""
    email: str = ""
    sheet: str = ""
    moment: datetime | None = None
    clock: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """The file as a message names it."""
        return "/".join(self.file.parts[-2:])


# "Group 3-Ada Beispiel" is what Moodle calls a file of a course with groups.
IN_GROUP = re.compile(r"(?i)[^-]*(?:group|gruppe|grupo|team|tutor|section|class|kurs|\d)[^-]*-\s*(?P<name>.+)")


def for_each_member(handed: list[Handed], roster: Roster | None) -> list[Handed]:
    """Give what a group handed in together to each of its members, where the list of the class has groups."""
    found = []
    for each in handed:
        group = re.sub(r"-[^-]*$", "", each.who.label)
        known = roster is None or roster.find(number=each.who.number, label=each.who.label)
        members = [] if known else roster.members(each.who.label) or roster.members(group)
        note = f"handed in by the group “{each.who.label}” for all its members"
        found += [
            replace(each, who=replace(each.who, label=one.id, number=""), typed="", notes=[note]) for one in members
        ]
        found += [] if members else [each]
    return found


def settle(handed: list[Handed], roster: Roster | None) -> None:
    """Give every file the key and the name of its student."""
    unnamed: dict[str, list[Handed]] = defaultdict(list)
    for each in handed:
        known = _in_roster(each, roster)
        if known is not None:
            each.key, each.name, each.email, each.sheet = known.id, known.name, known.email, known.moment
        else:
            each.name = each.who.label or each.typed
            unnamed[folded(each.name)].append(each)
            if roster is not None and each.name:
                each.notes.append(f"“{each.name}” is not in the list of the class, or not one person alone")
    taken = {folded(each.key) for each in handed if each.key}
    for name, group in unnamed.items():
        _keep_apart(name, group, taken)
    for each in handed:
        _compare_with_typed(each)


def _in_roster(each: Handed, roster: Roster | None) -> Student | None:
    if roster is None:
        return None
    meant = roster.find(number=each.who.number, label=each.who.label)
    if not meant and (inner := IN_GROUP.fullmatch(each.who.label)):
        meant = roster.find(label=inner["name"])
    if len(meant) != 1 and each.typed:
        typed = roster.find(label=each.typed)
        meant = [one for one in typed if one in meant] if meant else typed
    return meant[0] if len(meant) == 1 else None


def _keep_apart(name: str, group: list[Handed], taken: set[str]) -> None:
    """Give keys to the files under one name: one person, or several whom something keeps apart."""
    if not name:
        for each in group:
            each.key = each.name = f"unknown ({each.shown})"
            each.notes.append(f"nothing says whose {each.shown} is; put it into a folder with the student's name")
        return
    people = _people(group)
    for person, files in people.items():
        shown = files[0].name
        key = f"{shown} ({person})" if len(people) > 1 or folded(shown) in taken else shown
        for each in files:
            each.key = key
    if len(people) > 1 and not all(each.who.number or each.typed for each in group):
        places = ", ".join(sorted({each.shown for each in group})[:6])
        for each in group:
            each.notes.append(
                f"there may be several people called “{group[0].name}”: only their place keeps files apart ({places}); "
                "a list of the class with ids would tell"
            )
    elif len(people) > 1:
        for each in group:
            each.notes.append(
                f"{len(people)} students are called “{each.name}”; this one is kept apart as “{each.key}”"
            )


def _people(group: list[Handed]) -> dict[str, list[Handed]]:
    """Bring the files of one name together by person: by number, by what was typed, else by place."""
    people: dict[str, list[Handed]] = defaultdict(list)
    by_place = {each.who.place: each.typed for each in group if each.typed}
    for each in group:
        typed = each.typed or by_place.get(each.who.place, "")
        people[each.who.number or folded(typed) or each.who.place.strip("/")].append(each)
    return people


def _compare_with_typed(each: Handed) -> None:
    if not each.typed:
        return
    known = {form for name in (each.name, each.who.label) for form in forms(name)}
    known |= {folded(name) for name in (each.key, each.email, each.who.number, each.email.partition("@")[0]) if name}
    if folded(each.typed) not in known and not forms(each.typed) & known:
        each.notes.append(
            f"the cell `course-student` says “{each.typed[:80]}”, and the file came from “{each.name}”; "
            f"it counts for {each.key}"
        )
