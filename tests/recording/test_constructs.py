"""Whatever surrounds a model: traced, untraced and under plain hooks alike."""

from __future__ import annotations

import contextlib
import random
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from construct_hooks import torchinfo_inside
from construct_modules import Unhashable, Wraps, lazy_modules
from construct_programs import PROGRAMS
from construct_table import net
from construct_torch_tools import lazy_modules_in_a_checkpoint
from invariants import check_invariants
from torch import nn
from torch.nn.modules import module as torch_module

import shapetrace


def equal(a: Any, b: Any) -> bool:
    """Equal bit for bit, whatever it is."""
    if isinstance(a, torch.Tensor):
        same = type(a) is type(b) and a.dtype == b.dtype and a.stride() == b.stride()
        return same and torch.equal(a.detach(), b.detach())
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


class Hooked:
    """The calls that plain hooks see, by class: torch's own, on every module."""

    def __init__(self, *modules: nn.Module) -> None:
        self.types: list[str] = []
        self._modules: list[nn.Module] = []

    def __enter__(self) -> Hooked:
        def seen(module: nn.Module, args: Any) -> None:
            self._modules.append(module)

        self._handle = torch_module.register_module_forward_pre_hook(seen)
        return self

    def __exit__(self, *error: Any) -> None:
        self._handle.remove()
        # at the end: a lazy module changes its class when it is called
        self.types = [type(module).__name__ for module in self._modules]


def run(program: Any, watch: Any) -> Any:
    torch.manual_seed(0)
    random.seed(0)
    # a program under hooks of any kind tells torch.compile's wrapper so
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", shapetrace.ShapeTraceWarning)
        found = program(watch)
    return found, torch.get_rng_state(), random.getstate()


def traced(program: Any, **options: Any) -> tuple[Any, shapetrace.Trace]:
    made: list[shapetrace.Trace] = []

    @contextlib.contextmanager
    def watch(*modules: nn.Module) -> Iterator[None]:
        t = shapetrace.trace(*modules, **options)
        made.append(t)
        with t:
            yield

    return run(program, watch), made[-1]


#: a call makes their parameters inside the block
LAZY = lazy_modules, lazy_modules_in_a_checkpoint
OPTIONS: dict[str, dict[str, Any]] = {
    "functions": {},
    "hooks alone": {"functions": False},
    "memory": {"memory": True, "backward": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda made: made.__name__)
def test_a_program_computes_the_same_and_every_call_is_there(program, options):
    if program is torchinfo_inside:
        pytest.importorskip("torchinfo")
    untraced = run(program, lambda *modules: contextlib.nullcontext())
    hooks: list[Hooked] = []

    def plain(*modules: nn.Module) -> Hooked:
        hooks.append(Hooked(*modules))
        return hooks[-1]

    run(program, plain)
    found, t = traced(program, **options)
    assert equal(untraced, found)
    assert [call.type for call in t.calls] == hooks[-1].types
    if program not in LAZY:
        check_invariants(t.recording)
    assert not [note for note in t.recording.notes if "incomplete" in note]
    look_at(t)


def look_at(t: shapetrace.Trace) -> None:
    assert str(t) and t._repr_html_() and len(t.to_dataframe()) == len(t.calls)
    assert str(t.explain())


def test_unhashable_modules_are_called_as_ever():
    model = Wraps(Unhashable(), nn.Linear(4, 3))
    untraced = model(torch.ones(2, 4))
    with shapetrace.trace(model) as t:
        assert torch.equal(model(torch.ones(2, 4)), untraced)
    assert [call.type for call in t.calls] == ["Wraps", "Unhashable", "Linear"]


def test_ten_thousand_modules():
    model = nn.Sequential(*[nn.Sequential(nn.Identity()) for _ in range(5_000)])
    x = torch.ones(1)
    with shapetrace.trace(model) as t:
        model(x)
    assert len(t.calls) == 10_001
    look_at(t)


def deepest(watch: Any) -> int:
    """How many modules one may nest under Python's own limit."""

    def fits(depth: int) -> bool:
        model: nn.Module = nn.Identity()
        for _ in range(depth):
            model = nn.Sequential(model)
        try:
            # at the very end of the stack a hook of ours may find no room, of which
            # torch warns where the forward has found none either
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with watch(model):
                    model(torch.ones(1))
        except RecursionError:
            return False
        return True

    low, high = 10, sys.getrecursionlimit()
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


@pytest.mark.parametrize("functions", [True, False])
def test_modules_nest_as_deep_as_under_plain_hooks(functions):
    def traced(model: nn.Module) -> shapetrace.Trace:
        return shapetrace.trace(model, functions=functions)

    assert deepest(traced) >= deepest(Hooked) - 2


# -- graphs taken inside the block ---------------------------------------------------


def graphs(watch: Any) -> list[str]:
    """The user's graph, by every tracer of torch's."""
    from torch.fx.experimental.proxy_tensor import make_fx

    model, x = net(), torch.ones(2, 4)
    found = []
    with watch(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.append(str(torch.fx.symbolic_trace(model).graph))
        found.append(str(make_fx(model)(x).graph))
        found.append(str(torch.export.export(model, (x,)).graph))
        found.append(str(torch.jit.trace(model, x).inlined_graph))
        found.append(str(torch.jit.script(model).inlined_graph))
    return found


@pytest.mark.parametrize("options", [{}, {"functions": False}, {"max_calls": 3}])
def test_a_graph_that_is_taken_inside_holds_nothing_of_ours(options):
    torch.manual_seed(0)
    untraced = graphs(lambda model: contextlib.nullcontext())
    torch.manual_seed(0)
    found = graphs(lambda model: shapetrace.trace(model, **options))
    for mine, without in zip(found, untraced, strict=True):
        assert without_places(mine) == without_places(without)


def without_places(graph: str) -> list[str]:
    """TorchScript's graph names the Python lines that it was traced through, counts the
    classes that it has met, and names values as some Python frame does."""
    graph = re.sub(r"___torch_mangle_\d+\.", "", graph)
    known: dict[str, str] = {}
    graph = re.sub(
        r"%[\w.]+", lambda found: known.setdefault(found[0], f"%{len(known)}"), graph
    )
    return [line.split(" # ")[0].rstrip() for line in graph.splitlines()]


@pytest.mark.parametrize("functions", [True, False])
def test_a_size_that_is_a_symbol_is_none_of_the_report(functions, tmp_path):
    model, sizes = net(), {0: torch.export.Dim("batch", min=2, max=64)}
    with shapetrace.trace(model, functions=functions) as t:
        torch.export.export(model, (torch.ones(4, 4),), dynamic_shapes=(sizes,))
        model(torch.ones(2, 4))
    assert t.calls[-1].outputs[0].shape == (2, 3)
    assert not [note for note in t.recording.notes if "incomplete" in note]
    t.to_json(tmp_path / "report.json")
    assert shapetrace.load(tmp_path / "report.json") == t


@pytest.mark.parametrize("every", [True, False])
def test_the_fused_path_that_is_left_is_a_note(every):
    layer = nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()
    with shapetrace.trace(*[layer] * (not every)) as t, torch.no_grad():
        layer(torch.ones(2, 3, 8))
    assert any("fast path" in note for note in t.recording.notes)
