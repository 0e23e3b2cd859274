"""Edits that are methods of a tensor, one after the other."""

from __future__ import annotations

from typing import Any

import torch

from shapetrace.diagnosis.repair.edits import Edit, Step, squeezed


def given(step: Step) -> tuple[Any, ...]:
    """What a step is given, as the arguments of a call."""
    args = step[1]
    return args if isinstance(args, tuple) else () if args is None else (args,)


def stepwise(*steps: Step, words: str = "") -> Edit:
    """Methods of the tensor, one after the other.

    >>> stepwise(("permute", (0, 2, 1)), ("contiguous", None)).text
    '{}.permute(0, 2, 1).contiguous()'
    """

    def act(t: torch.Tensor) -> torch.Tensor:
        for step in steps:
            name, dim = step
            t = (
                squeezed(t, dim)
                if name == "squeeze"
                else getattr(t, name)(*given(step))
            )
        return t

    text = "{}"
    for step in steps:
        text += f".{step[0]}({', '.join(map(str, given(step)))})"
    return Edit(text, act, words, steps=steps)
