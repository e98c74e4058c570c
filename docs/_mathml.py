"""Formulas as MathML, made while the site is built: browsers draw them themselves.

A page needs no script for its formulas, and loads none from elsewhere.
"""

import html
import re

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.postprocessors import Postprocessor

# As pymdownx.arithmatex marks them: \( inline \) and \[ in a block of its own \].
_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL
)


class MathML(Postprocessor):
    """Replaces the formulas of a page."""

    def run(self, text: str) -> str:
        """The page's HTML with MathML in place of LaTeX."""
        return _FORMULA.sub(_mathml, text)


class MathMLExtension(Extension):
    """An extension of Python-Markdown, to be listed after `pymdownx.arithmatex`."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Registers the postprocessor; the lowest priority runs last."""
        md.postprocessors.register(MathML(md), "mathml", -100)


def makeExtension(**settings: object) -> MathMLExtension:
    """The extension; Python-Markdown calls it by this name."""
    return MathMLExtension(**settings)


def _mathml(match: re.Match[str]) -> str:
    tag, bracket, latex = match.groups()
    display = "block" if bracket == "[" else "inline"
    formula = convert(html.unescape(latex).strip(), display=display)
    return f'<{tag} class="formula">{formula}</{tag}>'
