"""What a trial says of a repair, and that a trial leaves no trace."""

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

import shapetrace
from shapetrace.diagnosis import edits
from shapetrace.diagnosis.fixes import propose
from shapetrace.diagnosis.problem import find_problem
from shapetrace.diagnosis.tryout import Repair, Trial
from shapetrace.lineage import Graph
from shapetrace.source.constructor import changed, constructor


def failed(model, step):
    """The graph and the problem of a step that raises."""
    with pytest.raises((RuntimeError, ValueError)):
        with shapetrace.trace(model) as t:
            step(model)
    graph = Graph(t.recording)
    call = next(call for call in graph.rec.functions if call.error is not None)
    return graph, find_problem(graph, call)


def widths(*sizes):
    return nn.Sequential(*[nn.Linear(a, b) for a, b in zip(sizes[::2], sizes[1::2])])


def test_repair_that_goes_through_is_verified():
    graph, problem = failed(widths(4, 8, 6, 2), lambda m: m(torch.ones(3, 4)))
    new = changed(graph.rec.modules["1"], in_features=8)
    assert Trial(graph, problem).run(Repair(modules={"1": new})).status == "verified"


def test_repair_that_changes_nothing_for_the_failing_call_is_dropped():
    graph, problem = failed(widths(4, 8, 6, 2), lambda m: m(torch.ones(3, 4)))
    new = changed(graph.rec.modules["1"], out_features=5)
    assert Trial(graph, problem).run(Repair(modules={"1": new})) is None


def test_repair_after_which_an_earlier_layer_fails_is_moved_and_says_where():
    graph, problem = failed(widths(4, 8, 8, 6, 5, 2), lambda m: m(torch.ones(3, 4)))
    new = changed(graph.rec.modules["0"], out_features=5)
    outcome = Trial(graph, problem).run(Repair(modules={"0": new}))
    assert outcome.status == "moved"
    assert "1 expects in_features=8, gets 5" in outcome.detail


def test_repair_after_which_the_next_layer_of_a_sequential_fails_is_moved():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    graph, problem = failed(model, lambda m: m(torch.ones(2, 20, 20, 3)))
    new = changed(graph.rec.modules["0"], in_channels=20)
    outcome = Trial(graph, problem).run(Repair(modules={"0": new}))
    assert outcome.status == "moved"
    assert "too small" in outcome.detail


def test_size_that_the_code_computes_from_a_shape_leaves_a_repair_untried():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 8)
            self.b = nn.Linear(6, 2)

        def forward(self, x):
            h = self.a(x)
            return self.b(h.view(h.size(0), h.size(1)))

    graph, problem = failed(Net(), lambda m: m(torch.ones(3, 4)))
    new = changed(graph.rec.modules["a"], out_features=6)
    assert Trial(graph, problem).run(Repair(modules={"a": new})).status == "untried"


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_loss_that_would_only_broadcast_is_no_repair():
    graph, problem = failed(
        widths(4, 3), lambda m: F.mse_loss(m(torch.ones(5, 4)), torch.ones(5, 2))
    )
    target = problem.call.inputs[1].id
    one = edits.cut(1, 1, 2)
    span = (problem.call.order, problem.call.order)
    assert Trial(graph, problem).run(Repair(edits={target: one}, span=span)) is None


def test_types_are_tried_on_the_function_itself():
    graph, problem = failed(
        widths(4, 3), lambda m: F.cross_entropy(m(torch.ones(5, 4)), torch.zeros(5))
    )
    target = problem.call.inputs[1].id
    trial = Trial(graph, problem)
    indices, doubles = edits.cast(torch.int64), edits.cast(torch.float64)
    assert trial.run(Repair(edits={target: indices})).status == "verified"
    assert trial.run(Repair(edits={target: doubles})) is None


def test_proposing_draws_no_random_numbers_and_changes_no_parameter():
    model = widths(4, 8, 6, 2)
    graph, problem = failed(model, lambda m: m(torch.ones(3, 4)))
    before = torch.get_rng_state()
    values = [parameter.detach().clone() for parameter in model.parameters()]
    assert propose(graph, problem, ())
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(values, model.parameters()))


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(3, 4),
        nn.Linear(3, 4, bias=False),
        nn.Conv2d(4, 8, (3, 5), stride=2, padding=(1, 2), groups=2, bias=False),
        nn.Conv1d(3, 4, 3, padding="same", dilation=2),
        nn.ConvTranspose2d(3, 4, 2, stride=2, output_padding=1),
        nn.BatchNorm2d(8, eps=1e-3, affine=False),
        nn.LayerNorm((4, 5)),
        nn.GroupNorm(2, 8),
        nn.Embedding(10, 3, padding_idx=0),
        nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True, bias=False),
        nn.RNN(3, 4, nonlinearity="relu"),
        nn.MultiheadAttention(8, 2, batch_first=True),
        nn.MaxPool2d(3, stride=2),
        nn.MaxPool2d(3),
    ],
    ids=str,
)
def test_constructor_builds_the_same_module(module):
    with shapetrace.trace(nn.ModuleDict({"it": module})) as t:
        pass
    text = constructor(t.recording.modules["it"])
    built = eval(text, {"nn": nn})
    assert str(built) == str(module)
    shapes = [[p.shape for p in each.parameters()] for each in (built, module)]
    assert shapes[0] == shapes[1]
