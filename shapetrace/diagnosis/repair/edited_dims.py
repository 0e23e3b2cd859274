"""Of which dimensions of a tensor those of the edited one are made."""

from __future__ import annotations

import torch

from shapetrace.diagnosis.repair.edits import NO_SUCH_SHAPE, Edit
from shapetrace.records import TensorRef

#: sizes that tell dimensions apart when an edit is made of a bare tensor
_PRIMES = (101, 103, 107, 109, 113, 127, 131, 137)


def made_of(edit: Edit, shape: tuple[int, ...]) -> list[tuple[int, ...]] | None:
    """Of which dimensions of a tensor each dimension of the edited one is made."""
    if len(shape) > len(_PRIMES):
        return None
    sizes = [1 if n == 1 else _PRIMES[at] for at, n in enumerate(shape)]
    bare = TensorRef("", 0, tuple(sizes), torch.float32, torch.device("cpu"))
    try:
        made = edit.apply(bare).shape
    except NO_SUCH_SHAPE:  # an edit for one shape alone
        return None
    return [
        tuple(at for at, n in enumerate(sizes) if n > 1 and size % n == 0)
        for size in made
    ]
