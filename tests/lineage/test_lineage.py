"""`t.lineage(tensor, dim)`: who made a tensor, and where one of its sizes began."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import shapetrace
from shapetrace.lineage import Graph, fold, steps
from shapetrace.records import Step


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * 13 * 13, 50)
        self.fc2 = nn.Linear(50, 73)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(F.relu(self.conv(x))).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


def names(way: tuple[Step, ...]) -> list[str]:
    return [step.name for step in way]


def recorded(way: tuple[Step, ...]) -> list[str | None]:
    """Modules as the recording names them: `name` has the root's by the script."""
    return [step.name if step.type == "function" else step.module for step in way]


def traced(
    run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, *modules: nn.Module
) -> tuple[shapetrace.Trace, torch.Tensor]:
    with shapetrace.trace(*modules, checks=False) as t:
        y = run(x)
    return t, y


def ends(t: shapetrace.Trace, x: torch.Tensor, dim: int) -> list[tuple[str, int]]:
    """Kind and size of every beginning of a size."""
    graph = t._graph
    (ident,) = {ref.id for ref in graph.tensors.values() if ref.id == t._id(x, "end")}
    return [(e.kind, graph.size(e.tensor, e.dim)) for e in graph.ends(ident, dim)]


@pytest.mark.parametrize(
    "mode", [torch.enable_grad, torch.no_grad, torch.inference_mode]
)
def test_a_width_leads_to_its_layer_with_and_without_autograd(mode) -> None:
    model = Cnn()
    with mode():
        t, y = traced(model, torch.ones(2, 1, 28, 28), model)
    (step,) = t.lineage(y, 1)
    assert (step.name, step.type, step.how, step.sure) == (
        "fc2",
        "Linear",
        "out_features",
        True,
    )
    assert recorded(t.lineage(y)) == [
        "fc2",
        "relu",
        "fc1",
        "flatten",
        "pool",
        "relu",
        "conv",
    ]
    assert ends(t, y, 0) == [("data", 2)]


PASSING: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "detach": lambda x: x.detach(),
    "to": lambda x: x.to(torch.float64),
    "in place": lambda x: x.add_(1).relu_(),
    "view": lambda x: x.view(5, 3, 4).view(15, 4),
    "slice": lambda x: x[:, :],
    "setitem": lambda x: x.__setitem__(0, 1.0) or x,
    "clone": lambda x: x.clone().contiguous(),
    "cat": lambda x: torch.cat([x, x], 1)[:, :4],
    "stack": lambda x: torch.stack([x, x])[0],
    "einsum": lambda x: torch.einsum("ab,cb->ac", x, torch.ones(4, 4)),
    "T": lambda x: x.T.T,
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "module": lambda x: nn.Sequential(nn.ReLU(), nn.Dropout())(x),
}


@pytest.mark.parametrize("way", PASSING)
def test_a_size_is_followed_to_the_data_it_came_with(way: str) -> None:
    with torch.no_grad():
        t, y = traced(lambda x: PASSING[way](x + 0), torch.ones(15, 4))
    assert set(ends(t, y, 0)) == {("data", 15)}
    assert "add" in names(t.lineage(y, 0))
    assert all(step.sure for step in t.lineage(y, 0))


