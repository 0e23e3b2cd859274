"""Text that a terminal shows and does not obey."""

from __future__ import annotations

import re

#: control characters of both sets, what turns the direction of writing or ends a line,
#: and halves of characters, which no stream can encode
UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff]"
)


def printable(text: str, *, keep: str = "\n\t") -> str:
    """The text, with all that a terminal would act on written as its number.

    Args:
        text: names, paths, messages: whatever came from the traced program or a file.
        keep: characters that stay; `""` for what must not leave its line.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return UNPRINTABLE.sub(
        lambda found: found[0] if found[0] in keep else _number(ord(found[0])), text
    )


def in_bytes(count: float) -> str:
    """A number of bytes to four digits.

    >>> in_bytes(12), in_bytes(819_200_000)
    ('12 B', '819.2 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def _number(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
