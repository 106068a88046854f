"""The rules of a notebook, each a function that gives the breaches it finds as sentences. `problems` asks them all.

What `labkit.workbench.storing.is_stored` holds (execution counts, size, unique ids, normal form) is not repeated.

A notebook is the dictionary of its JSON with the lines of a source or text joined, as `nbformat.read` gives it.
"""

import ast
import json
import re
from itertools import pairwise
from urllib.parse import unquote

from tests.project import ROOT

TYPICAL, HARD = 10, 15  # lines of a code cell
LONGER = 0.2  # share of code cells that may exceed the typical length
WORDS = 80  # of a text cell
EVERYWHERE = {"lab"}  # `lab = labkit.start(scale, seed)` begins every notebook, whether or not it asks lab for more
IN_A_ROW = 2  # code cells without a sentence between them
PICTURE = re.compile(r"base64,[A-Za-z0-9+/=\s]+")
FIRST = {"home", "root", "Users", "tmp", "usr", "var", "opt", "mnt", "etc", "private", "content", ROOT.parts[1]}
ABSOLUTE = re.compile(rf"(?<![\w.:/<])/(?:{'|'.join(sorted(FIRST))})/[\w.]|\b[A-Z]:\\+\w")


def problems(notebook, *, bootstrap, folder):
    """Everything that is wrong with one notebook of the course, as sentences; `folder` is where its links start."""
    rules = [budget, pauses, parameters, definitions, structure, headings, outputs, pictures, alt_texts, paths]
    found = [problem for rule in rules for problem in rule(notebook)]
    return found + first_cell(notebook, bootstrap) + links(notebook, folder)


def code(notebook):
    """The code cells with their position among all cells, counted from one."""
    return [(place, cell) for place, cell in enumerate(notebook["cells"], 1) if cell["cell_type"] == "code"]


def text(notebook):
    """The text cells with their position among all cells, counted from one."""
    return [(place, cell) for place, cell in enumerate(notebook["cells"], 1) if cell["cell_type"] == "markdown"]


def budget(notebook):
    """Code cells are short, and text cells too."""
    lengths = {place: len(cell["source"].splitlines()) for place, cell in code(notebook)}
    found = [
        f"cell {place}: {lines} lines of code, allowed are {HARD}" for place, lines in lengths.items() if lines > HARD
    ]
    longer = [place for place, lines in lengths.items() if lines > TYPICAL]
    if len(longer) > LONGER * len(lengths):
        found.append(f"cells {longer} are longer than {TYPICAL} lines; that is more than one in five")
    counts = {place: words(cell["source"]) for place, cell in text(notebook)}
    return found + [
        f"cell {place}: {count} words, allowed are {WORDS}" for place, count in counts.items() if count > WORDS
    ]


def words(source):
    """Words of a text: displayed mathematics is none, inline mathematics and a link's address count as one at most."""
    source = re.sub(r"\$\$.*?\$\$|```.*?```|<!--.*?-->", " ", source, flags=re.DOTALL)
    source = re.sub(r"\]\([^)]*\)", "]", re.sub(r"\$[^$\n]+\$", "x", source))
    # A Chinese character counts as half a word, the usual rate of translators.
    chinese = len(re.findall(r"[\u4e00-\u9fff]", source))
    return len(re.findall(r"[^\W_]+(?:[-'’.][^\W_]+)*", re.sub(r"[\u4e00-\u9fff]", " ", source))) + chinese // 2


def pauses(notebook):
    """Never three code cells in a row without a sentence."""
    found, run = [], 0
    for place, cell in enumerate(notebook["cells"], 1):
        run = run + 1 if cell["cell_type"] == "code" else 0
        if run > IN_A_ROW:
            found.append(f"cell {place}: code cell number {run} in a row; say what we saw")
    return found


