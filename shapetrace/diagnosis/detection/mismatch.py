"""What a mismatch is: the two sides that do not fit in one call. Data only: nobody is
blamed here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from shapetrace.records import FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import Conflict, argument_name

Kind = Literal[
    "size",  # two dimensions of different size
    "rank",  # a tensor with the wrong number of dimensions
    "numel",  # a view that asks for another number of elements
    "dtype",  # two element types that do not go together
    "device",  # two devices
    "range",  # an index beyond a table or a number of classes
    "container",  # a tuple or dict where a tensor is wanted
    "other",  # anything else: PyTorch's message is all there is
]


@dataclass(frozen=True, slots=True)
class Spot:
    """One side: dimension `dim` (None: the whole tensor) of tensor `tensor` (None: a
    number among the arguments), its size and its role in the signature."""

    tensor: int | None
    dim: int | None
    size: int
    role: str = ""
    input: int | None = None


@dataclass(frozen=True, slots=True)
class Mismatch:
    """`left` is the side of the data or prediction, `right` that of the parameter,
    target, second operand or argument. `layer` is torch's own layer that made the
    call, or None where the user's code did. `silent`: PyTorch did not mind, and the
    program went on as recorded."""

    kind: Kind
    call: FunctionCall
    layer: ModuleCall | None
    left: Spot | None = None
    right: Spot | None = None
    name: str = ""
    loss: bool = False
    conflicts: tuple[Conflict, ...] = ()
    silent: bool = False

    @property
    def is_of_values(self) -> bool:
        """Whether no other shape would mend it: a class beyond a number of classes."""
        right = self.right
        return self.kind == "range" and right is not None and right.tensor is None

    @property
    def is_of_words(self) -> bool:
        """Whether only PyTorch's message knows of a size that is asked for."""
        right = self.right
        asked = right is not None and right.tensor is None
        return self.kind == "size" and asked and not self.conflicts

    @property
    def spots(self) -> tuple[Spot, ...]:
        return tuple(spot for spot in (self.left, self.right) if spot is not None)

    @property
    def width(self) -> Spot | None:
        """The dimension that one of two stretched operands has too much, where that is
        no dimension of size 1."""
        if not self.silent or self.kind != "rank":
            return None
        return next((one for one in self.spots if one.dim and one.size > 1), None)

    @property
    def wanted(self) -> list[tuple[Spot, int]]:
        """Both sides where sizes disagree, each with the size that would fit it."""
        if self.left is None or self.right is None:
            return []
        return [(self.left, self.right.size), (self.right, self.left.size)]


_WHOLE = re.compile(r"args\[\d+\]|kwargs\['\w+'\]")


def is_part(path: str) -> bool:
    """Whether a tensor's path leads into a container that was given as an argument.

    >>> is_part("args[0][1]"), is_part("kwargs['mask']")
    (True, False)
    """
    whole = _WHOLE.match(path)
    return whole is not None and whole.end() < len(path)


#: what only a name is written like: `input` and its like are words of any message
_NAME = re.compile(r"\w+_\w+")


def named_arguments(call: FunctionCall) -> tuple[TensorRef, ...]:
    """The tensors of a call whose arguments PyTorch's message calls by their names."""
    words = set(_NAME.findall(call.error.message)) if call.error is not None else ()
    return tuple(
        ref for at, ref in enumerate(call.inputs) if argument_name(call, at) in words
    )
