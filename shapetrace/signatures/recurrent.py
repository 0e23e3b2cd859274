"""RNN, LSTM, GRU and their cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shapetrace.records import TensorRef
from shapetrace.signatures.answer import (
    Answer,
    Dim,
    Unknown,
    joined,
    made,
    of,
    rank_conflict,
    same,
)
from shapetrace.signatures.binding import Bound, Operand
from shapetrace.signatures.registry import rule
from shapetrace.signatures.relation import Conflict, Side

#: gates, by the function's first letters: the rows of a weight for one hidden unit
_GATES = {"lstm": 4, "gru": 3}


def _gates(name: str) -> int:
    return _GATES.get(name.partition("_")[0], 1)


def _check(
    answer: Answer, name: str, left: tuple[Operand, int], right: tuple[Operand, int]
) -> None:
    """Two dimensions that must be equal."""
    (one, i), (two, j) = left, right
    answer.roles[one.pos, i] = answer.roles[two.pos, j] = name
    if one.shape[i] != two.shape[j]:
        answer.conflicts.append(
            Conflict(
                "size",
                name,
                Side(one.pos, i, one.shape[i], name),
                Side(two.pos, j, two.shape[j], name),
            )
        )


def _check_rows(
    answer: Answer, weights: Sequence[Operand], gates: int, unit: tuple[Operand, int]
) -> None:
    """Every weight has a row for each gate of each hidden unit."""
    op, d = unit
    for weight in weights:
        wanted = gates * op.shape[d]
        if weight.shape[0] != wanted:
            left = Side(op.pos, d, wanted, f"{gates}·hidden_size")
            right = Side(weight.pos, 0, weight.shape[0], f"{gates}·hidden_size")
            answer.conflicts.append(Conflict("size", "gates", left, right))


def _refs(b: Bound, value: Any) -> list[Operand]:
    """The tensors of an argument that is one or a list of them."""
    many = value if isinstance(value, (tuple, list)) else (value,)
    return [b.operand(ref) for ref in many if isinstance(ref, TensorRef)]


@rule("lstm gru rnn_tanh rnn_relu quantized_lstm", "input")
def recurrent(b: Bound) -> Answer:
    """torch.lstm(input, hx, weights, has_biases, num_layers, dropout, train,
    bidirectional, batch_first), or packed (data, batch_sizes, hx, weights, ...)."""
    args = b.call.args
    if len(args) < 8:
        raise Unknown
    packed = isinstance(args[1], TensorRef) and isinstance(args[3], (tuple, list))
    shift = 1 if packed else 0
    data = b.first()
    states, weights = _refs(b, args[1 + shift]), _refs(b, args[2 + shift])
    layers, both = args[4 + shift], bool(args[7 + shift])
    batch_first = not packed and bool(args[8])
    if not weights or not states or not isinstance(layers, int):
        raise Unknown
    return _sequence(b.name, data, states, weights, layers, both, batch_first, packed)


def _sequence(
    name: str,
    data: Operand,
    states: list[Operand],
    weights: list[Operand],
    layers: int,
    both: bool,
    batch_first: bool,
    packed: bool,
) -> Answer:
    """The whole sequence's outputs, then the last states."""
    rank = len(data.shape)
    least = 2 if packed else 3
    if rank != least:
        conflict = rank_conflict("input", data.pos, rank, least)
        return Answer(conflicts=[conflict])
    answer = Answer()
    into, hidden = weights[0], weights[1]
    _check(answer, "input_size", (data, rank - 1), (into, 1))
    projected = hidden.shape[1] * _gates(name) != hidden.shape[0]
    last = weights[4] if projected and len(weights) > 4 else hidden
    out = (last, 0) if projected else (hidden, 1)
    _check(answer, "hidden_size", (states[0], len(states[0].shape) - 1), out)
    if not projected:
        _check_rows(answer, (into,), _gates(name), out)
    stacked = layers * (2 if both else 1)
    if len(states[0].shape) == 3 and states[0].shape[0] != stacked:
        left = Side(states[0].pos, 0, states[0].shape[0], "num_layers")
        right = Side(None, None, stacked, "num_layers")
        answer.conflicts.append(Conflict("size", "num_layers", left, right))
    batch = None
    if rank == 3:
        batch = 0 if batch_first else 1
        if len(states[0].shape) == 3:
            _check(answer, "batch", (data, batch), (states[0], 1))
    for d in range(rank - 1):
        role = "batch" if d == batch else "packed" if packed else "sequence"
        answer.roles[data.pos, d] = role
    if answer.conflicts:
        return answer
    width = out[0].shape[out[1]]
    note = "proj_size" if projected else "hidden_size"
    features: Dim = of("parameter", out[0].pos, out[1], width, note)
    ways = 2 if both else 1
    wide = features
    if both:
        wide = of("parameter", out[0].pos, out[1], 2 * width, f"2·{note}")
    steps = [same(data.pos, d, data.shape[d]) for d in range(rank - 1)]
    answer.outputs = [[*steps, wide]]
    for state in states:
        count = made("argument", layers * ways, f"{layers} layers · {ways} directions")
        rows: list[Dim] = [count]
        if len(state.shape) == 3:
            rows.append(same(state.pos, 1, state.shape[1]))
            if batch is not None:
                rows[-1] = same(data.pos, batch, data.shape[batch])
        size = state.shape[-1]
        if size == width:
            rows.append(features)
        else:
            rows.append(of("parameter", hidden.pos, 0, size, "hidden_size"))
        answer.outputs.append(rows)
    return answer


