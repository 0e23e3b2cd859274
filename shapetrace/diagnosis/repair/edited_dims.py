"""Of which dimensions of a tensor those of the edited one are made, and whether they
are those that a call had."""

from __future__ import annotations

import torch

from shapetrace.diagnosis.repair.edits import NO_SUCH_SHAPE, Edit
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import probe
from shapetrace.signatures.kinds import kind

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


def undoes(edit: Edit, call: FunctionCall) -> bool:
    """Whether an edit of what a call gives brings its dimensions back to the order in
    which it took them: the call is then better left out."""
    if kind(call.name) != "transpose" or not call.inputs or not call.outputs:
        return False
    before, made = call.inputs[0], call.outputs[0]
    if len(call.inputs) > 1 or len(before.shape) > len(_PRIMES):
        return False
    sizes = _PRIMES[: len(before.shape)]
    try:
        if edit.apply(made).shape != before.shape:
            return False
        given = probe.run(call, [sizes])
        if given is None:
            return False
        bare = TensorRef("", 0, given[0], made.dtype, made.device)
        return edit.apply(bare).shape == sizes
    except NO_SUCH_SHAPE:
        return False
