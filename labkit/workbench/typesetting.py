"""The program that sets formulas: where it lies on this machine, and how a page of one file holds it."""

from collections.abc import Iterable, Mapping
from importlib import util
from pathlib import Path
from typing import Any

NAME = "tex-svg-full.js"
GET = "pip install 'llm-labkit[site]', in a checkout: .venv/bin/python -m pip install -e '.[site]'"
# What stands for a formula, as JupyterLab takes it, in the words of MathJax 3.
TEX = """{inlineMath: [["$", "$"], ["\\\\(", "\\\\)"]], displayMath: [["$$", "$$"], ["\\\\[", "\\\\]"]],
        processEscapes: true, processEnvironments: true, tags: "ams"}"""
TEMPLATE = """{% extends "lab/index.html.j2" %}
{% block html_head_js_mathjax %}
{% if resources.labkit.program is none %}
{{ super() }}
{% elif resources.labkit.program %}
<script>
window.MathJax = {tex: {{ resources.labkit.tex }}, svg: {fontCache: "global"}, options: {enableMenu: false}};
</script>
<script>{{ resources.labkit.program }}</script>
{% endif %}
{% endblock %}
"""


def program_for(cells: Iterable[Mapping[str, Any]]) -> str | None:
    """Give the text of the program, "" where no cell holds a formula, None where it is not on this machine."""
    if not any(cell["cell_type"] == "markdown" and "$" in cell["source"] for cell in cells):
        return ""
    try:
        return inline(located())
    except RuntimeError:
        return None


def inline(script: Path) -> str:
    """Give the text of a script as it may stand between two tags."""
    return script.read_text(encoding="utf-8").replace("</script", "<\\/script")


def located(named: str | Path | None = None) -> Path:
    """Give the one file that sets all formulas: `named`, or the one of the extra `site`.

    Raises:
        ValueError: if `named` is no file, or not MathJax 3 with SVG output.
        RuntimeError: if there is none on this machine.
    """
    if named is not None:
        if not Path(named).is_file() or not Path(named).name.startswith("tex-svg"):
            raise ValueError(f"{str(named)!r} must be the file tex-svg.js or tex-svg-full.js of MathJax 3")
        return Path(named)
    found = in_package("mathjax", f"static/mathjax/es5/{NAME}")
    if found is None or not found.is_file():
        raise RuntimeError(
            f"MathJax is not on this machine, and formulas must be shown without a network; get it with {GET}, "
            "or name its file tex-svg-full.js with --mathjax"
        )
    return found


def in_package(module: str, inside: str) -> Path | None:
    """Give a file or folder of an installed package, which is not imported."""
    found = util.find_spec(module)
    places = list(found.submodule_search_locations or ()) if found else []
    return next((Path(place, inside) for place in places if Path(place, inside).exists()), None)
