"""The house rules that a machine can hold: who may import whom, what a module is called, how long it may be."""

import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.project import ROOT, files, texts

# From the ground up. A module imports only from rows below its own, and freely within its own folder.
ROWS = (
    ("corpora", "ranks"),
    ("ngrams", "tokenization", "probability"),
    ("cleaning",),
    ("attention", "optimizers"),
    ("transformer", "recurrent", "word_vectors"),
    ("training",),
    ("pretraining",),
    ("finetuning", "evaluation", "augmentation", "privacy"),
    ("data_parallel", "model_parallel"),
    ("zero",),
    ("compression", "serving", "planning"),
    ("workbench", "figures"),
    ("workbench.grading", "workbench.releasing", "workbench.publishing"),
    ("workbench.teaching",),
    ("workbench.cli", "exercises"),
    ("",),  # labkit itself, the public face, which imports lazily
)
# Imports within a row, each with its reason.
ALLOWED = {
    ("workbench", "figures.style"): "the session sets the theme of figures, an explorer turns a figure into a picture",
}
LIGHT = {name for row in ROWS[:3] for name in row}  # a learner's first cell is instant
HEAVY = ("torch", "pandas", "matplotlib")
# The course, notebook by notebook; the capstone uses all modules and has none of its own.
COURSE = {
    "00_start_here": "workbench",
    "01_probability_and_information": "probability",
    "02_ngram_models": "ngrams",
    "03_tokenization": "tokenization",
    "04_word_vectors": "word_vectors",
    "05_recurrent_and_convolutional": "recurrent",
    "06_attention_math": "attention",
    "07_transformer": "transformer",
    "07_weights": "transformer",
    "08_adam_derivation": "optimizers",
    "09_training_loop": "training",
    "10_pretraining": "pretraining",
    "11_finetuning": "finetuning",
    "12_evaluation": "evaluation",
    "13_data_cleaning": "cleaning",
    "13_data_pipelines": "cleaning",
    "14_data_augmentation": "augmentation",
    "15_privacy": "privacy",
    "16_data_parallel": "data_parallel",
    "17_model_parallel": "model_parallel",
    "18_zero_and_deepspeed": "zero",
    "19_planning_at_scale": "planning",
    "20_compression": "compression",
    "20_smaller_models": "compression",
    "21_serving": "serving",
    "22_capstone": "",
}
LONGEST = 300
NO_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}
MODULES = [ROOT / path for path in files() if path.parts[0] == "labkit" and path.suffix == ".py"]


def name_of(path, package):
    """The dotted name of a module without the package: `labkit/figures/style.py` is `figures.style`."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def row_of(name):
    """Number and entry of the row a module belongs to: the longest entry that its dotted name starts with."""
    fitting = [
        (len(entry), number, entry)
        for number, row in enumerate(ROWS)
        for entry in row
        if name == entry or (entry and name.startswith(entry + "."))
    ]
    return max(fitting)[1:] if fitting else None


def imports(path, package):
    """The dotted names inside the package that a module imports, wherever in the module, without the package's name."""
    inside = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            inside += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path, package)
            inside += [_submodule(package, base, alias.name) for alias in node.names]
    own = package.name
    return [name[len(own) + 1 :] for name in inside if name == own or name.startswith(own + ".")]


def _absolute(node, path, package):
    if not node.level:
        return node.module or ""
    folder = path.parents[node.level - 1]
    return ".".join([*folder.relative_to(package.parent).parts, *filter(None, [node.module])])


def _submodule(package, base, name):
    place = package.parent.joinpath(*base.split("."), name)
    return f"{base}.{name}" if place.is_dir() or place.with_suffix(".py").is_file() else base


def import_problems(path, package):
    """What is wrong with the imports of one module, as sentences."""
    name = name_of(path, package)
    if row_of(name) is None:
        return [f"{name} is in no row: add it to ROWS, on its place in the plan"]
    number, entry = row_of(name)
    problems = []
    for imported in imports(path, package):
        there, other = row_of(imported) or (len(ROWS), "")
        excused = any(entry == a and f"{imported}.".startswith(f"{b}.") for a, b in ALLOWED)
        if there >= number and other != entry and not excused:
            problems.append(f"{name} imports {imported or package.name}, which is not below it")
    return problems


