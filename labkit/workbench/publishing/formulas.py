"""A part of the site's Sphinx: displayed formulas go to MathJax as they stand in the notebook."""

from typing import Any


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx what this adds; Sphinx calls it when the extension is loaded."""
    app.connect("builder-inited", _install, priority=900)  # after the one of MyST
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _install(app: Any) -> None:
    app.registry.html_block_math_renderers["mathjax"] = (_displayed, None)


def _displayed(writer: Any, node: Any) -> None:
    """Write one formula. Sphinx would put what has a line break into `split`, where MathJax allows no `\\tag`."""
    from docutils import nodes

    begin, end = writer.builder.config.mathjax_display
    tag = writer.starttag(node, "div", CLASS="math notranslate nohighlight")
    writer.body.append(f"{tag}{begin}{writer.encode(node.astext())}{end}</div>\n")
    raise nodes.SkipNode
