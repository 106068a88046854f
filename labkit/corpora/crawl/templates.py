"""Nine page templates: the same blocks of text among different furniture and markup, from tidy to broken."""

import random
from collections.abc import Callable, Sequence
from html import escape

from labkit.corpora.crawl.furniture import FURNITURE, SCRIPTS, STYLES

Blocks = Sequence[tuple[str, str]]


# What stands between two paragraphs, with the kind of its text.
_BETWEEN = (
    ("ad", '<div class="ad ad-slot" id="div-gpt-ad-{n}">{}{script}</div>'),
    ("ad", '<aside class="promo"><a href="/go/{n}">{}</a></aside>'),
    ("ad", '<div style="margin:8px"><a href="//ads.example.net/c?id={n}" rel="sponsored">{}</a></div>'),
    ("ad", '<div class="css-{n}"><span>{}</span></div>'),
    ("readmore", '<aside class="inset"><a href="/{n}">{}</a></aside>'),
    ("readmore", '<p class="readmore"><a href="/{n}.html">{}</a></p>'),
    ("readmore", '<p><strong><a href="/{n}.html">{}</a></strong></p>'),
)


class Furnisher:
    """Makes furniture as HTML and keeps in `said` every text of it that a reader could see or a parser could find."""

    def __init__(self, language: str, rng: random.Random) -> None:
        self.language, self.rng, self.said = language, rng, []
        self._texts = FURNITURE.get(language, FURNITURE["en"])
        self.site = rng.choice(self._texts["site"])

    def say(self, text: str) -> str:
        """Note a text as boilerplate and return it escaped."""
        self.said.append(text)
        return escape(text, quote=False)

    def some(self, kind: str, low: int, high: int) -> list[str]:
        """Between `low` and `high` different texts of a kind, noted and escaped."""
        texts = self._texts[kind]
        return [self.say(text) for text in self.rng.sample(texts, min(len(texts), self.rng.randint(low, high)))]

    def one(self, kind: str) -> str:
        """One text of a kind, noted and escaped."""
        return self.some(kind, 1, 1)[0]

    def links(self, kind: str, low: int, high: int, around: str = "<li>{}</li>") -> str:
        """A run of links."""
        return "\n".join(around.format(f'<a href="/{self.number()}">{text}</a>') for text in self.some(kind, low, high))

    def number(self) -> int:
        """A number for addresses and identifiers."""
        return self.rng.randrange(100, 99_999)

    def script(self) -> str:
        """A script, now and then with the text of a page inside."""
        return f"<script>{self.rng.choice(SCRIPTS)}</script>"

    def head(self, title: str, meta: str) -> str:
        """Title, style and scripts; `meta` is the declaration of the encoding."""
        style = f"<style>{self.rng.choice(STYLES)}</style>" if self.rng.random() < 0.7 else ""
        script = self.script() if self.rng.random() < 0.8 else ""
        return f"{meta}<title>{escape(title)} | {escape(self.site)}</title>{style}{script}"

    def cookie(
        self, tag: str = "div", attributes: str = 'class="cookie-banner" role="dialog" aria-live="polite"'
    ) -> str:
        """A banner about cookies with its buttons, on three pages out of four."""
        if self.rng.random() < 0.25:
            return ""
        buttons = "".join(f"<button>{text}</button>" for text in self.some("button", 1, 3))
        return f"<{tag} {attributes}><p>{self.one('cookie')}</p>{buttons}</{tag}>"

    def comments(self, around: str = '<div class="comment"><b>{}</b> <p>{}</p></div>') -> str:
        """Readers' comments under their names."""
        texts = self.some("comment", 2, 4)
        names = self.some("commenter", len(texts), len(texts))
        return "\n".join(around.format(name, text) for name, text in zip(names, texts, strict=True))

    def advertisement(self) -> str:
        """An advertisement or a link to another article, as it stands between two paragraphs."""
        kind, pattern = self.rng.choice(_BETWEEN)
        return pattern.format(self.one(kind), n=self.number(), script=self.script())

    def inline(self, text: str) -> str:
        """The text escaped, with links, emphasis and line breaks in the source that change nothing for a reader."""
        if self.language == "zh" or " " not in text or self.rng.random() < 0.3:
            return escape(text, quote=False)
        words = [escape(word, quote=False) for word in text.split(" ")]
        for _ in range(len(words) // 25):
            at = self.rng.randrange(len(words))
            pattern = self.rng.choice(
                ('<a href="/wiki/{n}">{w}</a>', "<em>{w}</em>", "<b>{w}</b>", '<span class="x{n}">{w}</span>')
            )
            words[at] = pattern.format(n=self.number(), w=words[at]) if "<" not in words[at] else words[at]
        return "".join(word + ("\n" if self.rng.random() < 0.05 else " ") for word in words).rstrip()

    def body(self, blocks: Blocks, paragraph: str = "<p>{}</p>", *, ads: float = 0.15, close: bool = True) -> str:
        """The blocks as HTML; list items share a list, advertisements stand between paragraphs with chance `ads`."""
        made, before = [], ""
        for tag, text in blocks:
            if (tag == "li") != (before == "li"):
                made.append("<ul>" if tag == "li" else "</ul>")
            if tag == before == "p" and self.rng.random() < ads:
                made.append(self.advertisement())
            pattern = paragraph if tag == "p" else f"<{tag}>{{}}" + (f"</{tag}>" if close or tag[0] == "h" else "")
            made.append(pattern.format(escape(text) if tag == "pre" else self.inline(text)))
            before = tag
        return "\n".join(made) + ("</ul>" if before == "li" else "")


def tidy(blocks: Blocks, f: Furnisher, head: str) -> str:
    """HTML5 as the standard means it: header, nav, main, article, aside, footer."""
    return f"""<!DOCTYPE html><html lang="{f.language}"><head>{head}</head><body>
<a class="sr-only" href="#main">{f.one("hidden")}</a><header><a href="/">{f.say(f.site)}</a>
<nav aria-label="main"><ul>{f.links("nav", 5, 10)}</ul></nav></header>{f.cookie("section")}
<main id="main"><article>{f.body(blocks)}</article></main>
<aside><h2>{f.one("related")}</h2><ul>{f.links("related", 3, 6)}</ul></aside>
<footer><ul>{f.links("footer", 3, 6)}</ul><p>{f.one("footer")}</p></footer>{f.script()}</body></html>"""


def boxes(blocks: Blocks, f: Furnisher, head: str) -> str:
    """Boxes in boxes with telling class names, as a blog engine of 2010 writes them."""
    return f"""<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml"><head>{head}</head><body class="single single-post"><div id="wrapper">
<div id="header"><div class="logo">{f.say(f.site)}</div><div class="menu"><ul>{f.links("nav", 4, 9)}</ul></div></div>
<div id="content"><div class="post hentry"><div class="post-meta">{f.one("byline")}</div>
<div class="entry-content">{f.body(blocks)}</div><div class="sharedaddy">
{f.links("share", 2, 5, "<span>{}</span>")}</div></div>
<div id="comments"><h3>{f.one("commenter")}</h3>{f.comments()}</div></div>
<div id="sidebar"><div class="widget">{f.one("newsletter")}<form><input name="q"/></form></div><div class="widget">
<ul>{f.links("related", 3, 7)}</ul></div></div><div id="footer">
{f.one("footer")} {f.links("footer", 2, 4, "{} | ")}</div>
</div>{f.cookie()}</body></html>"""


def tables(blocks: Blocks, f: Furnisher, head: str) -> str:
    """A page of 1999: a table for the layout, font tags, paragraphs and cells never closed."""
    return f"""<HTML><HEAD>{head}</HEAD><BODY BGCOLOR="#FFFFFF"><CENTER><FONT SIZE=5>{f.say(f.site)}</FONT></CENTER>
<TABLE WIDTH="100%" BORDER=0><TR><TD COLSPAN=2>{f.links("nav", 4, 8, "{} &nbsp;|&nbsp; ")}<TR>
<TD WIDTH=140 VALIGN=top>
{f.links("related", 3, 6, "<FONT SIZE=-1>{}</FONT><BR>")}<TD VALIGN=top>
{f.body(blocks, "<P><FONT FACE=Arial>{}</FONT>", close=False)}
<TR><TD COLSPAN=2 ALIGN=center><HR>{f.one("footer")}<BR><FONT SIZE=1>{f.links("footer", 2, 4, "[ {} ] ")}</FONT>
</TABLE></BODY></HTML>"""


def blog(blocks: Blocks, f: Furnisher, head: str) -> str:
    """An article element inside boxes, a byline, tags, share buttons, a long tail of comments inside the article."""
    return f"""<!doctype html><html><head>{head}</head><body><div role="banner"><h2>{f.say(f.site)}</h2></div>
<div role="navigation">{f.links("nav", 5, 9, "{} ")}</div>{f.cookie(attributes='id="gdpr" aria-modal="true"')}
<div role="main"><article class="h-entry"><p class="byline">{f.one("byline")} · {f.one("byline")}</p>
<div class="e-content">{f.body(blocks, ads=0.25)}</div><ul class="share-buttons">{f.links("share", 3, 6)}</ul>
<section id="responses">{f.comments('<article class="comment"><header>{}</header><p>{}</p></article>')}</section>
</article></div>
<div role="complementary"><p>{f.one("newsletter")}</p><ul>{f.links("related", 3, 5)}</ul></div>
<div role="contentinfo"><small>{f.one("footer")}</small> {f.links("footer", 2, 5, "{} ")}</div>{f.script()}</body>
</html>"""


def newspaper(blocks: Blocks, f: Furnisher, head: str) -> str:
    """News: advertisements after every few paragraphs, a newsletter box and links in the middle of the text."""
    middle = max(1, len(blocks) // 2)
    box = f'<div class="newsletter-signup"><h3>{f.one("newsletter")}</h3><p>{f.one("newsletter")}</p></div>'
    return f"""<!DOCTYPE html><html lang="{f.language}"><head>{head}</head><body><noscript>
{f.one("hidden")}</noscript>
<div class="topbar">{f.links("nav", 3, 6, "<span>{}</span>")}</div><h4 class="masthead">{f.say(f.site)}</h4>
<div class="story"><div class="story-body">{f.body(blocks[:middle], ads=0.35)}{box}
<div class="story-related"><ul>{f.links("related", 2, 4)}</ul></div>{f.body(blocks[middle:], ads=0.35)}</div>
<div class="toolbar">{f.links("share", 3, 6, "{} ")}</div></div><div class="most-read"><ol>
{f.links("related", 4, 7)}</ol></div>
<form action="/search"><select>{"".join(f"<option>{o}</option>" for o in f.some("option", 2, 3))}</select></form>
<div class="footer-links">{f.links("footer", 4, 7, "{} ")}<address>{f.one("footer")}</address></div>
{f.cookie()}</body></html>"""


def encyclopedia(blocks: Blocks, f: Furnisher, head: str) -> str:
    """A wiki: a table of contents, an edit link in every heading, categories, a side menu after the text."""
    html = f.body(blocks, ads=0.0)
    while "</h2>" in html:
        html = html.replace("</h2>", f'<span class="mw-editsection">{f.one("edit")}</span></h2 >', 1)
    contents = "".join(f'<li><a href="#s">{escape(text)}</a></li>' for tag, text in blocks if tag == "h2")
    return f"""<!DOCTYPE html><html class="client-nojs"><head>{head}</head><body class="mediawiki">
<div id="mw-page-base"></div>
<div id="content" role="main"><div id="siteNotice">{f.one("newsletter")}</div><div id="bodyContent">
<div id="toc" class="toc" role="navigation"><b>{f.one("toc")}</b><ul>{contents}</ul></div>
<div class="mw-parser-output">{html}</div><div id="catlinks">{f.links("nav", 2, 4, "{} | ")}</div></div></div>
<div id="mw-navigation"><ul>{f.links("nav", 5, 9)}</ul></div><ul id="footer-info">{f.links("footer", 3, 5)}</ul>
</body></html>"""


def nameless(blocks: Blocks, f: Furnisher, head: str) -> str:
    """Made by a framework: deep boxes, class names without meaning, paragraphs that are boxes too, hidden parts."""
    name = f"css-{f.number():x}"
    return f"""<!DOCTYPE html><html><head>{head}</head><body><div id="root"><div class="{name}"><div class="{name}a">
<div><div class="{name}b">{f.links("nav", 5, 9, "<div>{}</div>")}</div></div>
{f.cookie(attributes=f'class="{name}z" role="alertdialog"')}
<div style="display:none">{f.one("hidden")}</div><div><div><div class="{name}c">
{f.body(blocks, "<div>{}</div>", ads=0.2)}</div></div></div>
<div class="{name}d"><div>{f.links("related", 3, 6, "<div><div>{}</div></div>")}</div></div>
<div class="{name}e"><div>{f.one("footer")}</div><div>{f.links("footer", 3, 5, "<span>{}</span>")}</div></div></div>
</div></div>
{f.script()}{f.script()}</body></html>"""


def forum(blocks: Blocks, f: Furnisher, head: str) -> str:
    """A board: the text is the first post, the answers of others follow in the same kind of box."""
    posts = '<div class="post reply"><div class="author">{}</div><div class="message">{}</div></div>'
    return f"""<!DOCTYPE html><html><head>{head}</head><body><div class="navbar">
{f.links("nav", 4, 8, "{} » ")}</div>{f.cookie()}
<div class="thread"><div class="post first"><div class="author">{f.one("commenter")}<br>{f.one("byline")}</div>
<div class="message">{f.body(blocks, ads=0.05)}</div><div class="actions">{f.links("share", 2, 3, "{} ")}</div></div>
{f.comments(posts)}</div><div class="similar">{f.links("related", 2, 5, "<p>{}</p>")}</div>
<div class="copyright">{f.one("footer")}</div></body></html>"""


def broken(blocks: Blocks, f: Furnisher, head: str) -> str:
    """Markup that no validator passes: tags that cross, end twice or never, two bodies, text in HTML comments."""
    return f"""<html><head>{head}<body><body class=page><div class=nav><ul><li>
{f.links("nav", 4, 8, "<li>{}")}</div></ul></b>
<!-- <p>An old paragraph that was commented out years ago and stayed.</p> --><div id=text><b><i></b></i>
{f.body(blocks, "<p>{}<br>", close=False, ads=0.2)}</span></div></div></article><table><tr><td>{f.one("ad")}
<div class=related><p>{f.links("related", 2, 5, "<p>{}")}<div class=foot>{f.one("footer")}<br>
{f.links("footer", 2, 4, "{} - ")}"""


TEMPLATES: tuple[Callable[[Blocks, Furnisher, str], str], ...] = (
    tidy, boxes, tables, blog, newspaper, encyclopedia, nameless, forum, broken,
)  # fmt: skip
