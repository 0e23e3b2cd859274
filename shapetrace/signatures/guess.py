"""What is left when nothing is known of a call: equal sizes, and never as a fact."""

from __future__ import annotations

from shapetrace.signatures.relation import DimOrigin

Shape = tuple[int, ...]


def guess(inputs: tuple[Shape, ...], output: Shape) -> tuple[DimOrigin, ...]:
    """For each output dimension the one input dimension of its size, if just one.

    An output whose whole shape is that of exactly one input is taken to be aligned
    with it.
    """
    twins = [pos for pos, shape in enumerate(inputs) if shape == output]
    if len(twins) == 1 and output:
        return tuple(
            DimOrigin("guess", ((twins[0], d),), "equal sizes", sure=False)
            for d in range(len(output))
        )
    return tuple(_by_size(inputs, size) for size in output)


def _by_size(inputs: tuple[Shape, ...], size: int) -> DimOrigin:
    """The only input dimension of that size; a size of 1 tells nothing."""
    found = [
        (pos, d)
        for pos, shape in enumerate(inputs)
        for d, known in enumerate(shape)
        if known == size
    ]
    if len(found) == 1 and size != 1:
        return DimOrigin("guess", (found[0],), "equal sizes", sure=False)
    return DimOrigin("guess", (), "", sure=False)