def first_cell(notebook, bootstrap):
    """The first code cell is the one that all notebooks share."""
    cells = code(notebook)
    if cells and cells[0][1]["source"].strip() == bootstrap.strip():
        return []
    return ["the first code cell is not the bootstrap cell of labkit.workbench.notebooks"]


def parameters(notebook):
    """One cell tagged `parameters`, which says scale = "ci" and seed = 0 and nothing else."""
    tagged = [cell["source"] for _, cell in code(notebook) if "parameters" in cell["metadata"].get("tags", [])]
    wanted = ast.dump(ast.parse('scale = "ci"\nseed = 0'))
    if len(tagged) != 1 or ast.dump(ast.parse(tagged[0])) != wanted:
        return [f'there must be one cell tagged `parameters` with scale = "ci" and seed = 0, not {tagged}']
    return []


def parsed(notebook):
    """Position and syntax tree of every code cell that is plain Python."""
    trees = []
    for place, cell in code(notebook):
        try:
            trees.append((place, ast.parse(cell["source"])))
        except SyntaxError:
            continue
    return trees


def definitions(notebook):
    """Every cell is plain Python, and what it defines is used: called, read, or handed to a check."""
    trees = parsed(notebook)
    plain = {place for place, _ in trees}
    found = [f"cell {place}: not plain Python" for place, _ in code(notebook) if place not in plain]
    for place, tree in trees:
        for name, node in defined(tree):
            if not any(name in loaded(other, without=node) for _, other in trees):
                found.append(f"cell {place}: `{name}` is defined and never used")
    return found