@rule("pad_sequence", "sequences batch_first")
def pad_sequence(b: Bound) -> Answer:
    """As long as the longest sequence; a fresh dimension counts them."""
    sequences = _refs(b, b.value("sequences"))
    first = sequences[0]
    longest = max(op.shape[0] for op in sequences)
    places = [(op.pos, 0) for op in sequences if op.shape[0] == longest]
    length = joined("same", places, longest, "the longest")
    count = made("new", len(sequences), f"{len(sequences)} sequences")
    rest = [same(first.pos, d, first.shape[d]) for d in range(1, len(first.shape))]
    front = [count, length] if b.flag("batch_first") else [length, count]
    return Answer([[*front, *rest]])


@rule("_pack_padded_sequence", "input lengths batch_first")
def pack(b: Bound) -> Answer:
    """All steps of all sequences in one dimension: the lengths tell how many."""
    op = b.need("input")
    steps = made("values", None, "sum of the lengths")
    rest = [same(op.pos, d, op.shape[d]) for d in range(2, len(op.shape))]
    time = 1 if b.flag("batch_first") else 0
    sizes = made("values", None, f"longest of {op.shape[time]} steps")
    return Answer([[steps, *rest], [sizes]])


@rule("_pad_packed_sequence", "input batch_sizes batch_first padding_value")
def unpack(b: Bound) -> Answer:
    """Back to (time, batch): as many as the batch sizes tell."""
    op, sizes = b.need("input"), b.need("batch_sizes")
    length = same(sizes.pos, 0, sizes.shape[0])
    recorded = b.call.outputs
    if recorded and recorded[0].shape[b.flag("batch_first")] != length[1]:
        length = made("argument", None, "total_length")
    batch = made("values", None, "sequences")
    rest = [same(op.pos, d, op.shape[d]) for d in range(1, len(op.shape))]
    front = [batch, length] if b.flag("batch_first") else [length, batch]
    return Answer([[*front, *rest], [batch]])


@rule("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell", "input hx w_ih w_hh b_ih b_hh")
def cell(b: Bound) -> Answer:
    """One step: (batch, input_size) to (batch, hidden_size)."""
    data, into, hidden = b.need("input"), b.need("w_ih"), b.need("w_hh")
    states = _refs(b, b.value("hx"))
    rank = len(data.shape)
    if rank not in (1, 2):
        return Answer(
            conflicts=[rank_conflict("input", data.pos, rank, 2, "1-D or 2-D")]
        )
    answer = Answer()
    _check(answer, "input_size", (data, rank - 1), (into, 1))
    rows_of = [op for op in (into, hidden, b.tensor("b_ih"), b.tensor("b_hh")) if op]
    _check_rows(answer, rows_of, _gates(b.name), (hidden, 1))
    for state in states:
        _check(answer, "hidden_size", (state, len(state.shape) - 1), (hidden, 1))
        if rank == 2 and len(state.shape) == 2:
            _check(answer, "batch", (data, 0), (state, 0))
    if answer.conflicts:
        return answer
    rows: list[Dim] = []
    if rank == 2:
        rows.append(same(data.pos, 0, data.shape[0]))
    rows.append(of("parameter", hidden.pos, 1, hidden.shape[1], "hidden_size"))
    count = 2 if b.name == "lstm_cell" else 1
    answer.outputs = [list(rows) for _ in range(count)]
    return answer
