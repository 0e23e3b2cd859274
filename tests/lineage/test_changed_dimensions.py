"""What dimensions are made of in a program of which some calls are changed."""

from __future__ import annotations

from dataclasses import replace

import torch

import shapetrace
from shapetrace.lineage import Graph
from shapetrace.lineage.changed_dimensions import ChangedAxes, Made
from shapetrace.lineage.dimensions import Axes


def recorded(step):
    model = torch.nn.Linear(3, 5)
    with shapetrace.trace(model) as t:
        step(model)
    return Graph(t.recording)


def call_of(graph, name):
    return next(call for call in graph.program if call.name == name)


def test_a_sum_over_another_dimension_leaves_the_features():
    graph = recorded(lambda model: model(torch.ones(4, 3)).sum(1))
    axes, call = Axes(graph), call_of(graph, "sum")
    made = call.outputs[0]
    assert {root[0] for root in axes.roots(made.id, 0)} == {"data"}
    changed = ChangedAxes(axes)
    other = replace(made, shape=(5,))
    changed.take(replace(call, args=(call.args[0], 0), outputs=(other,)), {})
    assert {root[0] for root in changed.roots(made.id, 0)} == {"parameter"}
    # what was recorded is as it was
    assert {root[0] for root in axes.roots(made.id, 0)} == {"data"}


def test_an_edited_input_is_a_tensor_of_its_own():
    graph = recorded(lambda model: model(torch.ones(4, 3)).exp())
    call = call_of(graph, "exp")
    ref = call.inputs[0]
    changed = ChangedAxes(Axes(graph))
    turned = changed.given(call, {ref.id: [Made((5, 4), [(1,), (0,)])]}).inputs[0]
    assert turned.id != ref.id
    assert {root[0] for root in changed.roots(turned.id, 0)} == {"parameter"}
    assert changed.sole(turned.id, 1) is not None
    assert changed.sole(ref.id, 0) is not None


def test_joined_dimensions_keep_their_factors_and_dealt_ones_are_unknown():
    graph = recorded(lambda model: model(torch.ones(4, 3)).exp())
    call = call_of(graph, "exp")
    ref = call.inputs[0]
    changed = ChangedAxes(Axes(graph))
    joined = changed.given(call, {ref.id: [Made((20,), [(0, 1)])]}).inputs[0]
    assert [axis.size for axis in changed.of(joined.id, 0)] == [4, 5]
    dealt = changed.given(call, {ref.id: [Made((10, 2), None)]}).inputs[0]
    assert not changed.sure(dealt.id, 0)
    half = changed.given(call, {ref.id: [Made((2, 5), [(0,), (1,)])]}).inputs[0]
    assert [axis.size for axis in changed.of(half.id, 0)] == [2]
    assert changed.sole(half.id, 0) == changed.sole(ref.id, 0)
