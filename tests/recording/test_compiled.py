"""Compiled, exported and traced code inside the block: right results, nothing lost
afterwards, and a note only where something compiled was met."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

X = torch.linspace(-1, 1, 8).reshape(2, 4)

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*flex_attention"
)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


class Counting:
    """A backend that counts how often it is asked to compile."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, example: Any) -> Any:
        self.count += 1
        return graph.forward


def told(t: shapetrace.Trace) -> bool:
    return any("eager" in note for note in t.recording.notes)


class Net(nn.Sequential):
    """Of one's own: torch 2.9 does not compile a forward of torch's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self:
            x = layer(x)
        return x


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return Net(nn.Linear(4, 4), nn.LeakyReLU())


@pytest.mark.parametrize("functions", [True, False])
def test_a_warm_function_with_fullgraph_takes_new_shapes_afterwards(functions):
    backend = Counting()
    twice = torch.compile(lambda v: (v * 2).relu(), backend=backend, fullgraph=True)
    expected = twice(X)
    with shapetrace.trace(functions=functions) as t:
        assert torch.equal(twice(X), expected)
    twice(X)
    assert backend.count == 1
    twice(torch.ones(3, 4))
    assert backend.count == 2
    assert told(t) == functions  # without functions nothing of it is seen


@pytest.mark.parametrize("way", ["torch.compile", "Module.compile"])
def test_a_module_compiled_inside_has_its_rows_and_is_compiled_afterwards(way):
    import torch._dynamo.eval_frame  # noqa: F401

    backend, net = Counting(), model()
    expected = net(X)
    with shapetrace.trace(net) as t:
        run: Any = net
        if way == "torch.compile":
            run = torch.compile(net, backend=backend, fullgraph=True)
        else:
            net.compile(backend=backend)
        assert torch.equal(run(X), expected)
    assert [call.name for call in t.calls] == ["", "0", "1"] and told(t)
    assert backend.count == 0
    for _ in range(2):
        assert torch.equal(run(X), expected)
    assert backend.count == 1


def test_what_torch_compiles_by_itself_runs_and_is_not_said_to_be_compiled():
    from torch._higher_order_ops.while_loop import while_loop
    from torch.nn.attention.flex_attention import flex_attention

    q, net = torch.randn(1, 1, 16, 8), model()
    programs: list[Callable[[], torch.Tensor]] = [
        lambda: flex_attention(q, q, q),
        lambda: torch.cond(
            X.sum() > 9, lambda a: net(a).sin(), lambda a: a.cos(), (X,)
        ),
        lambda: while_loop(
            lambda i, a: i < 3, lambda i, a: (i + 1, a * 2), (torch.tensor(0), X)
        )[1],
    ]
    with torch.no_grad():
        for program in programs:
            expected = program()
            for options in ({}, {"functions": False}, {"memory": True}):
                with shapetrace.trace(**options) as t:
                    assert torch.equal(program(), expected)
                assert t.recording.notes == ()


def without_places(graph: object) -> str:
    return re.sub(r"#.*|___torch_mangle_\d+\.", "", str(graph))


GRAPHS: dict[str, Callable[[nn.Module], object]] = {
    "export": lambda net: torch.export.export(net, (X,)).graph,
    "symbolic_trace": lambda net: torch.fx.symbolic_trace(net).code,
    "make_fx": lambda net: torch.fx.experimental.proxy_tensor.make_fx(
        lambda v: F.cross_entropy(net(v), torch.tensor([1, 2]))
    )(X).code,
    "make_fx of symbolic sizes": lambda net: torch.fx.experimental.proxy_tensor.make_fx(
        net, tracing_mode="symbolic", _allow_non_fake_inputs=True
    )(X).code,
    "jit.trace": lambda net: torch.jit.trace(net, X).inlined_graph,
    "jit.trace of a function": lambda net: torch.jit.trace(
        lambda v: F.relu(v).view(-1), X
    ).graph,
    "jit.script": lambda net: torch.jit.script(net).inlined_graph,
}


@pytest.mark.parametrize(
    "options",
    [{}, {"functions": False}, {"max_calls": 2}, {"memory": True, "backward": True}],
)
@pytest.mark.parametrize("way", GRAPHS)
def test_a_graph_taken_inside_holds_nothing_of_ours(way, options):
    import torch.fx.experimental.proxy_tensor  # noqa: F401

    net = model().eval()
    expected = without_places(GRAPHS[way](net))
    with shapetrace.trace(net, **options) as t:
        found = without_places(GRAPHS[way](net))
        net(X)
    assert found == expected
    assert t.calls[-1].name == "1"
    # of a function alone hooks see nothing, and there is nothing to be said
    met = way == "jit.trace" or ("jit.trace" in way and options.get("functions", True))
    assert any("jit.trace" in note for note in t.recording.notes) == met


def test_a_frozen_scripted_module_is_one_row():
    frozen = torch.jit.freeze(torch.jit.script(model().eval()))
    net = nn.Sequential(nn.Linear(4, 4), frozen)
    with shapetrace.trace(net) as t:
        net(X)
    assert [call.name for call in t.calls] == ["", "0", "1"]
    assert t.calls[-1].outputs[0].shape == (2, 4)


def test_the_losses_of_per_sample_gradients_are_recorded():
    net, target = nn.Sequential(nn.Linear(4, 3)), torch.tensor([0, 2])
    weights = dict(net.named_parameters())

    def loss(weights: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(net, weights, (x[None],))
        return F.cross_entropy(logits, y[None])

    each = torch.vmap(torch.func.grad(loss), (None, 0, 0))
    expected = each(weights, X, target)
    with shapetrace.trace(net) as t:
        found = each(weights, X, target)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert [call.name for call in t.calls] == ["", "0"]
    assert [one.name for one in t.losses] == ["cross_entropy"]
    assert t.recording.notes == ()


def raised_in_a_block(program: Callable[[], object]) -> Exception:
    net = model()
    with pytest.raises(Exception) as raised, shapetrace.trace(net):
        net(X)
        program()
    return raised.value


def test_that_no_graph_is_taken_while_there_are_hooks_of_all_modules_is_said():
    net = model().eval()
    assert torch.export.export(net, (X,), strict=True) is not None
    error = raised_in_a_block(lambda: torch.export.export(net, (X,), strict=True))
    if type(error).__module__ != "torch._dynamo.exc":
        pytest.skip("torch 2.9 ends with an assertion of its own")
    assert "take it before the block" in error.__notes__[0]


def test_that_nothing_is_exchanged_that_is_referred_to_is_said():
    weight = torch.ones(2)

    def swap() -> None:
        torch.utils.swap_tensors(weight, torch.ones(2))

    swap()
    error = raised_in_a_block(lambda: (weight + 1, swap()))
    assert "exchange it outside" in error.__notes__[0]


def test_of_other_exceptions_it_is_not_said():
    error = raised_in_a_block(lambda: F.linear(X, torch.ones(3, 3)))
    assert "the block" not in error.__notes__[0]
