"""Text for a stream whose encoding does not know all of our characters."""

from __future__ import annotations

#: of equal width, so that columns stay columns
_PLAIN = str.maketrans(
    {
        "×": "x",
        "·": "*",
        "…": "~",
        "─": "-",
        "│": "|",
        "├": "|",
        "└": "`",
        "↗": "^",
        "↓": "v",
        "→": ">",
        "≥": ">",
        "≤": "<",
        "µ": "u",
        "–": "-",
        "«": '"',
        "»": '"',
    }
)


def encodable(text: str, encoding: str | None) -> str:
    """The text as it is where the encoding knows it, else in characters that it knows.

    >>> encodable("├─fc  2×4 …", "utf-8"), encodable("├─fc  2×4 …", "ascii")
    ('├─fc  2×4 …', '|-fc  2x4 ~')
    """
    encoding = encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    return text
