"""Formulas as MathML, made while the site is built: browsers draw it themselves.

So a page needs no script for its formulas, and loads none from elsewhere.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

# As pymdownx.arithmatex marks them: \( inline \) and \[ in a block of its own \].
_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL
)


def on_page_content(content: str, **_: Any) -> str:
    """Replaces the formulas of a page; MkDocs calls it with each page's HTML."""
    return _FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    tag, bracket, tex = found.groups()
    display = "block" if bracket == "[" else "inline"
    formula = convert(html.unescape(tex).strip(), display=display)
    return f'<{tag} class="formula">{formula}</{tag}>'
