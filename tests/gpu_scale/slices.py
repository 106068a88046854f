"""Which cells of a page have to do with the device, and which others they need: read from the names alone.

A cell asks for the device, or is given what such a cell made. All others compute on the CPU of every machine, as they
do at "ci", and are left alone unless all are asked for.
"""

import ast
import symtable

PARAMETERS = "parameters"
MAKERS = ("tiny_gpt", "load_or_train", "pretrain", "pretrain_on")  # they choose the best device if none is named


def of_the_device(cells):
    """The ids of the cells that have to do with the device, in their order."""
    held, found = set(), []
    for cell in cells:
        touched = [_touches(line, held) for line in _statements(cell)]
        if any(touched):
            found.append(cell["id"])
    return found


def with_what_they_need(cells, wanted):
    """The ids of these cells, of those that bind names which they use, and so on; the parameters are always there."""
    needed, kept = set(), []
    for cell in reversed(cells):
        lines = _statements(cell)
        binds = set().union(*(_bound(line) for line in lines))
        if cell["id"] in wanted or binds & needed or PARAMETERS in cell["metadata"].get("tags", []):
            kept.append(cell["id"])
            needed = (needed - binds) | set().union(*(_used(line) for line in lines))
    return kept[::-1]


def asks(line):
    """Whether a statement asks for the device itself: by its name, for room on it, or a model of the best one."""
    return any(_asks(node) for node in ast.walk(line))


def chooses_a_device(node):
    """Whether this is a call that makes a model wherever it likes: no device is named."""
    return _calls_maker(node) and not any(word.arg == "device" for word in node.keywords)


def _asks(node):
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lab":
        return node.attr in ("device", "room")
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "lab.pick":
        return any(word.arg == "gpu" for word in node.keywords)
    if not _calls_maker(node):
        return False
    named = next((ast.unparse(word.value) for word in node.keywords if word.arg == "device"), "")
    return named != "'cpu'"


def _calls_maker(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in MAKERS


def _statements(cell):
    return ast.parse("".join(cell["source"])).body


def _touches(line, held):
    """Whether a statement has to do with the device; what it binds is then of the device, else no longer."""
    if isinstance(line, ast.For):  # what counts the rounds is of the device only if it comes from there
        heads = [ast.Assign([line.target], line.iter, lineno=line.lineno)]
        return sum(_touches(part, held) for part in (*heads, *line.body, *line.orelse)) > 0  # each of them marks names
    touched = asks(line) or bool(_used(line) & held)
    binds = _bound(line)
    if touched and not isinstance(line, ast.Import | ast.ImportFrom):
        held |= binds | _filled(line)
    else:
        held -= binds
    return touched


def _bound(line):
    table = symtable.symtable(ast.unparse(line), "cell", "exec")
    return {name.get_name() for name in table.get_symbols() if name.is_assigned() or name.is_imported()}


def _filled(line):
    """The names whose value is given something to keep: `kept[name].append(…)`, `kept[name] = …`."""
    places = [node.func.value for node in ast.walk(line) if isinstance(node, ast.Call) and _adds(node.func)]
    places += [target for node in ast.walk(line) if isinstance(node, ast.Assign) for target in node.targets]
    roots = [node for place in places if not isinstance(place, ast.Tuple) for node in ast.walk(place)]
    return {node.id for node in roots if isinstance(node, ast.Name)}


def _adds(function):
    return isinstance(function, ast.Attribute) and function.attr in ("append", "extend", "update", "add")


def _used(line):
    """Names of the notebook that a statement reads, in the functions that it makes, too."""
    found, tables = set(), [symtable.symtable(ast.unparse(line), "cell", "exec")]
    while tables:
        table = tables.pop()
        top = table.get_type() == "module"
        found |= {n.get_name() for n in table.get_symbols() if n.is_referenced() and (top or n.is_global())}
        tables += table.get_children()
    return found
