"""What an index takes of a tensor."""

from __future__ import annotations


def is_plain(item: slice) -> bool:
    """Whether the bounds of a slice are known numbers."""
    bounds = (item.start, item.stop, item.step)
    return all(bound is None or type(bound) is int for bound in bounds)
