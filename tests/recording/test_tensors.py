"""Nested values: no tensor is lost, and each has the path by which it is reached."""

from __future__ import annotations

import copy
import gc
import warnings
import weakref
from collections import OrderedDict, deque, namedtuple
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest
import torch
from construct_values import Endless, Refuses, SaysTensor, TooFewNames
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invariants import check_invariants
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import shapetrace

Pair = namedtuple("Pair", "left right")


@dataclass
class Out:
    """A dataclass as models return them."""

    logits: Any
    extra: Any = None
    names: list[str] = field(default_factory=list)


class Same(nn.Module):
    """Hands on what it is given."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return kwargs.get("value", args[0] if args else None)


def paths(value: Any, functions: bool = True) -> list[tuple[str, tuple[int, ...]]]:
    """Path and shape of each tensor of the output, `value` being handed through."""
    model = Same()
    with shapetrace.trace(model, functions=functions) as t:
        assert model(value) is value
    check_invariants(t.recording)
    (call,) = t.calls
    assert [ref.shape for ref in call.inputs] == [ref.shape for ref in call.outputs]
    return [(ref.path, ref.shape) for ref in call.outputs]


def one(size: int) -> torch.Tensor:
    return torch.zeros(size)


CASES = [
    (one(1), ["output"]),
    ((one(1), one(2)), ["output[0]", "output[1]"]),
    ([one(1), (one(2),)], ["output[0]", "output[1][0]"]),
    ({"a": one(1), 3: one(2)}, ["output['a']", "output[3]"]),
    (OrderedDict(a=[one(1)]), ["output['a'][0]"]),
    (Pair(one(1), {"x": one(2)}), ["output.left", "output.right['x']"]),
    (Out(one(1), [None, one(2)]), ["output.logits", "output.extra[1]"]),
    (deque([one(1), one(2)]), ["output[0]", "output[1]"]),
    ((None, "text", 3, one(1), object()), ["output[3]"]),
    (torch.return_types.max((one(1), one(2))), ["output[0]", "output[1]"]),
    (None, []),
    ((), []),
    ({"a": {"b": [{"c": one(1)}]}}, ["output['a']['b'][0]['c']"]),
    # what says of itself what is not so, or will not be looked into
    (Endless([one(1)]), ["output[0]"]),
    (Refuses(x=one(1)), ["output['x']"]),
    (TooFewNames((one(1), one(2))), ["output[0]", "output[1]"]),
    (SaysTensor(), []),
]


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize(("value", "expected"), CASES, ids=lambda v: str(type(v)))
def test_each_tensor_has_its_path(value, expected, functions):
    found = paths(value, functions)
    assert [path for path, _ in found] == expected
    assert [shape for _, shape in found] == [(n,) for n in range(1, len(found) + 1)]


def test_a_packed_sequence_shows_its_data_and_its_lengths():
    packed = pack_padded_sequence(torch.ones(3, 5, 8), torch.tensor([5, 2, 1]), True)
    found = dict(paths(packed))
    assert found["output.data"] == (8, 8)
    assert found["output.batch_sizes"] == (5,)


def test_a_model_output_of_transformers_is_addressed_by_its_fields():
    outputs = pytest.importorskip("transformers.modeling_outputs")
    value = outputs.BaseModelOutput(last_hidden_state=one(1), hidden_states=(one(2),))
    assert [path for path, _ in paths(value)] == [
        "output['last_hidden_state']",
        "output['hidden_states'][0]",
    ]


def test_keyword_arguments_have_their_names():
    model = Same()
    with shapetrace.trace(model) as t:
        model(one(1), value=[one(2)], mask=one(3), flag=True)
    assert [ref.path for ref in t.calls[0].inputs] == [
        "args[0]",
        "kwargs['value'][0]",
        "kwargs['mask']",
    ]


def test_a_container_inside_itself_ends():
    value: list[Any] = [one(1)]
    value.append(value)
    assert ("output[0]", (1,)) in paths(value)


def test_a_container_twice_inside_itself_ends_at_once():
    value: list[Any] = [one(1)]
    value += [value, {"again": value}]
    assert paths(value) == [("output[0]", (1,))]


def test_a_tensor_far_down_is_listed():
    value: Any = one(1)
    for _ in range(60):
        value = [value]
    assert paths(value) == [("output" + "[0]" * 60, (1,))]


class Color(Enum):
    """Keys of a dict."""

    RED = 1


@pytest.mark.parametrize("functions", [True, False])
def test_the_keys_of_a_dict_are_not_kept_alive(functions, tmp_path):
    key = torch.ones(2)
    alive = weakref.ref(key)
    model = Same()
    with shapetrace.trace(model, functions=functions) as t:
        model({key: one(1), Color.RED: one(2), ("a", 1): one(3)})
    del key
    gc.collect()
    assert alive() is None
    assert [(ref.path, ref.shape) for ref in t.calls[0].outputs] == [
        ("output[<Tensor 0>]", (1,)),
        ("output[<Color.RED>]", (2,)),
        ("output[('a', 1)]", (3,)),
    ]
    t.to_json(tmp_path / "report.json")
    assert shapetrace.load(tmp_path / "report.json") == t


class Closed(Mapping):
    """Lets nobody look into it."""

    def __getitem__(self, key: Any) -> Any:
        raise RuntimeError("closed")

    def __iter__(self) -> Any:
        raise RuntimeError("closed")

    def __len__(self) -> int:
        raise RuntimeError("closed")


@dataclass
class Guarded:
    """One field of it cannot be read."""

    open: Any
    shut: Any = None

    def __getattribute__(self, name: str) -> Any:
        if name == "shut":
            raise RuntimeError("shut")
        return super().__getattribute__(name)


def test_a_container_that_cannot_be_looked_into_costs_no_other_tensor():
    model = Same()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with shapetrace.trace(model) as t:
            model((Closed(), Guarded(one(1)), one(2)), value=Closed())
    (call,) = t.calls
    assert [ref.path for ref in call.inputs] == ["args[0][1].open", "args[0][2]"]
    assert call.output_type == "Closed"


def test_a_container_that_is_not_known_is_told_by_its_type():
    class Box:
        """Holds a tensor where nobody looks."""

    model = Same()
    with shapetrace.trace(model) as t:
        model(Box())
    assert t.calls[0].outputs == ()
    assert t.calls[0].output_type.endswith("Box")


def test_a_tensor_that_appears_twice_is_listed_twice_with_one_id():
    x = one(1)
    model = Same()
    with shapetrace.trace(model) as t:
        model((x, x))
    first, second = t.calls[0].inputs
    assert first.id == second.id and first.path != second.path


def containers(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(parts, max_size=4),
        st.lists(parts, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=3) | st.integers(), parts, max_size=4),
        st.tuples(parts, parts).map(lambda pair: Pair(*pair)),
        st.builds(Out, parts, parts),
        st.lists(parts, max_size=3).map(deque),
    )


PLAIN = st.none() | st.integers() | st.text(max_size=3) | st.just(object())
SHAPES = st.lists(st.integers(0, 3), max_size=3)
VALUES = st.recursive(SHAPES.map(torch.zeros) | PLAIN, containers, max_leaves=15)


def shapes(value: Any) -> list[tuple[int, ...]]:
    """The shapes of a nested value's tensors, found without shapetrace."""
    if isinstance(value, torch.Tensor):
        return [tuple(value.shape)]
    if isinstance(value, dict):
        value = list(value.values())
    elif isinstance(value, Out):
        value = [value.logits, value.extra]
    if isinstance(value, (list, tuple, deque)):
        return [shape for part in value for shape in shapes(part)]
    return []


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=VALUES, functions=st.booleans())
def test_flattening_loses_no_tensor(value, functions):
    model = nn.Sequential(Same(), Same())
    with shapetrace.trace(model, functions=functions) as t:
        model(value)
    check_invariants(t.recording)
    for call in t.calls:
        assert [ref.shape for ref in call.inputs] == shapes(value)
        assert [ref.shape for ref in call.outputs] == shapes(value)


