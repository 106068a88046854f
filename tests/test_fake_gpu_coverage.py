"""Every public module and optimizer of labkit works on the fake GPU in some test, which checks itself that it did."""

import ast
import functools

import pytest

from tests.project import ROOT, files

ROOTS = {"Module", "Optimizer"}
ABSTRACT = {"Rule"}  # it has no rule of its own: the optimizers that are made of it step


@functools.cache
def parents():
    """The names of what each class of labkit is made of, and where it is written."""
    bases, places = {}, {}
    for path in files():
        if path.parts[0] == "labkit" and path.suffix == ".py":
            for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    bases[node.name], places[node.name] = {_last(base) for base in node.bases}, path
    return bases, places


@functools.cache
def classes():
    """The name of each public class of labkit that is a module or an optimizer, and where it is written."""
    bases, places = parents()
    found = set(ROOTS)
    while more := {name for name, of in bases.items() if of & found} - found:
        found |= more
    return {name: places[name] for name in sorted(found - ROOTS) if not name.startswith("_")}


def _last(node):
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


@functools.cache
def covered(sources):
    """The classes in `@on_fake_gpu(covers=(…))` of tests: each of them fails unless they have worked on the device."""
    found = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                calls = [call for call in node.decorator_list if isinstance(call, ast.Call)]
                keywords = [key for call in calls if _last(call.func) == "on_fake_gpu" for key in call.keywords]
                found.update(*(ast.literal_eval(key.value) for key in keywords if key.arg == "covers"))
    return found


@functools.cache
def sources():
    tests = [path for path in files() if path.parts[0] == "tests" and path.name.endswith("on_a_fake_gpu.py")]
    return tuple((ROOT / path).read_text(encoding="utf-8") for path in tests)


@pytest.mark.parametrize("name", sorted(set(classes()) - ABSTRACT))
def test_a_public_module_or_optimizer_works_on_the_fake_gpu(name):
    where = f"{name} ({classes()[name]})"
    assert name in covered(sources()), f"{where}: run it in a test_*on_a_fake_gpu.py with on_fake_gpu(covers=…)"


def test_what_is_abstract_is_worked_with_through_its_children():
    bases, _ = parents()
    for name in ABSTRACT:
        children = {child for child, of in bases.items() if name in of and not child.startswith("_")}
        assert children and children <= covered(sources())


def test_classes_that_are_covered_exist():
    assert covered(sources()) <= set(classes())


def test_only_the_promise_of_a_test_counts():
    body = "def test_it(device):\n    Decoder()\n"
    helper, promise = body.replace("test_it", "it"), '(reads=True, covers=("SGD", "Decoder"))\n'
    assert covered((body, f"@on_fake_gpu\n{body}", f"@on_fake_gpu(reads=True)\n{body}")) == set()
    assert covered((f"@other{promise}{body}", f"@on_fake_gpu{promise}{helper}")) == set()
    assert covered((f"@on_fake_gpu{promise}{body}",)) == {"SGD", "Decoder"}


def test_modules_and_optimizers_of_other_modules_and_optimizers_are_found():
    assert {"Decoder", "ParallelDecoder", "AdamW", "CompressedLinear", "PrunedDecoder"} <= set(classes())
