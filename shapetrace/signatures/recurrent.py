"""RNN, LSTM, GRU and their cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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
    states, weights = _refs(b, args[1 + shift]), _refs(b, args[2 + shift])
    layers, both = args[4 + shift], bool(args[7 + shift])
    if not weights or not states or not isinstance(layers, int):
        raise Unknown
    batch = None if packed else 0 if args[8] else 1
    net = _Network(b.name, b.first(), states, weights, layers, 2 if both else 1, batch)
    rank, least = len(net.data.shape), 2 if packed else 3
    if rank != least:
        return Answer(conflicts=[rank_conflict("input", net.data.pos, rank, least)])
    for state in states:
        if len(state.shape) != 3:
            conflict = rank_conflict("hx", state.pos, len(state.shape), 3)
            return Answer(conflicts=[conflict])
    answer = _compared(net)
    if not answer.conflicts:
        answer.outputs = [_steps(net), *(_last(net, state) for state in states)]
    return answer


class _Network(NamedTuple):
    """What a recurrent network is given for a whole sequence."""

    name: str
    data: Operand
    states: list[Operand]
    weights: list[Operand]
    layers: int
    #: 2 of a bidirectional one
    ways: int
    #: the dimension of the input that counts samples; None of packed sequences
    batch: int | None

    @property
    def gates(self) -> int:
        return _gates(self.name)

    @property
    def projected(self) -> bool:
        """Whether an LSTM's output has another size than its hidden state."""
        hidden = self.weights[1]
        return hidden.shape[1] * self.gates != hidden.shape[0]

    @property
    def unit(self) -> tuple[Operand, int]:
        """The dimension of a weight that is as wide as an output of one direction."""
        if not self.projected:
            return self.weights[1], 1
        return self.weights[4 if len(self.weights) > 4 else 1], 0

    def width(self, ways: int = 1) -> Dim:
        op, d = self.unit
        note = "proj_size" if self.projected else "hidden_size"
        said = note if ways == 1 else f"{ways}·{note}"
        return of("parameter", op.pos, d, ways * op.shape[d], said)


def _compared(net: _Network) -> Answer:
    """The parts of the dimensions, and where they do not fit."""
    answer = Answer()
    data, state, into = net.data, net.states[0], net.weights[0]
    rank = len(data.shape)
    _check(answer, "input_size", (data, rank - 1), (into, 1))
    _check(answer, "hidden_size", (state, len(state.shape) - 1), net.unit)
    if not net.projected:
        _check_rows(answer, (into,), net.gates, net.unit)
    stacked = net.layers * net.ways
    if len(state.shape) == 3 and state.shape[0] != stacked:
        left = Side(state.pos, 0, state.shape[0], "num_layers")
        right = Side(None, None, stacked, "num_layers")
        answer.conflicts.append(Conflict("size", "num_layers", left, right))
    if net.batch is not None and len(state.shape) == 3:
        _check(answer, "batch", (data, net.batch), (state, 1))
    for d in range(rank - 1):
        step = "packed" if net.batch is None else "sequence"
        answer.roles[data.pos, d] = "batch" if d == net.batch else step
    return answer


def _steps(net: _Network) -> list[Dim]:
    """The output of every step, both directions side by side."""
    data = net.data
    steps = [same(data.pos, d, data.shape[d]) for d in range(len(data.shape) - 1)]
    return [*steps, net.width(net.ways)]


def _last(net: _Network, state: Operand) -> list[Dim]:
    """The last state of every layer and direction."""
    count = net.layers * net.ways
    rows: list[Dim] = [
        made("argument", count, f"{net.layers} layers · {net.ways} directions")
    ]
    if len(state.shape) == 3:
        op, d = (state, 1) if net.batch is None else (net.data, net.batch)
        rows.append(same(op.pos, d, op.shape[d]))
    width, size = net.width(), state.shape[-1]
    if size != width[1]:
        width = of("parameter", net.weights[1].pos, 0, size, "hidden_size")
    return [*rows, width]


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