PROGRAMS = st.lists(st.sampled_from(["layer", "inplace", "view", "pair"]), max_size=8)


class Program(nn.Module):
    """Runs a list of operations; an operation may be a program of its own."""

    def __init__(self, steps: list[str], depth: int) -> None:
        super().__init__()
        self.steps = steps
        self.fc = nn.Linear(4, 4)
        if depth:
            self.inner = Program(copy.copy(steps), depth - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            if step == "layer":
                x = self.fc(x)
            elif step == "inplace":
                x = x.clone()
                x.mul_(2)
            elif step == "view":
                x = x.view(4, -1).view(-1, 4)
            elif hasattr(self, "inner"):
                x = x + self.inner(x)
        return x


@settings(max_examples=30, deadline=None)
@given(steps=PROGRAMS, depth=st.integers(0, 2), functions=st.booleans())
def test_each_id_has_one_producer_and_parents_nest(steps, depth, functions):
    model = Program(steps, depth)
    with shapetrace.trace(model, functions=functions) as t:
        model(torch.ones(2, 4)).sum()
    check_invariants(t.recording)
    assert [ref.shape for ref in t.calls[0].outputs] == [(2, 4)]


def test_a_parameter_that_is_frozen_by_its_attribute_is_recorded_as_by_its_method():
    model = nn.Linear(3, 2)
    with shapetrace.trace(model) as t:
        model.weight.requires_grad = False
        model.bias.requires_grad_(False)
        model(torch.ones(1, 3))
    frozen = [call for call in t.functions if call.name == "requires_grad_"]
    assert [call.args[1] for call in frozen] == [False, False]
    assert [call.inputs[0].shape for call in frozen] == [(2, 3), (2,)]
    assert not model.weight.requires_grad and not model.bias.requires_grad


@pytest.mark.parametrize("options", [{}, {"functions": False}, {"max_calls": 1}])
def test_a_view_of_which_torch_does_not_say_who_made_it_is_an_input(options):
    base = torch.ones(4, requires_grad=True) * 1
    with torch.no_grad():
        view = base[:2]
    base.mul_(2)
    with shapetrace.trace(model := nn.ReLU(), **options) as t, torch.no_grad():
        assert torch.equal(model(view), torch.full((2,), 2.0))
        model(view)
    assert t.calls[-1].inputs[0].shape == (2,)
    assert not [note for note in t.recording.notes if "fault" in note]
