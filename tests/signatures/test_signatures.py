"""What the signatures say of single calls: conflicts, stretches, guesses, layers."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rule_coverage import coverage
from signature_records import record
from torch import nn

import shapetrace
from shapetrace.records import FunctionCall, ModuleCall, ModuleInfo, TensorRef
from shapetrace.signatures import (
    broadcasts,
    conflicts,
    is_loss,
    loss_input,
    loss_target,
    module_function,
    relate,
    relate_module,
)
from shapetrace.signatures.language import SignatureError, parse
from shapetrace.signatures.table import lines, signatures

R = torch.rand


def labels(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.long)


def told(call: FunctionCall) -> list[tuple[Any, ...]]:
    """The conflicts as plain tuples: kind, name, left, right."""
    assert call.error is not None
    return [
        (
            c.kind,
            c.name,
            (c.left.input, c.left.dim, c.left.size),
            (c.right.input, c.right.dim, c.right.size),
        )
        for c in conflicts(call)
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("linear *batch -> *batch", "write name(parameter, parameter)"),
        ("f(a)  n", "exactly one arrow"),
        ("f(a)  n -> n -> n", "exactly one arrow"),
        ("f(a, a)  n, n -> n", "listed twice"),
        ("f(a)  n, n -> n", "2 shapes for 1 parameters"),
        ("f(a)  n! -> n", "'n!' is no dimension"),
        ("f(a)  n' -> n", "only an output can have it; write 'n'"),
        ("f(a)  n -> m", "'m' stands in an output"),
        ("f(a)  n => n, n", "exactly one output"),
    ],
)
def test_a_line_that_cannot_be_read_says_what_to_write(line: str, words: str) -> None:
    with pytest.raises(SignatureError) as raised:
        parse(line)
    assert words in str(raised.value)


def test_every_line_of_the_table_can_be_read() -> None:
    for name in lines():
        assert all(signature.name == name for signature in signatures(name))


@pytest.mark.parametrize(
    ("call", "first"),
    [
        (
            record(F.linear, R(1, 1568), R(10, 2048)),
            ("size", "in_features", (0, 1, 1568), (1, 1, 2048)),
        ),
        (
            record(F.conv2d, R(2, 1, 8, 8), R(6, 3, 5, 5)),
            ("size", "in_channels", (0, 1, 1), (1, 1, 3)),
        ),
        (
            record(F.conv2d, R(8, 8), R(6, 3, 5, 5)),
            ("rank", "input", (0, None, 2), (None, None, 4)),
        ),
        (
            record(F.cross_entropy, R(320, 20), labels(288)),
            ("size", "batch", (0, 0, 320), (1, 0, 288)),
        ),
        (
            record(F.cross_entropy, R(2, 73), labels(2, 20)),
            ("rank", "target", (0, None, 1), (1, None, 2)),
        ),
        (
            record(F.cross_entropy, R(4, 10, 5), labels(4, 10)),
            ("size", "space", (0, 2, 5), (1, 1, 10)),
        ),
        (
            record(F.cross_entropy, R(4, 10), R(4, 9)),
            ("size", "classes", (0, 1, 10), (1, 1, 9)),
        ),
        (
            record(F.binary_cross_entropy, R(5, 1), R(5)),
            ("rank", "target", (0, None, 2), (1, None, 1)),
        ),
        (
            record(torch.Tensor.view, R(32, 10), 20, 17),
            ("numel", "numel", (0, None, 320), (None, None, 340)),
        ),
        (
            record(torch.Tensor.view, R(32, 10), -1, 7),
            ("divisible", "numel", (0, None, 320), (None, None, 7)),
        ),
        (
            record(torch.cat, [R(2, 3), R(4, 3)], 1),
            ("size", "dim 0", (0, 0, 2), (1, 0, 4)),
        ),
        (
            record(torch.Tensor.add, R(2, 73), R(33)),
            ("size", "", (0, 1, 73), (1, 0, 33)),
        ),
        (
            record(torch.bmm, R(2, 3, 4), R(2, 5, 6)),
            ("size", "k", (0, 2, 4), (1, 1, 5)),
        ),
        (
            record(F.layer_norm, R(2, 4), (5,)),
            ("size", "normalized_shape", (0, 1, 4), (None, None, 5)),
        ),
        (
            record(torch.einsum, "ij,jk->ik", R(2, 3), R(4, 5)),
            ("size", "j", (0, 1, 3), (1, 0, 4)),
        ),
        (
            record(torch.Tensor.expand, R(2, 3), 2, 4),
            ("size", "expand", (0, 1, 3), (None, None, 4)),
        ),
        (
            record(torch.Tensor.__setitem__, R(3, 4), 0, R(5)),
            ("size", "value", (0, 1, 4), (1, 0, 5)),
        ),
        (
            record(F.interpolate, R(2, 64, 5), (32, 32)),
            ("rank", "input", (0, None, 3), (None, None, 4)),
        ),
        (
            record(F.linear, R(8, 10), R(3, 16, 10), R(3, 16)),
            ("rank", "weight", (1, None, 3), (None, None, 2)),
        ),
        (
            record(F.softmax, R(2, 3), dim=2),
            ("rank", "input", (0, None, 2), (None, None, 3)),
        ),
    ],
)
def test_the_first_conflict_is_the_dimension_to_look_at(
    call: FunctionCall, first: tuple[Any, ...]
) -> None:
    assert told(call)[0] == first


def origins(call: FunctionCall, output: int = 0) -> list[tuple[Any, ...]]:
    return [(dim.how, dim.sources) for dim in relate(call).outputs[output]]


def test_a_view_that_merges_batch_and_time_keeps_its_features() -> None:
    call = record(torch.Tensor.view, R(32, 10, 20), -1, 20)
    assert origins(call) == [("product", ((0, 0), (0, 1))), ("same", ((0, 2),))]
    assert relate(call).outputs[0][0].note == "32·10"


def test_a_view_that_straddles_traces_every_dimension_of_the_group() -> None:
    call = record(torch.Tensor.view, R(2, 66, 3), -1, 33)
    assert origins(call) == [("product", ((0, 0), (0, 1), (0, 2)))] * 2
    assert "view(-1, 33)" in relate(call).outputs[0][1].note


def test_a_flattened_image_of_one_pixel_still_names_its_space() -> None:
    for call in (
        record(torch.flatten, R(4, 16, 1, 1), 1),
        record(torch.Tensor.view, R(4, 16, 1, 1), 4, -1),
    ):
        assert relate(call).outputs[0][1].note == "16·1·1"


def test_features_come_from_the_weight() -> None:
    call = record(F.linear, R(2, 8), R(3, 8), R(3))
    assert origins(call) == [("same", ((0, 0),)), ("parameter", ((1, 0),))]
    assert relate(call).outputs[0][1].note == "out_features"
    assert relate(call).roles[0, 1] == relate(call).roles[1, 1] == "in_features"


def test_a_failed_call_is_related_where_its_shapes_allow_an_output() -> None:
    inputs = record(F.relu, R(2, 3)).inputs
    fits = FunctionCall(0, None, "relu", "torch.relu", inputs, None)
    assert [dim.how for dim in relate(fits).outputs[0]] == ["same", "same"]
    assert relate(record(F.linear, R(2, 8), R(3, 9))).outputs == ()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_stretches_are_told_for_elementwise_functions_and_losses() -> None:
    assert broadcasts(record(F.mse_loss, R(64, 1), R(64, 2))) == ((0, 1, 2),)
    column = record(torch.Tensor.sub, R(5, 1), R(5))
    assert set(broadcasts(column)) == {(1, 0, 5), (0, 1, 5)}
    assert broadcasts(record(torch.mul, R(5, 3), R(5, 3))) == ()
    assert broadcasts(record(torch.matmul, R(5, 2, 3), R(3, 4))) == ()
    distance = record(F.pairwise_distance, R(4, 3), R(1, 3))
    assert broadcasts(distance) == ((1, 0, 4),)


def test_a_value_that_an_assignment_stretches_is_told() -> None:
    assigned = record(operator.setitem, R(4, 4), slice(None), R(4))
    assert broadcasts(assigned) == ((1, 0, 4),)
    one = record(operator.setitem, R(4, 3), (slice(None), slice(0, 2)), R(4, 1))
    assert broadcasts(one) == ((1, 1, 2),)
    assert broadcasts(record(operator.setitem, R(4, 3), 0, R(3))) == ()


def test_losses_know_their_prediction_and_their_target() -> None:
    call = record(F.cross_entropy, target=labels(2), input=R(2, 3), weight=R(3))
    assert (loss_input(call), loss_target(call)) == (1, 0)
    assert is_loss("triplet_margin_loss") and not is_loss("linear")
    assert loss_target(record(F.triplet_margin_loss, R(2, 3), R(2, 3), R(2, 3))) is None
    assert loss_target(record(F.linear, R(2, 3), R(4, 3))) is None


def test_a_contradiction_of_the_record_becomes_a_guess() -> None:
    call = record(F.relu, R(2, 3))
    wrong = TensorRef("output", 9, (3, 7), torch.float32, torch.device("cpu"))
    call = FunctionCall(0, None, "relu", "torch.relu", call.inputs, (wrong,))
    first, second = relate(call).outputs[0]
    assert (first.how, first.sources, first.sure) == ("guess", ((0, 1),), False)
    assert (second.sources, second.sure) == ((), False)


def test_a_function_of_the_user_is_guessed_even_under_a_known_name() -> None:
    ref = record(F.relu, R(2, 3)).inputs[0]
    call = FunctionCall(0, None, "relu", "mine.relu", (ref,), (ref,), args=(ref,))
    assert relate(call).guessed
    assert all(not dim.sure for dim in relate(call).outputs[0])


def test_a_function_without_a_rule_is_probed_without_touching_the_generator() -> None:
    call = record(torch.fft.rfft, R(3, 8))
    before = torch.get_rng_state()
    found = relate(call)
    assert found.guessed and torch.equal(before, torch.get_rng_state())
    assert [d.sources for d in found.outputs[0]] == [((0, 0),), ((0, 1),)]
    assert all(d.sure for d in found.outputs[0])


def test_arguments_that_are_not_kept_never_raise() -> None:
    for name in ("view", "getitem", "cat", "lstm", "conv2d", "einsum", "cross_entropy"):
        call = FunctionCall(0, None, name, f"torch.{name}", (), ())
        assert relate(call).outputs == ()
        assert conflicts(call) == () == broadcasts(call)


def ref(path: str, tensor: torch.Tensor) -> TensorRef:
    return TensorRef(path, 0, tuple(tensor.shape), tensor.dtype, tensor.device)


def layer(module: nn.Module, *inputs: torch.Tensor) -> tuple[ModuleCall, ModuleInfo]:
    """A layer's call as hooks alone record it."""
    kind = type(module)
    plain = (int, float, str, bool, tuple, type(None))
    found = module(*inputs)
    flat = [
        t
        for part in (found if isinstance(found, tuple) else (found,))
        for t in (part if isinstance(part, tuple) else (part,))
    ]
    info = ModuleInfo(
        "net",
        kind.__name__,
        f"{kind.__module__}.{kind.__qualname__}",
        tuple(ref(n, p) for n, p in module.named_parameters(recurse=False)),
        tuple(ref(n, p) for n, p in module.named_buffers(recurse=False)),
        {k: v for k, v in vars(module).items() if isinstance(v, plain) and k[0] != "_"},
    )
    ins = tuple(ref(f"args[{i}]", x) for i, x in enumerate(inputs))
    outs = tuple(ref(f"output[{i}]", x) for i, x in enumerate(flat))
    return ModuleCall(0, None, 0, "net", kind.__name__, ins, outs), info


