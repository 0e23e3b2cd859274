"""Work that no event is made of, and that can be told of all the same: what torch.func
does to the functions that it is given, and the backwards of the user's own Functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.tensors import grad_fn_of

#: under these a function is seen once: without its batch, without its tangents
TRANSFORMS = ("vmap", "jvp")
BACKWARDS = {Tensor.backward, torch.autograd.backward, torch.autograd.grad}


def transforms() -> Sequence[str]:
    """The transformations of torch.func at work here that hide some of it."""
    levels = torch_internals.functorch_levels()
    if not levels:
        return ()
    names = {level.key().name.lower() for level in levels}
    return [name for name in TRANSFORMS if name in names]


def custom_backwards(args: Any, kwargs: Any) -> list[str]:
    """The user's own Functions through which a backward will run. What they compute in
    it is called by autograd, while no mode looks on."""
    if not _users_functions():
        return []
    given = args[0] if args else next(iter((kwargs or {}).values()), None)
    roots: Sequence[Any] = given if isinstance(given, (tuple, list)) else (given,)
    open_: list[Any]
    with torch_internals.unseen_by_modes():
        open_ = [grad_fn_of(one) for one in roots if isinstance(one, Tensor)]
    seen = set()
    found: dict[str, None] = {}
    while open_:
        node = open_.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        function = torch_internals.function_of(node)
        if function is not None and _is_users(function):
            found[f"backward of {function.__name__}"] = None
        open_ += [following for following, _ in node.next_functions]
    return list(found)


def _users_functions() -> bool:
    """Whether there are any. Torch has two hundred, and this is asked in each step."""
    open_: list[type[Any]] = [Function]
    for kind in open_:
        for one in kind.__subclasses__():
            if not one.__module__.startswith("torch."):
                return True
            open_.append(one)
    return False


def _is_users(kind: type[Any]) -> bool:
    return kind.__module__.partition(".")[0] != "torch"