def test_transposed_dimensions_keep_their_own_ways() -> None:
    layer = nn.Linear(4, 7)
    t, y = traced(lambda x: layer(x).T, torch.ones(3, 4), layer)
    assert [step.type for step in t.lineage(y, 0)] == ["function", "Linear"]
    assert t.lineage(y, 0) == t.lineage(y, -2)
    assert ends(t, y, 1) == [("data", 3)]


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 12)
        self.lstm = nn.LSTM(12, 20, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(40, 4, batch_first=True)
        self.out = nn.Linear(40, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, _ = self.lstm(self.embedding(x))
        a, _ = self.attention(h, h, h)
        return self.out(torch.cat([a, h], 1))


def test_through_embedding_lstm_attention_and_cat() -> None:
    model = Sequence()
    t, y = traced(model, torch.zeros(3, 9, dtype=torch.int64), model)
    assert ends(t, y, 0) == [("data", 3)]
    assert set(ends(t, y, 1)) == {("data", 9)}
    assert ends(t, y, 2) == [("parameter", 7)]
    (cat,) = [step for step in t.lineage(y, 1) if step.name == "cat"]
    assert cat.how.startswith("9 + 9")
    order = ["out", "cat", "attention", "lstm", "embedding"]
    assert list(dict.fromkeys(recorded(t.lineage(y, 0)))) == order


def test_a_product_is_shown_as_its_factors_each_with_its_way() -> None:
    model = Cnn()
    with shapetrace.trace(model) as t:
        model(torch.randn(2, 1, 28, 28))
    (flatten,) = [call for call in t.functions if call.name == "flatten"]
    assert flatten.outputs is not None
    way = steps(t._graph, flatten.outputs[0].id, 1)
    assert way[0].how.startswith("16·13·13: 16 is model.conv's out_channels, 13 ")
    parts = list(zip(recorded(way), [step.part for step in way], strict=True))
    assert parts == [
        ("flatten", ""),
        ("pool", "16"),
        ("relu", "16"),
        ("conv", "16"),
        ("pool", "13"),  # once for height and width, which go the same way
        ("relu", "13"),
        ("conv", "13"),
        ("randn", "13"),
    ]


def test_a_joined_dimension_that_is_split_again_keeps_its_factors() -> None:
    """Time steps put into the batch for a layer, and taken out of it afterwards."""
    layer = nn.Linear(5, 6)

    def each_step(x: torch.Tensor) -> torch.Tensor:
        return layer(x.view(12, 5)).relu().view(4, 3, 6)

    t, y = traced(each_step, torch.ones(4, 3, 5), layer)
    assert [ends(t, y, dim) for dim in range(3)] == [
        [("data", 4)],
        [("data", 3)],
        [("parameter", 6)],
    ]


@pytest.mark.parametrize(
    ("shape", "factors"),
    [
        ((4, 15), [[4], [3, 5]]),
        ((12, 5), [[4, 3], [5]]),
        ((2, 30), [[4], [4, 3, 5]]),  # 2 of the 4; the 30 cannot be told apart
        ((2, 2, 15), [[4], [4], [3, 5]]),
    ],
)
def test_a_view_splits_a_joined_size_where_its_factors_meet(shape, factors) -> None:
    t, y = traced(lambda x: (x + 0).view(60).view(shape), torch.ones(4, 3, 5))
    found = [[size for _, size in ends(t, y, dim)] for dim in range(len(shape))]
    assert found == factors


def test_between_modules_the_functions_are_steps_without_a_module() -> None:
    first, second = nn.Linear(4, 6), nn.Linear(6, 2)
    t, y = traced(lambda x: second(first(x).tanh()), torch.ones(3, 4), first, second)
    way = t.lineage(y)
    assert names(way) == ["second", "tanh", "first"]
    assert [step.module for step in way] == ["Linear_2", None, "Linear"]
    assert way[1].module is None and way[1].function is not None


def test_a_shared_module_is_met_once_a_call() -> None:
    layer = nn.Linear(4, 4)
    t, y = traced(lambda x: layer(layer(layer(x))), torch.ones(2, 4), layer)
    assert len({step.call for step in t.lineage(y)}) == len(t.lineage(y)) == 3


def test_recomputation_leaves_the_lineage_as_it_was() -> None:
    layer = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    with shapetrace.trace(layer, checks=False) as t:
        y = checkpoint(layer, torch.ones(3, 4, requires_grad=True), use_reentrant=False)
        y.sum().backward()
    assert any(call.recomputed for call in t.calls)
    way = t.lineage(y, 1)
    assert (way[-1].type, way[-1].how) == ("Linear", "out_features")
    assert way[-1].call is not None and not t.calls[way[-1].call].recomputed


# -- without functions ----------------------------------------------------------------


def test_without_functions_unseen_code_is_bridged_by_marked_guesses() -> None:
    model = Cnn()
    with torch.no_grad(), shapetrace.trace(model, functions=False) as t:
        y = model(torch.ones(2, 1, 28, 28))
    way = t.lineage(y)
    seen = [step for step in way if step.sure]
    assert recorded(tuple(seen)) == ["fc2", "fc1", "pool", "conv"]
    guessed = [step for step in way if not step.sure]
    assert {step.name for step in guessed} == {"unseen code"}
    assert all(step.function is None for step in guessed)
    assert not t._graph.trail(t._id(y, "end"), 0).sure
    (fc2,) = t.lineage(y, 1)
    assert fc2.sure and fc2.how == "out_features"


def test_without_functions_a_target_is_never_taken_for_an_output() -> None:
    model = nn.ModuleList([nn.Linear(4, 3), nn.MSELoss()])
    with shapetrace.trace(model, functions=False, checks=False) as t:
        model[1](model[0](torch.ones(2, 4)), torch.zeros(2, 3))
    target = t.calls[-1].inputs[1]
    assert t._graph.producer(target.id) is None
    assert t._graph.is_data(target.id)


def test_without_functions_unseen_code_never_leads_to_a_later_call() -> None:
    model = Cnn()
    with shapetrace.trace(model, functions=False) as t:
        for _ in range(2):
            model(torch.ones(2, 1, 28, 28))
    graph = t._graph
    for call in t.calls:
        for ref in call.inputs:
            made = graph.producer(ref.id)
            assert made is None or all(other.id != ref.id for other in made.inputs)
            assert len(list(graph.chain(ref.id))) <= 7


# -- as data --------------------------------------------------------------------------


def test_a_loaded_trace_has_the_same_lineage(tmp_path: Path) -> None:
    model = Cnn()
    t, y = traced(model, torch.ones(2, 1, 28, 28), model)
    t.to_json(tmp_path / "trace.json")
    read = Graph(shapetrace.load(tmp_path / "trace.json").recording)
    ident = t._id(y, "end")
    for dim in (None, 0, 1):
        assert steps(read, ident, dim) == steps(t._graph, ident, dim)


def test_from_model_tells_predictions_from_targets() -> None:
    layer = nn.Linear(4, 3)
    with shapetrace.trace(layer, checks=False) as t:
        y, target = layer(torch.ones(2, 4)) * 2, torch.zeros(2, 3) + 1
    assert t._graph.from_model(t._id(y, "end"))
    assert not t._graph.from_model(t._id(target, "end"))


def test_long_stretches_that_pass_a_size_on_are_folded_with_their_count() -> None:
    model = nn.Sequential(nn.Linear(4, 6), *[nn.ReLU() for _ in range(300)])
    t, y = traced(model, torch.ones(2, 4), model)
    folded = fold(t.lineage(y, 1))
    assert [step.count for step in folded] == [1, 299, 1]
    assert sum(step.count for step in folded) == len(t.lineage(y, 1))
    assert recorded(folded)[-1] == "0"


def test_a_deep_chain_is_walked_without_recursion() -> None:
    def deep(x: torch.Tensor) -> torch.Tensor:
        for _ in range(3000):
            x = torch.cat([x, x[:1]])[1:]
        return x

    t, y = traced(deep, torch.ones(3, 2))
    assert names(t.lineage(y, 1)) == ["getitem", "cat"] * 3000
    assert len(t.lineage(y, 0)) >= 6000


def test_a_joined_size_is_told_as_a_sum_and_a_merged_one_as_a_product():
    layer = nn.Linear(4, 5)
    with shapetrace.trace(layer) as t:
        y = layer(torch.ones(2, 3, 4)).view(6, 5)
        z = torch.cat([y, y], dim=1)
    said = t.explain(z).message
    assert "dim 0 = 6: 2·3 joined by `view`" in said
    assert "dim 1 = 10: 5 + 5 joined by `cat`" in said
