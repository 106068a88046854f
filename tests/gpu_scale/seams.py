"""Where a page is held so that the scale "gpu" runs without a GPU: its device, its steps, its claims, its memory."""

import ast
import re
import timeit
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest import mock

from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional

from labkit.training.prefetching import Prefetched, _state_of

STEPS = {"08_adam_derivation": 2, "09_training_loop": 6}  # instead of thousands; what breaks, breaks in the first step
FEW = 3  # steps of the other pages, and of the recipes
# Numbers of single cells that make long loops: by page, by cell, what stands there and what stands in for it.
NUMBERS = {
    "09_training_loop": {
        "throughput-measure": {5: 2, 50: 5, 500: 5},
        "search-tried": {60: 6, 10: 2},
        "search-run": {60: 6, 30: 3},
    },
}
TRIALS = 2
WRITTEN = 4  # tokens that a model writes instead of dozens
TILE = 1024  # the edge of a tile: every operation on the fake device costs the same time, whatever its size
HAS = 15e9  # bytes that the device says it has free: a small GPU, or a Colab's
MISTAKE = re.compile(
    r"(?i)same device|two .*devices|device type tensor to numpy|device type for generator|unhandled device"
)


class FewSteps(ast.NodeTransformer):
    """Turns `steps = lab.pick(...)` and `f(steps=lab.pick(...))` of a page into a few steps, whatever was picked.

    `raw_crawl(lab.pick(...))` keeps its smallest size, since pages of text are no matter of the device.
    """

    def __init__(self, page):
        self.steps, self.numbers, self.others = STEPS.get(page, FEW), NUMBERS.get(page, {}), {}

    def begin(self, cell):
        """What comes now is this cell."""
        self.others = self.numbers.get(cell, {})

    def visit_Constant(self, node):
        if type(node.value) is int and node.value in self.others:
            return ast.copy_location(ast.Constant(self.others[node.value]), node)
        return node

    def visit_Call(self, node):
        recipe = ast.unparse(node.func).split(".")[-1] in ("Recipe", "replace")
        if recipe and any(word.arg == "steps" and _is_pick(word.value) for word in node.keywords):
            node.keywords.append(ast.keyword("warmup", ast.Constant(1)))  # that of the recipe would be longer
        self.generic_visit(node)
        if ast.unparse(node.func) == "raw_crawl" and _is_pick(node.args[0]):
            node.args[0] = next(word.value for word in node.args[0].keywords if word.arg == "ci")
        return node

    def visit_Assign(self, node):
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=False)
                node.value.elts = [self._shortened(value) if _is_steps(name) else value for name, value in pairs]
            elif _is_steps(target):
                node.value = self._shortened(node.value)
        return node

    def visit_keyword(self, node):
        self.generic_visit(node)
        if node.arg == "steps":
            node.value = self._shortened(node.value)
        return node

    def _shortened(self, value):
        return ast.copy_location(ast.Constant(self.steps), value) if _is_pick(value) else value


def _is_steps(node):
    return isinstance(node, ast.Name) and node.id == "steps"


def _is_pick(value):
    return isinstance(value, ast.Call) and ast.unparse(value.func) == "lab.pick"


@contextmanager
def held(device, watch, told):
    """The seams in labkit, for as long as the block lasts; `told` gets claims and needs.

    Claims are made and not judged, since every number that is read is 1. Recipes of the scale keep their sizes and take
    a few steps. The device says that it has 15 GB.
    """
    from labkit.attention import tiled
    from labkit.workbench import claims, room
    from labkit.workbench.session import Lab

    with ExitStack() as stack:
        for patch in (
            mock.patch.object(Lab, "device", str(device)),
            mock.patch.object(room, "free", lambda place: HAS),
            mock.patch.object(room, "announce", _announced(room.announce, watch, told)),
            mock.patch.object(claims, "compare", _unjudged(claims.compare, told)),
            mock.patch.object(tiled, "TILE", TILE),
            mock.patch.object(timeit, "repeat", _once),
            mock.patch.object(functional, "scaled_dot_product_attention", _fused(functional)),
            *_short_trainings(device),
        ):
            stack.enter_context(patch)
        yield


def _once(statement, number=1, **how):
    """What timeit.repeat gives, of one call: there is nothing to measure."""
    return timeit.Timer(statement).repeat(1, 1)


def _fused(functional):
    """Attention in one kernel, as GPUs have it: on the fake device torch would make the whole matrix of weights."""
    attend = functional.scaled_dot_product_attention

    def kernel(query, key, value, *rest, **how):
        if not isinstance(query, FakeTensor):
            return attend(query, key, value, *rest, **how)
        return query[..., :1] * value.mean(-2, keepdim=True) + key.mean()

    return kernel


def _few_tokens(generate):
    def write(model, prompt, tokens, **how):
        return generate(model, prompt, min(tokens, WRITTEN), **how)

    return write


class InTurn(Prefetched):
    """Batches made when they are wanted, on the same thread: torch's fake mode holds for one thread at a time."""

    def __next__(self):
        if "each" not in vars(self):
            self.each = iter(self.batches)
        batch = next(self.each)
        self._state = _state_of(self.batches)
        return batch


def _announced(announce, watch, told):
    def say(what, needs, scale, device):
        announce(what, needs, scale, device)
        told["needs"].append({"what": what, "need": needs[scale], "measured": 0})
        watch.begin()

    return say


def _unjudged(compare, told):
    from labkit.workbench.agreement import Comparison

    def record(measured, expected, tolerance=None):
        told["claims"] += 1
        try:
            return replace(compare(measured, expected, tolerance), failure="")
        except ValueError:  # it cannot be compared, as NaN, or cannot fail: all that is read is 1
            return Comparison(True, True, "1", "1", "")

    return record


def _short_trainings(device):
    from labkit.pretraining import recipes

    few = {"steps": FEW, "warmup": 1}
    scales = {name: {**sizes, **few} for name, sizes in recipes._SCALES.items() if name != "ci"}
    yield mock.patch.dict(recipes._SCALES, scales)
    yield mock.patch.object(recipes, "_best_device", lambda: str(device))
    yield mock.patch.object(recipes, "LOOKED_AT", 1)
    from labkit import pretraining, training, transformer

    for module in (recipes, transformer):
        yield mock.patch.object(module, "generate", _few_tokens(module.generate))
    beams = pretraining.beam_search
    yield mock.patch.object(pretraining, "beam_search", _few_tokens(beams))
    yield mock.patch.object(training, "prefetch", InTurn)
    search = training.search
    yield mock.patch.object(training, "search", lambda objective, trials, **how: search(objective, TRIALS, **how))
