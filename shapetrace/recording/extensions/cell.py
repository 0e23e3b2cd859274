"""What extensions note of one module call, and the tensors they look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from shapetrace.recording.tensors import PLAIN, freeze, is_tensor

Tensors = list[torch.Tensor]


class Cell:
    """The notes on one module call: `fields` are those of its `ModuleCall`."""

    __slots__ = ("module", "parent", "fields")

    def __init__(self, module: int, parent: Cell | None) -> None:
        self.module = module
        self.parent = parent
        self.fields: dict[str, int | None] = {}


def tensors_in(value: Any) -> Tensors:
    """Every tensor of a nested value, in order."""
    if is_tensor(value):
        return [value]
    found: Tensors = []
    if type(value) is tuple:  # arguments: some tensors, some numbers
        for part in value:
            if is_tensor(part):
                found.append(part)
            elif type(part) not in PLAIN:
                freeze(part, found.append)
    elif type(value) not in PLAIN:
        freeze(value, found.append)
    return found


def add_up(cells: Sequence[Cell], key: str) -> None:
    """Give every cell the sum of its own figure and those of the calls inside it."""
    for cell in reversed(cells):
        own = cell.fields.get(key)
        if cell.parent is not None and own is not None:
            cell.parent.fields[key] = (cell.parent.fields.get(key) or 0) + own
