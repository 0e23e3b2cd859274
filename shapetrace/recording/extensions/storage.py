"""The storages of tensors, which several tensors may share."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.extensions.base import Cell, Node


class Stored:
    """A storage that is alive. `number` is its own, where addresses are used again."""

    __slots__ = ("reference", "size", "kind", "cell", "number")

    def __init__(self, size: int, kind: int, cell: Cell | None, number: int) -> None:
        self.reference: Any = None
        self.size = size
        self.kind = kind
        self.cell = cell
        self.number = number


def bytes_of(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def storage_of(tensor: torch.Tensor) -> Any:
    try:
        return tensor.untyped_storage()
    except RuntimeError:  # sparse and other layouts have none
        return None


def leaves_of(node: Node) -> frozenset[int]:
    """The bytes of the parameters that a node leads to; none where it leads on."""
    found = [following for following, _ in node.next_functions if following is not None]
    if any(torch_internals.node_number(one) < torch_internals.LEAF for one in found):
        return frozenset()
    leaves = [one.variable for one in found]
    return frozenset(bytes_of(one) for one in leaves if isinstance(one, nn.Parameter))
