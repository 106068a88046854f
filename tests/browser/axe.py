"""What axe-core finds wrong for readers who do not see a page as its author does, as sentences."""

from functools import cache
from importlib.resources import files

STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What axe is asked: everything, all but the contrast of colours, which costs ten times the rest, or that alone.
ALL = {"runOnly": STANDARDS}
ALL_BUT_COLOURS = ALL | {"rules": {"color-contrast": {"enabled": False}}}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
# The body of JupyterLab has no height and hides what hangs over it: to axe everything would be out of sight.
IN_SIGHT = "() => { if (!document.body.clientHeight) document.body.style.height = '100vh'; }"
# JupyterLab gives a picture without words this one, so axe has nothing to find.
WORDLESS = """scopes => scopes.flatMap(scope => [...document.querySelectorAll(scope)]).flatMap(part =>
  [...part.querySelectorAll('img[alt="Image"]')].map(image => image.src.slice(0, 60)))"""
RUN = """async ([scopes, leftOut, asked]) => {
  const context = {include: scopes.map(scope => [scope]), exclude: leftOut.map(part => [part])};
  const found = await axe.run(context, {...asked, resultTypes: ['violations'], iframes: false});
  return found.violations.flatMap(({id, help, nodes}) => nodes.map(node => ({
    rule: id, help,
    words: document.querySelector(node.target[0])?.innerText.slice(0, 60) ?? '',
    html: node.html.replace(/data:[^"]{40,}/g, 'data:…').slice(0, 300),
    why: [...node.any, ...node.all, ...node.none].map(check => check.message).join('; '),
  })));
}"""


@cache
def script():
    """The source of axe-core, as it stands in the package axe-playwright-python."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def faults(page, *scopes, leave_out=(), asked=ALL):
    """What is wrong inside these parts of a page (CSS selectors), one sentence each.

    Arguments:
        leave_out: selectors of what is not ours inside them.
        asked: which rules to hold; by default all of WCAG 2.2 A and AA and the good habits.
    """
    if not page.evaluate("() => Boolean(window.axe)"):
        # Not a script element: JupyterLab's loader of modules would take it for one of its own.
        page.evaluate(f"() => {{ const module = undefined, define = undefined; {script()}\n}}")
    here = [scope for scope in scopes if page.locator(scope).count()]
    there = [part for part in leave_out if page.locator(part).count()]
    page.evaluate(IN_SIGHT)
    found = page.evaluate(RUN, [here, there, asked]) if here else []
    wordless = [f"image-alt: a picture without words of its own: {source}" for source in page.evaluate(WORDLESS, here)]
    said = "{rule}: {help}: {html} {words!r} ({why})"
    return wordless + [said.format(**each) for each in found]
