"""Text and shapes as HTML that can do nothing but be read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from typing import Any

from shapetrace.source.printable import printable

Shape = tuple[int, ...]


def safe(value: Any) -> str:
    """Any text of the model, its code or a file: characters that would act, on a
    page or on the direction of writing, stand as what they are.

    >>> safe("<b>\\u202e")
    '&lt;b&gt;\\\\u202e'
    """
    return escape(printable(str(value)))


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


def changed(before: Shape | None, after: Shape) -> set[int]:
    """The dimensions of `after` that are not those of `before`, in their order: what is
    left when the longest common subsequence is taken away.

    >>> changed((2, 16, 8, 8), (2, 1024)), changed((2, 8, 4), (2, 4, 8))
    ({1}, {2})
    """
    if before is None or before == after:
        return set()
    if len(before) == len(after):
        same = [a == b for a, b in zip(before, after)]
        if sum(same) >= len(after) - 1:
            return {dim for dim, kept in enumerate(same) if not kept}
    rows = [[0] * (len(after) + 1) for _ in range(len(before) + 1)]
    for i in range(len(before) - 1, -1, -1):
        for j in range(len(after) - 1, -1, -1):
            longer = max(rows[i + 1][j], rows[i][j + 1])
            rows[i][j] = rows[i + 1][j + 1] + 1 if before[i] == after[j] else longer
    kept, i, j = set(), 0, 0
    while i < len(before) and j < len(after):
        if before[i] == after[j]:
            kept.add(j)
            i, j = i + 1, j + 1
        elif rows[i + 1][j] >= rows[i][j + 1]:
            i += 1
        else:
            j += 1
    return set(range(len(after))) - kept
