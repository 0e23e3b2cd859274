"""One thought counts once, however it may be written."""

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.diagnosis.consider import consider
from shapetrace.diagnosis.explain import mismatch_of
from shapetrace.lineage import Graph


def test_a_dimension_put_in_at_the_end_is_one_hypothesis_of_one_tensor():
    model, weights = nn.Linear(4, 3), torch.rand(8)
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        (model(torch.randn(8, 4)) * weights).sum().backward()
    graph = Graph(t.recording)
    found = [entry.hypothesis for entry in consider(graph, mismatch_of(graph)).scored]
    columns = [
        one.line
        for one in found
        if one.form == "insert" and one.repair.taken
        for taken in one.repair.taken
        if graph.tensors[taken.tensor].shape == (8,)
        and one.edit.apply(graph.tensors[taken.tensor]).shape == (8, 1)
    ]
    assert len(columns) == 1 and "weights[..., None]" in columns[0]
