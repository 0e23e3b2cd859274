"""After every test: nothing of shapetrace is left on torch or on a module. And what
several files of tests are given."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from shapetrace.records import Overhead

_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0))
if _WORKERS:
    # The cores are shared among the workers (pytest -n): a torch of two threads in each
    # of two workers on two cores takes three times as long, waiting for itself.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // _WORKERS))
    # and what they start
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))

_ON_MODULE = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_GLOBAL = (
    "_global_forward_pre_hooks",
    "_global_forward_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)


_CALL = nn.Module.__call__


def left_on(module: nn.Module) -> list[str]:
    """The hooks and calls of shapetrace on one module, by name of their function."""
    found = [
        f"{kind}: {hook.__qualname__}"
        for kind in _ON_MODULE
        for hook in getattr(module, kind, {}).values()
        if getattr(hook, "__module__", "").startswith("shapetrace")
    ]
    for key, value in vars(module).items():
        if str(getattr(value, "__module__", "")).startswith("shapetrace"):
            found.append(f"{key}: {value.__qualname__}")
    return found


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody says for how long other work had the processor, which the text tells."""
    monkeypatch.setattr("shapetrace.recording.run_queue._FILE", "/none")


@pytest.fixture
def cost_of_the_tracer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured in a second, which says nothing here."""
    monkeypatch.setattr(
        "shapetrace.recording.overhead.calibrate", lambda *args: Overhead(0, 0, 0, 0)
    )


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    made: dict[int, weakref.ref[nn.Module]] = {}  # a module need not be hashable

    def note(module: nn.Module, name: str, value: Any) -> None:
        for one in (module, value):
            if isinstance(one, nn.Module):
                made[id(one)] = weakref.ref(one)

    handles = [
        torch_module.register_module_module_registration_hook(note),
        torch_module.register_module_parameter_registration_hook(note),
        torch_module.register_module_buffer_registration_hook(note),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    alive = [module for ref in made.values() if (module := ref()) is not None]
    left = {type(module).__name__: left_on(module) for module in alive}
    assert not {name: hooks for name, hooks in left.items() if hooks}
    assert not [kind for kind in _GLOBAL if getattr(torch_module, kind)]
    assert nn.Module.__call__ is _CALL
    assert torch._C._len_torch_function_stack() == 0
    if "torch._dynamo.eval_frame" in sys.modules:
        assert torch._dynamo.eval_frame._stance.stance == "default"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a script into an empty working directory and gives its name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "script.py") -> str:
        Path(name).write_text(text)
        return name

    return write
