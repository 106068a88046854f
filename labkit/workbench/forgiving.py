"""A command line that answers mistakes well: the nearest right name, one sentence for what a user can cause."""

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from labkit.workbench.names import nearest

# What a user can cause. Anything else is our own mistake and keeps its traceback.
EXPECTED = (ValueError, OSError, RuntimeError, ImportError)


class Refused(click.ClickException):
    """A name or a choice that does not exist: exit code 2, as for a wrong option."""

    exit_code = 2


class Forgiving(click.Group):
    """A group that answers a mistyped command with the nearest right one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            names = self.list_commands(ctx)
            guess = nearest(args[0], names)
            hint = f" Did you mean {guess!r}?" if guess else ""
            raise Refused(f"there is no command {args[0]!r}.{hint} The commands are: {', '.join(names)}.")
        return super().resolve_command(ctx, args)


class Choice(click.Choice):
    """A choice that answers a mistyped value with the nearest right one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Give the value if it is one of the choices."""
        if value not in self.choices:
            guess = nearest(str(value), self.choices)
            hint = f" Did you mean {guess!r}?" if guess else ""
            what = param.name if param else "value"
            self.fail(f"there is no {what} {value!r}.{hint} Choose from {', '.join(self.choices)}.")
        return value


def one_sentence(command: Callable) -> Callable:
    """Make a command answer what a user can cause with one sentence; LABKIT_DEBUG=1 shows where it came from."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except EXPECTED as error:
            if os.environ.get("LABKIT_DEBUG") == "1" or isinstance(error, BrokenPipeError):
                raise
            message = " ".join(str(error).split()) or type(error).__name__
            raise (Refused if isinstance(error, ValueError) else click.ClickException)(message) from error

    return wrapped


def as_text(value: Any) -> str:
    """Give JSON to print; characters that the console cannot show are escaped, so that it stays JSON."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    return json.dumps(value, indent=2, ensure_ascii=encoding != "utf8")
