"""What an index takes of a tensor."""

from __future__ import annotations


def spans(index: object, shape: tuple[int, ...]) -> list[tuple[int, int]] | None:
    """From where to where an index of plain numbers and slices takes each dimension
    that it tells; None for any other."""
    items = list(index) if isinstance(index, tuple) else [index]
    if items.count(Ellipsis) == 1:
        at = items.index(Ellipsis)
        items[at : at + 1] = [slice(None)] * (len(shape) - len(items) + 1)
    if len(items) > len(shape):
        return None
    found = []
    for size, item in zip(shape, items, strict=False):
        if type(item) is int and size:
            start, stop, step = item % size, item % size + 1, 1
        elif isinstance(item, slice) and _is_plain(item):
            start, stop, step = item.indices(size)
        else:
            return None
        if step != 1 or stop <= start:
            return None
        found.append((start, stop))
    return found


def _is_plain(item: slice) -> bool:
    """Whether the bounds of a slice are known numbers."""
    bounds = (item.start, item.stop, item.step)
    return all(bound is None or type(bound) is int for bound in bounds)