IMAGE = R(2, 3, 9, 9)


@pytest.mark.parametrize(
    ("module", "inputs", "hows"),
    [
        (nn.Linear(9, 4), (IMAGE,), "same same same parameter"),
        (nn.Conv2d(3, 5, 3, 2, 1), (IMAGE,), "same parameter window window"),
        (nn.MaxPool2d(2), (IMAGE,), "same same window window"),
        (nn.AdaptiveAvgPool2d(1), (IMAGE,), "same same argument argument"),
        (nn.BatchNorm2d(3), (IMAGE,), "same same same same"),
        (nn.ZeroPad2d(1), (IMAGE,), "same same window window"),
        (nn.Flatten(), (IMAGE,), "same product"),
        (nn.Unflatten(1, (1, 3)), (IMAGE,), "same new same same same"),
        (nn.Embedding(5, 6), (labels(2, 3),), "same same parameter"),
        (nn.ReLU(), (IMAGE,), "same same same same"),
        (nn.LSTM(9, 4, batch_first=True), (IMAGE[0],), "same same parameter"),
        (nn.GRU(9, 4, bidirectional=True), (IMAGE[0],), "same same parameter"),
        (
            nn.MultiheadAttention(9, 3, batch_first=True),
            (IMAGE[0],) * 3,
            "same same parameter",
        ),
        (nn.CrossEntropyLoss(reduction="none"), (R(4, 3), labels(4)), "same"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_layer_is_its_function(
    module: nn.Module, inputs: tuple[torch.Tensor, ...], hows: str
) -> None:
    call, info = layer(module, *inputs)
    found = relate_module(call, info)
    assert [dim.how for dim in found.outputs[0]] == hows.split()
    assert all(dim.sure for dims in found.outputs for dim in dims)
    positions = {p for ds in found.outputs for dim in ds for p, _ in dim.sources}
    assert positions <= set(range(len(inputs)))


def test_a_module_of_the_user_is_a_guess() -> None:
    class Linear(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    found = relate_module(*layer(Linear(), R(2, 3)))
    assert found.guessed and not any(dim.sure for dim in found.outputs[0])


def test_the_functions_without_a_rule_grow_no_more() -> None:
    found = coverage()
    print(f"{len(found.ruled)} with a rule, {len(found.missing)} without:")
    print(*found.missing)
    assert len(found.missing) <= 40


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_state_without_its_layers_dimension_does_not_go_with_a_batch(kind):
    layer = kind(4, 8, batch_first=True)
    state = torch.zeros(3, 8)
    states = (state, state) if kind is nn.LSTM else state
    with pytest.raises(RuntimeError), shapetrace.trace(layer) as t:
        layer(torch.zeros(3, 5, 4), states)
    made = module_function(t.calls[0], t.recording.modules[""])
    assert conflicts(made)[0].kind == "rank"
