"""Explorables: sliders over a pure function `draw(**parameters) -> Figure`, and the same figure where nothing is alive.

The picture is HTML inside one widget, so no plotting backend takes part: moving a control swaps the picture, and a page
without a kernel keeps the one that was stored. So a figure may as well be text: see `labkit.figures.style.Marked`.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets as widgets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.figures import style
from labkit.workbench.controls import make_control
from labkit.workbench.display import INK, brief, escape
from labkit.workbench.names import unknown

_CAPTION = f'<figcaption style="padding:4px 0 0;line-height:1.4;color:{INK};background:#ffffff">'
_END = "</figcaption></figure>"
PAUSE = 0.08  # seconds without a change before the picture is drawn again


def explore(draw: Callable, *, as_typed: bool = False, **controls: Any) -> "Explorer":
    """Give a figure with controls, to stand as the last expression of a cell.

    `draw(**parameters)` is pure and gives a described Figure or Axes, or a Marked text. A control is `(low, high)` or
    `(low, high, step)` for a slider with a number box (whole numbers if all are), a list or a dict of names and values
    for a menu, a bool for a checkbox, a string for a text field. A slider or menu starts at the default in the
    signature of `draw`, else in the middle or at the first choice; a checkbox or text field starts as it is given.

    A string with a line break makes a box of several lines, which the figure follows at every pause in typing. It
    follows a field of one line when the reader presses Enter, and with `as_typed` like a box.

    Raises:
        ValueError: if a control and the parameters of `draw` do not fit each other, or a control cannot be made.
    """
    return Explorer(draw, as_typed=as_typed, **controls)


class Explorer(widgets.VBox):
    """Controls above a picture that follows them; `set`, `corners` and `picture` make it testable without a browser."""

    def __init__(self, draw: Callable, *, as_typed: bool = False, **controls: Any) -> None:
        defaults = _defaults(draw, controls)
        self._draw = draw
        self._controls = {
            name: make_control(name, given, defaults.get(name), as_typed) for name, given in controls.items()
        }
        self._pending: asyncio.TimerHandle | None = None
        self._size: tuple[float, float] | None = None
        self._quiet = False
        self._alt, self._error, self._image = "", "", ""
        self._drawn_for: dict[str, Any] = {}
        self._view = widgets.HTML()
        super().__init__([*(control.row for control in self._controls.values()), self._view])
        for control in self._controls.values():
            control.on_change(self._changed)
        self._redraw()

    @property
    def values(self) -> dict[str, Any]:
        """The present value of every control, by name."""
        return {name: control.value for name, control in self._controls.items()}

    @property
    def picture(self) -> str:
        """The figure for the present values, with its caption, as HTML."""
        return self._settled()._image

    @property
    def alt(self) -> str:
        """The sentence that describes the present picture."""
        return self._settled()._alt

    @property
    def error(self) -> str:
        """What went wrong when the present picture was drawn, or an empty string."""
        return self._settled()._error

    def _settled(self) -> "Explorer":
        if self._pending is not None:
            self._redraw()
        return self

    def set(self, **values: Any) -> None:
        """Set controls by name, all at once, and draw the figure once.

        Raises:
            ValueError: if there is no such control, or it cannot take the value.
        """
        for name in values:
            if name not in self._controls:
                raise ValueError(unknown("control", name, self._controls))
        for name, value in values.items():
            self._controls[name].refuse_bad(value)
        self._quiet = True
        try:
            for name, value in values.items():
                self._controls[name].put(value)
        finally:
            self._quiet = False
        self._redraw()

    def corners(self) -> Iterator[dict[str, Any]]:
        """Give the settings that tests should draw: each control at each end, then all lowest and all highest."""
        start = {name: control.start for name, control in self._controls.items()}
        for name, control in self._controls.items():
            for end in control.ends:
                yield start | {name: end}
        yield {name: control.ends[0] for name, control in self._controls.items()}
        yield {name: control.ends[-1] for name, control in self._controls.items()}

    def _changed(self, change: Any) -> None:
        if self._quiet:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel around: draw at once
            self._redraw()
            return
        if self._pending is not None:
            self._pending.cancel()
        self._pending = loop.call_later(PAUSE, self._redraw)

    def _redraw(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
        self._pending = None
        values = self.values
        try:
            figure = self._fitted(_drawn(self._draw(**values)))
            self._alt, self._error = style.alt_of(figure), ""
            caption = f'{_CAPTION}<span aria-live="polite">{escape(self._alt)}</span>'
            self._image = f"{style.html(figure).removesuffix('</figure>')}{caption}{_END}"
        except Exception as error:  # a draw that fails at one corner must not take the controls away
            self._error = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            self._alt = f"No figure for {self._settings()}: {self._error}"
            self._image = self._apology()
        self._view.value = self._image
        self._drawn_for = values  # last of all: a front end may move controls in a thread of its own

    def _fitted(self, drawn: Figure | Axes | style.Marked) -> Figure | style.Marked:
        if isinstance(drawn, style.Marked):
            return drawn
        figure = style.figure_of(drawn)
        self._size = self._size or tuple(figure.get_size_inches())
        figure.set_size_inches(*self._size)  # the page below must not jump
        return figure

    def _apology(self) -> str:
        width, height = (round(inches * style.DPI) for inches in self._size or (7, 3.5))
        size = f"box-sizing:border-box;width:{width}px;max-width:100%;min-height:{height}px"
        return (
            f'<figure class="labkit" style="{size};margin:0;padding:16px;border-radius:6px;background:#ffffff;'
            f'color:{INK}"><span role="alert">{escape(self._alt)}</span></figure>'
        )

    def _settings(self) -> str:
        return ", ".join(f"{name} = {control.shown}" for name, control in self._controls.items())

    def _static(self) -> str:
        note = f"{self._settings()} (run the notebook to change {'this' if len(self._controls) == 1 else 'these'})"
        if self.error:
            return self.picture
        return f"{self.picture.removesuffix(_END)}<br>{escape(note)}{_END}"

    # ipywidgets 7 shows itself through this method, which would go before the representations below.
    _ipython_display_ = None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **more: Any) -> dict[str, Any]:
        static = self._static()
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {"text/plain": self.alt, "text/html": static, "application/vnd.jupyter.widget-view+json": view}

    def __repr__(self) -> str:
        return f"Explorer({getattr(self._draw, '__name__', 'draw')}: {self._settings()})"


def _drawn(result: Any) -> Figure | Axes | style.Marked:
    if not isinstance(result, Figure | Axes | style.Marked):
        kind = type(result).__name__
        raise ValueError(f"draw gave {brief(result)} ({kind}); it must return a Figure or an Axes, or a Marked text")
    return result


def _defaults(draw: Callable, controls: dict[str, Any]) -> dict[str, Any]:
    if not controls:
        raise ValueError("explore() got no controls; give at least one, as in explore(draw, order=(1, 5))")
    parameters = inspect.signature(draw).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in controls:
        if name not in parameters and not takes_any:
            raise ValueError(unknown("parameter of draw", name, parameters))
    named = [p for p in parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    missing = [p.name for p in named if p.default is p.empty and p.name not in controls]
    if missing:
        raise ValueError(f"draw needs {', '.join(missing)}, which no control gives; add a control or a default")
    return {p.name: p.default for p in named if p.default is not p.empty}
