"""The cells that hold an answer: which exercise one asks for, and what it looks like while nobody has answered."""

import ast
import inspect
import io
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass

from labkit.workbench.marking import Exercise

ASKS = 'labkit.check("'


@dataclass(frozen=True)
class AnswerCell:
    """A cell that asks for one exercise: its `hole`, the `name` that the answer gets, and whether it `is_empty` now."""

    exercise: str
    name: str
    hole: str
    is_empty: bool


def asked(source: str) -> list[str]:
    """Give the ids of the exercises that a code cell asks for; none when it is not Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    return [_id(node) for node in ast.walk(tree) if _id(node)]


def answer_cell(source: str, exercise: Exercise) -> AnswerCell:
    """Give the hole of a cell that asks for this exercise, whatever stands in it now.

    A hole is made again from the first line of the function; all else in the cell (a body, help beside it, comments)
    is somebody's answer. Lines that take `labkit.given(…)` belong to the page and stay.

    Raises:
        ValueError: if no hole can be made of the cell.
    """
    tree = ast.parse(source)
    given = [node for node in tree.body if _takes_given(node, exercise.id)]
    name, hole = _of_value(tree, exercise) if exercise.kind == "value" else _of_function(tree, exercise)
    hole = "\n".join([*map(ast.unparse, given), hole])
    return AnswerCell(exercise.id, name, hole, _same_code(source, hole) or _is_bare_value(source, exercise, given))


def _of_function(tree: ast.Module, exercise: Exercise) -> tuple[str, str]:
    found = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and exercise.id in map(_id, node.decorator_list)
    ]
    if len(found) != 1:
        raise ValueError(
            f"the check of {exercise.id!r} does not stand over a function; "
            f'write @labkit.check("{exercise.id}") over `def name(…):`'
        )
    function = found[0]
    arguments = _arguments(function.args, exercise)
    return function.name, f'@labkit.check("{exercise.id}")\ndef {function.name}({arguments}):\n    ...'


def _arguments(arguments: ast.arguments, exercise: Exercise) -> str:
    """Give the arguments as text, without annotations; refuse defaults that are more than a value, and other counts."""
    for default in (*arguments.defaults, *filter(None, arguments.kw_defaults)):
        try:
            ast.literal_eval(default)
        except ValueError:
            raise ValueError(
                f"the hole of {exercise.id!r} has the default {ast.unparse(default)[:60]!r}; only plain values may be "
                "defaults, or an answer could hide there"
            ) from None
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    for argument in (*every, *filter(None, (arguments.vararg, arguments.kwarg))):
        argument.annotation = None
    wanted = list(inspect.signature(exercise.solution).parameters)
    if len(every) != len(wanted) or arguments.vararg or arguments.kwarg:
        raise ValueError(
            f"the hole of {exercise.id!r} takes ({ast.unparse(arguments)}), and the exercise gives "
            f"({', '.join(wanted)}): as many arguments are expected"
        )
    return ast.unparse(arguments)


def _of_value(tree: ast.Module, exercise: Exercise) -> tuple[str, str]:
    calls = [node for node in ast.walk(tree) if _id(node) == exercise.id]
    second = calls[0].args[1:2] + [keyword.value for keyword in calls[0].keywords if keyword.arg == "value"]
    name = second[0].id if second and isinstance(second[0], ast.Name) else "answer"
    return name, f'{name} = ...\nlabkit.check("{exercise.id}", {name})'


def _id(node: ast.AST) -> str:
    """Give the exercise that a call of `check` names, and "" for anything else."""
    if not isinstance(node, ast.Call) or not node.args:
        return ""
    called = getattr(node.func, "attr", getattr(node.func, "id", ""))
    first = node.args[0]
    is_id = called == "check" and isinstance(first, ast.Constant) and isinstance(first.value, str)
    return first.value if is_id else ""


def _takes_given(node: ast.stmt, exercise_id: str) -> bool:
    """Whether a line takes or prints `labkit.given("this exercise")`, and does nothing more."""
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    own = (f"labkit.given({exercise_id!r})", f"given({exercise_id!r})")
    given = [call for call in calls if ast.unparse(call) in own]
    shown = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "format"]
    shown += [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    plain = isinstance(node, ast.Assign | ast.Expr) and not any(isinstance(each, ast.BinOp) for each in ast.walk(node))
    return plain and bool(given) and len(calls) == len(given) + len(shown)


def _is_bare_value(source: str, exercise: Exercise, given: Iterable[ast.stmt]) -> bool:
    """Whether a cell is the short hole of a page: `labkit.check("attention.score_variance", ...)`."""
    short = "\n".join([*map(ast.unparse, given), f'labkit.check("{exercise.id}", ...)'])
    return exercise.kind == "value" and _same_code(source, short)


def _same_code(source: str, hole: str) -> bool:
    words = (token for token in tokenize.generate_tokens(io.StringIO(source).readline))
    has_comment = any(token.type == tokenize.COMMENT for token in words)
    return not has_comment and ast.dump(ast.parse(source)) == ast.dump(ast.parse(hole))
