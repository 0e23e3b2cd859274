"""Which dimensions a call changed."""

from __future__ import annotations

from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]


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
