"""With or without a trace the batch computes the same bits, and nothing is left."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gc
import pickle
import random
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import left_on
from invariants import check_invariants
from models import MODELS, Case
from torch import nn
from torch.overrides import TorchFunctionMode

import shapetrace


def tensors(value: Any) -> list[torch.Tensor]:
    """The tensors of a nested value, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if dataclasses.is_dataclass(value):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [found for part in value for found in tensors(part)]
    return []


def same(a: Any, b: Any) -> bool:
    """Equal bit for bit, in strides and in kind."""
    left, right = tensors(a), tensors(b)
    assert len(left) == len(right)
    return type(a) is type(b) and all(
        x.stride() == y.stride()
        and x.dtype == y.dtype
        and x.requires_grad == y.requires_grad
        and torch.equal(x.detach(), y.detach())
        for x, y in zip(left, right, strict=True)
    )


def graph(value: Any) -> list[str]:
    """The nodes of autograd behind a nested value."""
    nodes = [t.grad_fn for t in tensors(value) if t.grad_fn is not None]
    names = []
    while nodes and len(names) < 10_000:
        node = nodes.pop()
        names.append(node.name())
        nodes += [before for before, _ in node.next_functions if before is not None]
    return names


def step(make: Callable[[], Case], mode: str, traced: dict[str, Any] | None) -> Any:
    """Everything that one batch leaves behind, traced with these options or not."""
    torch.manual_seed(0)
    random.seed(0)
    case = make()
    training = [module.training for module in case.model.modules()]
    if mode == "eval":
        case.model.eval()
        training = [module.training for module in case.model.modules()]
    hooks = [dict(module._forward_hooks) for module in case.model.modules()]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if traced is None:
            output = case.model(*case.args, **case.kwargs)
            found = sum(t.float().square().sum() for t in tensors(output))
            found.backward()
        else:
            with shapetrace.trace(case.model, **traced) as t:
                output = case.model(*case.args, **case.kwargs)
                found = sum(t.float().square().sum() for t in tensors(output))
                found.backward()
            assert len(t.calls) > 0
            check_invariants(t.recording)
    assert [module.training for module in case.model.modules()] == training
    assert [dict(module._forward_hooks) for module in case.model.modules()] == hooks
    return {
        "output": output,
        "graph": graph(output),
        "gradients": [p.grad for p in case.model.parameters()],
        "state": case.model.state_dict(),
        "inputs": (case.args, case.kwargs),
        "rng": torch.get_rng_state(),
        "python rng": random.getstate(),
        "warnings": [
            (w.category, str(w.message))
            for w in warned
            if not issubclass(w.category, shapetrace.ShapeTraceWarning)
        ],
    }


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_traced_and_untraced_batches_are_equal_bit_for_bit(make, functions, mode):
    untraced = step(make, mode, None)
    traced = step(make, mode, {"functions": functions})
    for key in ("output", "gradients", "state", "inputs", "rng"):
        assert same(untraced[key], traced[key]), key
    for key in ("graph", "python rng", "warnings"):
        assert untraced[key] == traced[key], key


@pytest.mark.parametrize("functions", [True, False])
def test_a_module_returns_the_very_object_that_its_forward_returned(functions):
    class Keeps(nn.Module):
        """Remembers what it returned."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.last = x * 2
            return self.last

    model = nn.Sequential(Keeps(), Keeps())
    x = torch.ones(2)
    with shapetrace.trace(model, functions=functions):
        assert model(x) is model[1].last


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_traced_twice_the_trace_says_the_same(make):
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        case = make()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with shapetrace.trace(case.model, timing=False) as t:
                case.model(*case.args, **case.kwargs)
        found.append(t)
    assert found[0].calls == found[1].calls
    assert found[0].functions == found[1].functions


# -- nothing is left ------------------------------------------------------------------


class Fails(nn.Module):
    """Hands its input on, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.error: BaseException | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc(x)
        if self.error is not None:
            raise self.error
        return x


def deep() -> nn.Module:
    return nn.Sequential(Fails(), nn.Sequential(Fails(), nn.Sequential(Fails())))


def clean(model: nn.Module) -> bool:
    modes = torch._C._len_torch_function_stack()
    return modes == 0 and not any(left_on(module) for module in model.modules())


X = torch.ones(2, 4)


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit()])
@pytest.mark.parametrize("path", ["0", "1.0", "1.1.0"])
@pytest.mark.parametrize("functions", [True, False])
def test_an_exception_at_any_depth_leaves_nothing(path, error, functions):
    model = deep()
    model.get_submodule(path).error = error
    with pytest.raises(type(error)):
        with shapetrace.trace(model, functions=functions):
            model(X)
    assert clean(model)
    model.get_submodule(path).error = None
    assert torch.equal(model(X), model(X))


@pytest.mark.parametrize("kind", ["forward_pre_hook", "forward_hook"])
def test_a_failing_hook_of_another_library_leaves_only_itself(kind):
    def fails(*_: Any) -> None:
        raise RuntimeError("not ours")

    model = deep()
    getattr(model[1][0], f"register_{kind}")(fails)
    with pytest.raises(RuntimeError, match="not ours"):
        with shapetrace.trace(model):
            model(X)
    assert clean(model)
    hooks = getattr(model[1][0], f"_{kind}s")
    assert list(hooks.values()) == [fails]