def style_problems(path):
    """What a module does that the house does not, as sentences."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    problems = []
    if source.count("\n") > LONGEST:
        problems.append(f"{source.count(chr(10))} lines, allowed are {LONGEST}")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            problems.append(f"line {node.lineno}: __future__ import; shapes could not be checked")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            problems.append(f"line {node.lineno}: bare except")
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.body[0].lineno > 40:
            problems.append(f"line {node.lineno}: {node.name} is longer than 40 lines")
    problems += [
        f"line {node.lineno}: {node.name} has no docstring" for node in public(tree) if not ast.get_docstring(node)
    ]
    return problems


def public(tree):
    """The functions, classes and methods of a module whose names, and whose classes' names, do not start with `_`."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def third_party(path, package):
    """The names of the packages from elsewhere that a module imports, wherever in the module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {package.name}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path, ROOT / "labkit") or "labkit")
def test_a_module_imports_only_from_rows_below_its_own(path):
    assert import_problems(path, ROOT / "labkit") == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path, ROOT / "labkit") or "labkit")
def test_a_module_keeps_the_style_of_the_house(path):
    assert style_problems(path) == []


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("corpora.py", "import labkit.ngrams", "corpora imports ngrams"),
        ("corpora.py", "def f():\n    from labkit import ngrams", "corpora imports ngrams"),
        ("corpora.py", "from labkit.workbench import claims", "corpora imports workbench"),
        ("corpora.py", "from . import ngrams", "corpora imports ngrams"),
        ("corpora.py", "import labkit", "corpora imports labkit"),
        ("ranks.py", "import labkit.corpora", "ranks imports corpora"),
        ("ngrams.py", "import labkit.corpora\nimport numpy", ""),
        ("workbench/session.py", "from labkit.figures import style\nfrom labkit.workbench import claims", ""),
        ("workbench/session.py", "from labkit.figures import ngrams", "workbench.session imports figures"),
        ("workbench/session.py", "from labkit.workbench import cli", "workbench.session imports workbench.cli"),
        ("figures/ngrams.py", "from labkit.workbench import claims", "figures.ngrams imports workbench"),
        ("odds_and_ends.py", "", "odds_and_ends is in no row"),
    ],
)
def test_an_upward_import_is_noticed(tmp_path, module, source, problem):
    package = tmp_path / "labkit"
    for name in ("corpora", "ngrams", "workbench/claims", "workbench/cli", "figures/style", "figures/ngrams"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).with_suffix(".py").touch()
    (package / module).write_text(source)
    assert problem in " ".join(import_problems(package / module, package))
    assert bool(problem) == bool(import_problems(package / module, package))


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\n" * 301,
        "from __future__ import annotations",
        "try:\n    pass\nexcept:\n    pass",
        "def f():\n    pass",
        'class A:\n    """A."""\n    def f(self):\n        pass',
        'def f():\n    """F."""\n' + "    x = 1\n" * 41,
    ],
)
def test_a_break_of_style_is_noticed(tmp_path, source):
    (tmp_path / "a.py").write_text(source)
    assert len(style_problems(tmp_path / "a.py")) == 1


def test_no_module_is_named_after_nothing_in_particular():
    assert [path for path in files() if path.suffix == ".py" and NO_NAMES & {path.stem, *path.parts}] == []


def test_figures_draw_arrays_and_know_no_topic():
    for path in MODULES:
        if ROOT / "labkit" / "figures" in path.parents and path.stem not in ("style", "__init__"):
            assert third_party(path, ROOT / "labkit") <= {"numpy", "matplotlib", "jaxtyping"}, path
            assert all(f"{name}.".startswith("figures.") for name in imports(path, ROOT / "labkit")), path


def test_every_notebook_has_its_place_and_its_module():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert path.stem in COURSE, f"{path.name} is not in the plan of the course"
        module = ROOT / "labkit" / COURSE[path.stem]
        assert module.is_dir() or module.with_suffix(".py").is_file(), f"{path.name} has no {module.name}"


@pytest.mark.parametrize("folder", ["figures", "exercises"])
def test_what_belongs_to_a_topic_has_the_name_of_the_topic(folder):
    topics = set(COURSE.values()) | {"start_here", "grading", "style", "__init__"}
    home = ROOT / "labkit" / folder
    assert {path.relative_to(home).parts[0].removesuffix(".py") for path in MODULES if home in path.parents} <= topics


def test_every_topic_is_tested_at_its_address():
    topics = {name_of(path, ROOT / "labkit").partition(".")[0] for path in MODULES} - {""}
    tested = {path.parts[1].removesuffix(".py").removeprefix("test_") for path in files() if path.parts[0] == "tests"}
    assert topics - tested == set()


def test_only_notebooks_have_numbers_in_their_names():
    assert [path for path in files() if path.suffix == ".py" and re.match(r"\d", path.name)] == []


def test_the_first_import_of_a_learner_is_instant_and_light():
    names = [name_of(path, ROOT / "labkit") for path in MODULES]
    light = [f"labkit.{name}".rstrip(".") for name in names if name == "" or name.partition(".")[0] in LIGHT]
    code = "import sys, time; t = time.perf_counter(); import labkit; print(time.perf_counter() - t)"
    code += f"\nimport {', '.join(light)}\nprint([name for name in {HEAVY} if name in sys.modules])"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT) for _ in range(3)]
    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[0].stdout.splitlines()[1] == "[]"
    assert min(float(run.stdout.splitlines()[0]) for run in runs) < 0.15


def test_nothing_is_left_for_later():
    later = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert [(path, later.search(text)) for path, text in texts().items() if later.search(text)] == []


def test_no_path_of_one_machine_is_written_down():
    homes = re.compile(r"(?<![\w.:/])/(?:home|root|Users)/\w")
    above = ROOT.parent.as_posix() + "/"
    anywhere = len(ROOT.parts) < 3 or Path(tempfile.gettempdir()) in ROOT.parents
    for path, text in texts().items():
        if path.as_posix() != "tests/test_notebooks.py":  # which breaks the rule to see it noticed
            assert not homes.search(text), f"{path}: {homes.search(text)}"
        assert anywhere or above not in text, f"{path}: {above}"
