"""Text and shapes as HTML that can do nothing but be read."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from html import escape
from typing import Any

from shapetrace.records.printable import printable


def safe(value: Any) -> str:
    """Any text of the model, its code or a file: characters that would act, on a
    page or on the direction of writing, stand as what they are.

    >>> safe("<b>\\u202e")
    '&lt;b&gt;\\\\u202e'
    """
    return escape(printable(str(value)))


def inline(text: object) -> str:
    """Words of ours, what stands between backticks as code.

    >>> inline("`fc1` gets <4>; a ` alone stays")
    '<code>fc1</code> gets &lt;4&gt;; a ` alone stays'
    """
    parts = re.split(r"`([^`]+)`", str(text))
    return "".join(
        element("code", safe(part)) if at % 2 else safe(part)
        for at, part in enumerate(parts)
    )


def element(name: str, inner: str, look: str = "", **attributes: Any) -> str:
    """An element; `inner` is HTML already, attributes are text."""
    given = f' class="{look}"' if look else ""
    for key, value in attributes.items():
        if value is not None:
            given += f' {key.strip("_").replace("_", "-")}="{safe(value)}"'
    return f"<{name}{given}>{inner}</{name}>"


def shape(
    sizes: Sequence[int], changed: Collection[int] = (), odd: Collection[int] = ()
) -> str:
    """`2×<b>73</b>`: what changed is bold, what does not fit is marked."""
    if not sizes:
        return "scalar"
    written = []
    for dim, size in enumerate(sizes):
        if dim in odd:
            written.append(f"<mark>{size}</mark>")
        else:
            written.append(f"<b>{size}</b>" if dim in changed else str(size))
    return "×".join(written)