def defined(tree):
    """Names that a cell gives, with their statement; a hole under a check is used by that check."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not any(map(is_check, node.decorator_list)):
            yield node.name, node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [part for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
            stored = {name.id for name in names if isinstance(name.ctx, ast.Store)} - EVERYWHERE
            yield from ((name, node) for name in sorted(stored) if not name.startswith("_"))


def is_check(decorator):
    """Whether a decorator is labkit.check(…), however it was imported."""
    if not isinstance(decorator, ast.Call):
        return False
    return getattr(decorator.func, "attr", getattr(decorator.func, "id", "")) == "check"


def loaded(tree, without):
    """The names that a cell reads, outside one function or class: one that only calls itself is not used."""
    names = set()
    for node in tree.body:
        if node is not without or isinstance(node, ast.Assign | ast.AnnAssign):
            parts = (part for part in ast.walk(node) if isinstance(part, ast.Name))
            names |= {part.id for part in parts if isinstance(part.ctx, ast.Load)}
    return names


def repeated(notebooks):
    """Functions and classes that stand in two notebooks, by name or by body; they belong in labkit."""
    places = {}
    for name, notebook in notebooks.items():
        for _, tree in parsed(notebook):
            for node in tree.body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    places.setdefault(f"`{node.name}`", set()).add(name)
                    places.setdefault("\n".join(map(ast.unparse, node.body)), set()).add(name)
    return [
        f"{what} is defined in {sorted(where)}" for what, where in places.items() if len(where) > 1 and what != "..."
    ]


def structure(notebook):
    """Ids say what a cell is for, and there is nothing in the file that only machines read."""
    ids = [cell.get("id", "") for cell in notebook["cells"]]
    found = [f"the id {name!r} says nothing about its cell" for name in ids if not meaningful(name)]
    if "widgets" in notebook["metadata"]:
        found.append("metadata.widgets is stored, which keeps the notebook from being shown on the web")
    found += [f"cell {place}: raw" for place, cell in enumerate(notebook["cells"], 1) if cell["cell_type"] == "raw"]
    return found + [
        f"cell {place}: use a tag" for place, cell in code(notebook) if re.search(r"#\s*NBVAL_", cell["source"])
    ]


def meaningful(name):
    """Whether an id reads like words: `count-the-words`, not `3f2a9c01` or `cell-12`."""
    return bool(
        re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name)
        and not re.fullmatch(r"[0-9a-f]{6,}|(cell|code|text|markdown)(-?\d+)?", name)
    )


def headings(notebook):
    """One title, at the start, and no level skipped below it."""
    levels = []
    for _, cell in text(notebook):
        source = re.sub(r"```.*?```", "", cell["source"], flags=re.DOTALL)
        levels += [len(hashes) for hashes in re.findall(r"^(#{1,6})\s", source, flags=re.MULTILINE)]
    found = [] if levels[:1] == [1] and levels.count(1) == 1 else [f"one title (#) at the start, not {levels}"]
    jumps = [(a, b) for a, b in pairwise(levels) if b > a + 1]
    return found + [f"a heading of level {b} follows one of level {a}" for a, b in jumps]


def shown(notebook):
    """Every part of every output: position of its cell, mime type or stream name, content."""
    for place, cell in code(notebook):
        for output in cell["outputs"]:
            if output["output_type"] == "stream":
                yield place, output["name"], output["text"]
            elif output["output_type"] == "error":
                yield place, "error", output["ename"]
            else:
                yield from ((place, mime, data) for mime, data in output["data"].items())


def outputs(notebook):
    """No error, nothing on stderr, no picture without words, no live widget."""
    unwanted = {"error", "stderr", "application/vnd.jupyter.widget-view+json"}
    kinds = [(place, kind) for place, kind, _ in shown(notebook)]
    return [f"cell {place}: stores {kind}" for place, kind in kinds if kind in unwanted or kind.startswith("image/")]


def pictures(notebook):
    """A picture that is drawn is shown: the call of a `draw_…` ends its cell, without a semicolon."""
    found = []
    for place, tree in parsed(notebook):
        drawn = [one for one in tree.body if isinstance(one, ast.Expr) and _draws(one.value)]
        silenced = drawn and notebook["cells"][place - 1]["source"].rstrip().endswith(";")
        if silenced or any(one is not tree.body[-1] for one in drawn):
            found.append(f"cell {place}: a picture is drawn and not shown; draw it in the last line, without `;`")
    return found


def _draws(value):
    named = isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute | ast.Name)
    return named and ast.unparse(value.func).split(".")[-1].startswith("draw_")


def alt_texts(notebook):
    """Every picture says in words what it shows."""
    pages = [(place, data) for place, kind, data in shown(notebook) if kind == "text/html"]
    pages += [(place, cell["source"]) for place, cell in text(notebook)]
    found = []
    for place, page in pages:
        tags = re.findall(r"<img\b[^>]*>", PICTURE.sub("", page))
        found += [
            f"cell {place}: {tag[:60]} has no alt text" for tag in tags if not re.search(r'\balt="\s*[^"\s]', tag)
        ]
        found += [f"cell {place}: ![]({link}) has no alt text" for link in re.findall(r"!\[\s*\]\(([^)]*)\)", page)]
        found += [
            f"cell {place}: <svg> without a name" for tag in re.findall(r"<svg\b[^>]*>", page) if "aria-" not in tag
        ]
    return found


def paths(notebook):
    """Neither source nor output names a place on one machine."""
    found = [(place, cell["source"]) for place, cell in enumerate(notebook["cells"], 1)]
    found += [(place, data if isinstance(data, str) else json.dumps(data)) for place, _, data in shown(notebook)]
    hits = [(place, ABSOLUTE.search(PICTURE.sub("", where))) for place, where in found]
    return [f"cell {place}: the absolute path {hit[0]}…" for place, hit in hits if hit]


def links(notebook, folder):
    """Links to files of the course lead to files that exist."""
    found = []
    for place, cell in text(notebook):
        targets = re.findall(r"\]\(([^)\s]+)[^)]*\)", cell["source"]) + re.findall(
            r'(?:href|src)="([^"]+)"', cell["source"]
        )
        for target in targets:
            file = unquote(target.partition("#")[0])
            if file and not re.match(r"[a-z]+:", file) and not (folder / file).exists():
                found.append(f"cell {place}: the link {target} leads nowhere")
    return found
