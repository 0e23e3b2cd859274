"""A Ctrl-C at any stage of entry and exit leaves nothing behind."""

from __future__ import annotations

import gc
import importlib
import linecache
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode

import shapetrace

PACKAGE = str(Path(shapetrace.__file__).parent)
X = torch.ones(2, 4)


class Mode(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


def installed() -> list[Any]:
    """What is on torch now."""
    found = [
        *torch_module._global_forward_pre_hooks.values(),
        *torch_module._global_forward_hooks.values(),
        *torch_module._global_forward_hooks_always_called,
        *torch_module._global_forward_hooks_with_kwargs,
    ]
    depth = torch._C._len_torch_function_stack()
    found += [torch._C._get_function_stack_at(at) for at in range(depth)]
    found += warnings.filters
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    found += [torch._C._is_torch_function_enabled(), gc.isenabled()]
    return [*found, dynamo and dynamo._stance.stance]


def interrupted(at: int, run: Callable[[], None]) -> bool:
    """Run with a KeyboardInterrupt at the line with that number of our own code, but
    for the first line of `__exit__`, where Python has not entered it yet."""
    left = at

    def lines(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        if event == "line" and left >= 0:
            code = frame.f_code
            if code.co_name == "__exit__" and frame.f_lineno <= _first(code):
                return lines
            text = linecache.getline(code.co_filename, frame.f_lineno)
            if text.strip().startswith("with "):
                return lines  # on the way out Python looks for no signal there
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return lines

    def calls(frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        ours = name.startswith(PACKAGE) or name == torch_module.__file__
        return lines if ours and not skipped(frame) else None

    before = sys.gettrace()
    sys.settrace(calls)
    try:
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def _first(code: CodeType) -> int:
    """The line of the first statement, a `try`."""
    lines = {line for _, _, line in code.co_lines() if line is not None}
    return min(lines - {code.co_firstlineno})


def skipped(frame: FrameType) -> bool:
    """What runs before anything is installed or after all is off is of no interest."""
    folders = ("signatures", "lineage", "diagnosis", "checks", "source")
    return any(f"/{folder}/" in frame.f_code.co_filename for folder in folders)


@pytest.mark.parametrize("user", ["alone", "inside a mode", "compiling"])
def test_an_interrupt_at_any_line_of_entry_or_exit_leaves_nothing(user):
    if user == "compiling":
        importlib.import_module("torch._dynamo.eval_frame")
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    expected = model(X)

    def run() -> None:
        with shapetrace.trace(model, checks=False):
            pass

    mode = Mode()
    if user == "inside a mode":
        mode.__enter__()
    try:
        before, at, hit = installed(), 0, True
        while hit:
            hit = interrupted(at, run)
            assert installed() == before, at
            at += 1
    finally:
        if user == "inside a mode":
            mode.__exit__(None, None, None)
    assert at > 150
    assert torch.equal(model(X), expected)


def test_an_interrupt_while_traces_overlap_keeps_the_modes_of_others():
    model = nn.Sequential(nn.Linear(4, 4))
    at, hit = 0, True
    while hit:
        before = installed()
        t, above = shapetrace.trace(model, checks=False), Mode()
        t.__enter__()
        above.__enter__()
        hit = interrupted(at, lambda: t.__exit__(None, None, None) and None)
        depth = torch._C._len_torch_function_stack()
        assert torch._C._get_function_stack_at(depth - 1) is above
        above.__exit__(None, None, None)
        assert installed() == before, at
        at += 1
    assert at > 30
