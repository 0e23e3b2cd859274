"""One sample of the data, or several: of which rows of it a tensor is made."""

from __future__ import annotations

import ast
from collections.abc import Hashable
from itertools import islice
from math import prod
from typing import NamedTuple

from shapetrace.checks.finding.context import CheckContext
from shapetrace.lineage import Call
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import kind
from shapetrace.source.line import find
from shapetrace.source.place import text


class Sample(NamedTuple):
    """One sample: the call that took it, and of how many; 0 where it was read from
    elsewhere. `dim`: where another tensor has several."""

    call: FunctionCall
    of: int
    dim: int = 0


#: the samples by what tells each from others
Samples = dict[Hashable, Sample]

#: a statistic of samples is none of them
_STATISTICS = ("reduce", "total", "choose")
#: tensors that are looked back over for samples
_FAR = 2000


def one_of_many(
    context: CheckContext, one: TensorRef, many: TensorRef
) -> Sample | None:
    """The sample that a tensor is made of, where a dimension of another holds several
    samples of as large a data set: a batch of one that meets a batch of ten."""
    samples = [
        sample
        for sample in _samples(context, one).values()
        if not _is_spelled(context, sample.call)
    ]
    if not samples:
        return None
    for dim in range(len(many.shape)):
        sizes = _sizes(context, many, dim)
        for sample in samples:
            if sample.of in sizes:
                return sample._replace(dim=dim)
    return None


def _samples(context: CheckContext, ref: TensorRef) -> Samples:
    """The samples that were taken each for itself, behind a tensor."""

    def before(call: Call) -> tuple[TensorRef, ...]:
        if kind(call.name) in _STATISTICS or _table(context, call) is not None:
            return ()
        if kind(call.name) == "write":  # what a buffer of samples is filled with
            return call.inputs[:1]
        return tuple(r for r in call.inputs if not context.graph.is_parameter(r.id))

    found: Samples = {}
    for tensor, call in islice(context.graph.behind(ref.id, before), _FAR):
        if not isinstance(call, FunctionCall):
            continue
        table = _table(context, call)
        if table is not None:
            place = [made.id for made in call.outputs or ()].index(tensor)
            index = repr((call.args[1:], call.kwargs, place))
            found[table.id, index] = Sample(call, table.shape[0])
        elif kind(call.name) == "join" and len(call.inputs) == 1:
            if _is_read(context, call.inputs[0]):
                found[call.inputs[0].id] = Sample(call, 0)
    return found


def _table(context: CheckContext, call: Call) -> TensorRef | None:
    """The samples of which a call takes one; None where it does something else."""
    if kind(call.name) != "pick" or not call.inputs or not call.outputs:
        return None
    table = call.inputs[0]
    if not table.shape or table.shape[0] < 2 or not context.is_raw_data(table.id):
        return None
    made = context.made_by(table.id)
    if made is not None and kind(made.name) == "fill":
        return None  # a constant, however many times it is there
    whole = prod(table.shape)
    return table if prod(call.outputs[0].shape) * table.shape[0] <= whole else None


def _is_read(context: CheckContext, ref: TensorRef) -> bool:
    """Whether a tensor came from elsewhere, and is no constant."""
    made = context.made_by(ref.id)
    if made is None:
        return context.is_raw_data(ref.id)
    return not made.inputs and kind(made.name) not in ("fill", "count")


def _is_spelled(context: CheckContext, call: FunctionCall) -> bool:
    """Whether an index stands in the code as a number, or may for all that is known, of
    what is no batch: `labels[1]` is how a constant is told by its place in a list."""
    made = context.made_by(call.inputs[0].id)
    if call.name != "getitem" or made is not None and kind(made.name) == "join":
        return False
    line = find(call.source)
    if line is not None and isinstance(line.tree, ast.Subscript):
        names = [part for part in ast.walk(line.tree.slice) if type(part) is ast.Name]
        return not names
    code = text(call.source)
    return not code or "[" in code


def _sizes(context: CheckContext, ref: TensorRef, dim: int) -> set[int]:
    """Of how many samples a dimension holds several; none where it is of something
    else, or of one sample in several forms."""
    if ref.shape[dim] < 2:
        return set()
    trail = context.graph.trail(ref.id, dim)
    end, calls = trail.end, [hop.call for hop in trail.hops]
    if end.dim != 0 or not context.is_raw_data(end.tensor):
        return set()
    if end.call is not None and kind(end.call.name) == "join":
        return _joined(context, end.call)
    if end.call is not None and kind(end.call.name) == "fill":
        return set()
    if _samples(context, ref):
        return set()
    tables = [call.inputs[0] for call in calls if kind(call.name) == "pick"]
    tables.append(context.graph.tensors[end.tensor])
    return {one.shape[0] for one in tables if context.is_raw_data(one.id)}


def _joined(context: CheckContext, call: Call) -> set[int]:
    """The same of a batch that a call has put together; none where one sample is in all
    of its parts."""
    each = [_samples(context, part) for part in call.inputs]
    if len(each) < 2 or set(each[0]).intersection(*each[1:]):
        return set()
    sizes = {sample.of for samples in each for sample in samples.values()}
    if all(_is_read(context, part) for part in call.inputs):
        sizes.add(0)
    return sizes | {len(each)}