def test_an_installation_that_is_interrupted_half_way_leaves_nothing(monkeypatch):
    def interrupt(recorder: Any) -> Any:
        raise KeyboardInterrupt

    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    before = [list(vars(module)) for module in model.modules()]
    monkeypatch.setattr("shapetrace.recording.recorder.function_mode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        with shapetrace.trace(model):
            pass
    assert clean(model)
    assert [list(vars(module)) for module in model.modules()] == before


def test_a_module_that_cannot_be_looked_at_does_not_keep_the_batch_from_running():
    model = nn.Sequential(nn.Linear(4, 4), nn.Identity(), nn.Linear(4, 4))
    expected = model(X)
    del model[1]._forward_hooks
    with pytest.warns(shapetrace.ShapeTraceWarning, match="_forward_hooks"):
        with shapetrace.trace(model) as t:
            found = model[2](model[0](X))
    assert torch.equal(found, expected)
    assert [call.name for call in t.calls][:1] == ["0"]
    assert clean(model)


@pytest.mark.parametrize("given", [True, False])
def test_copies_made_inside_a_trace_are_plain_modules_of_their_own(given):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with shapetrace.trace(*[model] if given else []) as t:
        model(X)
        copies = [copy.deepcopy(model), copy.copy(model)]
        copies.append(pickle.loads(pickle.dumps(model)))
        calls = len(t.calls)
        with torch.no_grad():
            copies[0][0].weight.zero_()
            copies[0][0].bias.zero_()
            assert not copies[0][0](X).any()
    assert (len(t.calls) == calls) == given
    for copied in copies:
        assert [list(vars(one)) for one in copied.modules()] == [
            list(vars(one)) for one in model.modules()
        ]


@pytest.mark.parametrize("given", [True, False])
def test_a_model_scripted_inside_a_trace_computes_the_same(given):
    model = deep()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with shapetrace.trace(*[model] if given else []):
            scripted = torch.jit.script(model)
            traced = torch.jit.trace(model, X)
        assert torch.equal(scripted(X), model(X))
        assert torch.equal(traced(X), model(X))


def test_a_function_mode_of_the_user_sees_the_same_calls_with_and_without_a_trace():
    class Log(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    logs = []
    for traced in (False, True):
        seen: list[Any] = []
        with Log(), shapetrace.trace(model) if traced else contextlib.nullcontext():
            model(X).view(-1, 2).split(1)
        logs.append(seen)
    assert logs[0] == logs[1] and len(logs[0]) == 4


def test_nested_traces_both_see_their_calls_and_nothing_is_said_to_be_compiled():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    _ = torch._dynamo.eval_frame  # where it is loaded, compiled modules are looked for
    with shapetrace.trace(model) as outer:
        with shapetrace.trace(model[1]) as inner:
            model(X)
        model(X)
    assert [call.name for call in inner.calls] == ["", "0", "1"]
    assert [call.name for call in outer.calls] == ["", "0", "1", "1.0", "1.1"] * 2
    assert not inner.recording.notes and not outer.recording.notes
    sources = {call.source.line for call in (*inner.calls, *outer.calls)}
    assert len(sources) == 2  # the two lines of this test that call the model


# -- nothing is kept alive ------------------------------------------------------------


def remains(run: Callable[[list[Any]], Any]) -> tuple[Any, list[Any]]:
    """What `run` returns, and those of the objects it listed that still live."""
    listed: list[Any] = []
    kept = run(listed)
    refs = [weakref.ref(one) for one in listed]
    listed.clear()
    gc.collect()
    return kept, [ref() for ref in refs if ref() is not None]


@pytest.mark.parametrize("functions", [True, False])
def test_a_trace_keeps_no_tensor_and_no_module_alive(functions):
    def run(listed: list[Any]) -> shapetrace.Trace:
        model, x = deep(), torch.ones(2, 4)
        with shapetrace.trace(model, functions=functions) as t:
            y = model(x)
            z = y.sum()
            z.backward()
        listed += [model, *model.modules(), *model.parameters(), x, y, z]
        return t

    t, alive = remains(run)
    assert alive == []
    assert len(t.calls) == 9


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_a_trace_of_a_failed_batch_keeps_nothing_alive(error):
    def run(listed: list[Any]) -> shapetrace.Trace:
        model, x = deep(), torch.ones(2, 4)
        model[1][0].error = type(error)("fails")
        try:
            with shapetrace.trace(model) as t:
                model(x)
        except type(error):
            pass
        listed += [model, *model.parameters(), x]
        return t

    t, alive = remains(run)
    assert alive == []
    assert t.calls[0].error is not None


def test_tensors_of_a_batch_die_inside_the_trace_as_they_would_without():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    alive: list[Any] = []
    with shapetrace.trace(model), torch.no_grad():
        handle = model[0].register_forward_hook(
            lambda module, args, output: alive.append(weakref.ref(output))
        )
        model(torch.ones(2, 4))
        assert [ref() for ref in alive] == [None]
    handle.remove()


# -- the trace is a value -------------------------------------------------------------


@pytest.mark.parametrize("failed", [True, False])
def test_a_trace_can_be_pickled_and_copied(failed):
    model = deep()
    model[1][0].error = ValueError("x") if failed else None
    t = shapetrace.trace(model)
    try:
        with t:
            model(X)
    except ValueError:
        pass
    for other in (pickle.loads(pickle.dumps(t)), copy.deepcopy(t), copy.copy(t)):
        assert other == t
        assert other.calls == t.calls
        assert str(other) == str(t)
        assert other.failure == t.failure
