"""Calls of torch's that are made again, with other tensors or on the meta device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Refused(Exception):
    """Torch does not take the call so; or it cannot be made again, since an argument is
    not kept as data. It says by which exception."""


def of_torch(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What torch makes; raises `Refused` where torch raises, so that a mistake of ours
    is not taken for one of its exceptions."""
    try:
        return func(*args, **kwargs)
    except Exception as error:
        # torch has no type of its own for arguments that do not fit, or for results
        # that depend on values, and raises nearly all of Python's
        raise Refused(type(error).__name__) from error
