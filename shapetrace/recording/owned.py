"""References to tensors that modules own, by way of the module.

They are no weak references: torch exchanges no tensor that anybody refers to weakly, as
`swap_tensors` does in `Module.to` and `load_state_dict`, and FSDP in `to_empty`. A
module keeps its tensors alive, so that the `id` of one that it has is nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import torch

import shapetrace.torch_internals as torch_internals

#: called, it gives the tensor while the module has it
Owned = partial
#: the methods of modules that exchange tensors, and how far below them that is prepared
_EXCHANGE = torch_internals.exchanging
_DEPTH = 8
_EXCHANGES = torch.__future__.get_swap_module_params_on_conversion
_ORDINARY = {torch.Tensor, torch.nn.Parameter}


def may_be_kept(register: dict[str, Any]) -> bool:
    """Whether references to a module's tensors may be `Owned(register.get, name)`, as
    quick as weak ones: they keep what the register leads to, until `let_go`. An
    attribute of a tensor, or a class of the user's, may lead to the module itself."""
    if not (torch_internals.has_registers and isinstance(register, dict)):
        return False
    for one in register.values():
        if one is not None and (type(one) not in _ORDINARY or one.__dict__):
            return False
    return True


def through_module(module: Callable[[], Any], key: str) -> Owned[Any]:
    """Keeps nothing; `module` is a weak reference."""
    return partial(_look_up, module, key)


def let_go(reference: Owned[Any]) -> None:
    """Make it one that refers to nothing, and keeps nothing."""
    restore: Any = reference.__setstate__  # type: ignore[attr-defined]
    restore((nothing, (), {}, None))


def nothing() -> None:
    """What a reference to nothing calls."""


def _look_up(module: Callable[[], Any], key: str) -> Any:
    owner = module()
    if owner is None:
        return None
    for register in (
        torch_internals.parameters_of(owner),
        torch_internals.buffers_of(owner),
    ):
        if key in register:  # that of a scripted module has no `get`
            return register[key]
    return None


def is_exchanged(tensor: Any, frame: FrameType | None) -> bool:
    """Whether a function that is called from this frame makes what a module's tensor is
    exchanged for. `tensor` is what it was given."""
    kind = type(tensor)
    if not (_EXCHANGES() or issubclass(kind, torch.Tensor) and kind not in _ORDINARY):
        return False
    for _ in range(_DEPTH):
        if frame is None:
            break
        if frame.f_code in _EXCHANGE:
            return True
        frame = frame.f_back
    return False
