"""The storages of tensors, which several tensors may share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.extensions.base import Node
from shapetrace.recording.extensions.cell import Cell

#: what a storage holds; the first four are counted
ACTIVATION, GRADIENT, OPTIMIZER, BACKWARD, OWN, OUTSIDE = range(6)
#: of each gradient that a node makes, the bytes of the parameters that it may be of
Ways = tuple[frozenset[int], ...]


class Stored:
    """A storage that is alive. `number` is its own, where addresses are used again;
    `made` and `used` say after how many changes of what is held it came, and a function
    took it last."""

    __slots__ = ("reference", "size", "kind", "cell", "number", "made", "used")

    def __init__(self, size: int, kind: int, cell: Cell | None, number: int) -> None:
        self.reference: Any = None
        self.size = size
        self.kind = kind
        self.cell = cell
        self.number = number
        self.made = self.used = 0


def bytes_of(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def storage_of(tensor: torch.Tensor) -> Any:
    try:
        return tensor.untyped_storage()
    except RuntimeError:  # sparse and other layouts have none
        return None


def ways_of(node: Node) -> Ways:
    """Where each of the gradients that a node makes goes: the bytes of the parameters
    to which alone that leads, also by way of one node; none where it leads on."""
    return tuple(
        (
            _leaves(((following, 0),)) or _leaves(following.next_functions)
            if following is not None
            else frozenset()
        )
        for following, _ in node.next_functions
    )


def _leaves(edges: Iterable[tuple[Node, int]]) -> frozenset[int]:
    found = [following for following, _ in edges if following is not None]
    if any(torch_internals.node_number(one) < torch_internals.LEAF for one in found):
        return frozenset()
    leaves = [one.variable for one in found]
    return frozenset(bytes_of(one) for one in leaves if isinstance(one, nn.Parameter))
