"""Calls whose sizes are letters: the language that `signature_table` is written in.

A case names its sizes by letters, `T("b i")`. Capital letters (kernels, heads) stay as
they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from signature_records import record

from shapetrace.records import FunctionCall

BUILT_IN = {"D": 2, "K": 3, "G": 2, "H": 2}


@dataclass(frozen=True)
class T:
    """A tensor whose sizes are letters, multiples like `4h`, or digits."""

    dims: str
    dtype: torch.dtype = torch.float32

    def shape(self, sizes: dict[str, int]) -> tuple[int, ...]:
        return tuple(_size(word, sizes) for word in self.dims.split())

    def make(self, shape: tuple[int, ...]) -> torch.Tensor:
        if self.dtype.is_floating_point:
            return torch.rand(shape, dtype=self.dtype)
        return torch.zeros(shape, dtype=self.dtype)


@dataclass(frozen=True)
class N:
    """A number among the arguments that is one of the sizes."""

    word: str


def _size(word: str, sizes: dict[str, int]) -> int:
    found = re.fullmatch(r"(\d*)([a-zA-Z]?)", word)
    assert found
    times = int(found[1] or 1)
    return times * (sizes[found[2]] if found[2] else 1)


def I(dims: str) -> T:  # noqa: E743 - indices, as short as T
    return T(dims, torch.long)


def M(dims: str) -> T:
    return T(dims, torch.bool)


class Case:
    """A function and its arguments, with letters for sizes."""

    def __init__(self, func: Any, *args: Any, **kwargs: Any) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs
        self.tensors: list[T] = []
        self._visit((args, tuple(kwargs.values())))

    def _visit(self, value: Any) -> None:
        if isinstance(value, T):
            self.tensors.append(value)
        elif isinstance(value, (tuple, list)):
            for part in value:
                self._visit(part)

    @property
    def letters(self) -> list[str]:
        found = {c for t in self.tensors for c in t.dims if c.isalpha()}
        return sorted(c for c in found if c not in BUILT_IN)

    def shapes(self, sizes: dict[str, int]) -> list[tuple[int, ...]]:
        return [t.shape(sizes) for t in self.tensors]

    def call(
        self, sizes: dict[str, int], shapes: list[tuple[int, ...]]
    ) -> FunctionCall:
        queue = iter(shapes)

        def real(value: Any) -> Any:
            if isinstance(value, T):
                return value.make(next(queue))
            if isinstance(value, N):
                return _size(value.word, sizes)
            if isinstance(value, list):
                return [real(part) for part in value]
            if isinstance(value, tuple):
                return tuple(real(part) for part in value)
            return value

        args = [real(arg) for arg in self.args]
        kwargs = {name: real(arg) for name, arg in self.kwargs.items()}
        return record(self.func, *args, **kwargs)

    def __repr__(self) -> str:
        shapes = " , ".join(t.dims for t in self.tensors)
        return f"{self.func.__name__}({shapes})"
