"""Text that shows itself: in a terminal as it is, in a notebook as HTML."""

from __future__ import annotations

from collections.abc import Callable
from html import escape


class Printed(str):
    """A text whose repr is the text: no `\\n` where an expression ends a cell.

    >>> Printed("a\\nb")
    a
    b
    """

    __slots__ = ("_html",)
    _html: Callable[[], str]

    def __new__(cls, text: str, html: Callable[[], str] | None = None) -> Printed:
        made = super().__new__(cls, text)
        made._html = html if html is not None else lambda: preformatted(text)
        return made

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return "".join((self,))

    def _repr_html_(self) -> str:
        return self._html()


def preformatted(text: str) -> str:
    """The text as HTML in which columns stand below each other."""
    # not the page's font: nbconvert's style names one that it does not define
    look = "font-family:ui-monospace,monospace;white-space:pre;overflow-x:auto"
    return f'<pre style="{look}">{escape(text)}</pre>'
