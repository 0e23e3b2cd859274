"""Who takes another dimension for the batch, or drops it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shapetrace.checks.facts.batches import SEQUENCES, Batches, sequence_roles
from shapetrace.checks.facts.following import kept
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import (
    around_layer,
    built,
    indexed,
    instead,
    summed,
    told,
)
from shapetrace.diagnosis.sites import owner as owner_of
from shapetrace.lineage.dimensions import DATA, PARAMETER
from shapetrace.lineage.factors import Root
from shapetrace.lineage.unrolled import unrolled
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, Source, TensorRef

#: layers whose constructor is known in full from what they hold
_REBUILT = ("RNN", "LSTM", "GRU", "MultiheadAttention")


@check(
    "batch-dim",
    "warning",
    "a layer runs over the batch as if it were time: samples leak into each other, "
    "and the time steps are taken for samples",
)
def batch_dim(context: CheckContext) -> Iterator[Diagnosis]:
    layers = [
        (call, place)
        for call in context.of_kind(*SEQUENCES)
        if (place := sequence_roles(context, call)) is not None
        and min(call.inputs[0].shape[:2]) > 1
    ]
    sums = context.calls("add", "mul")
    sums = [call for call in sums if _table(context, call) is not None]
    loops = [
        (call, loop)
        for call in context.calls("stack")
        if (loop := unrolled(context.graph, call)) is not None and loop.carries
    ]
    if not layers and not sums and not loops:
        return
    batches = Batches(context)
    for call, (sequence, batch) in layers:
        given, owner = call.inputs[0], _outer(context, call)
        proof = _proof(context, call, given, sequence, batch, batches)
        if proof:
            layer = context.layer(call)
            name = call.name if layer is None else context.graph.spoken(layer)
            who = culprit(context, call, "runs over the samples", sequence)
            fixes = _other_order(context, call, owner, sequence)
            places = name, given, sequence
            yield _runs_over_batch(context, call, places, proof, [owner, who], fixes)
    for call, loop in loops:
        given = context.graph.tensors[loop.tensor]
        if len(given.shape) != 3 or loop.dim > 1:
            continue
        steps = context.axes.roots(given.id, batch := 1 - loop.dim)
        made = (call.outputs or ())[0]
        dims = range(len(made.shape))
        if all(context.axes.roots(made.id, dim) != steps for dim in dims):
            continue  # a layer, or another loop, runs over these
        proof = _proof(context, call, given, loop.dim, batch, batches)
        if proof:
            who = culprit(context, loop.pick, "takes one sample after the other")
            places = f"the loop over {loop.pick.source}", given, loop.dim
            joins = culprit(context, call, "puts the samples together")
            fix = f"run over dimension {batch}, and stack along it"
            yield _runs_over_batch(context, call, places, proof, [who, joins], [fix])
    for call in sums:
        yield from _positions_of_batch(context, call, batches)


def _proof(
    context: CheckContext,
    call: FunctionCall,
    given: TensorRef,
    sequence: int,
    batch: int,
    batches: Batches,
) -> str:
    """What tells that what is taken for the time is the batch, in words; "" where
    nothing does."""
    axes = context.axes
    taken = axes.roots(given.id, batch)
    over = axes.roots(given.id, sequence)
    if not axes.sure(given.id, batch) or not axes.sure(given.id, sequence):
        return ""
    if over & taken:
        return ""
    made = {ref.id for ref in call.outputs or ()}
    samples = [root for root in over if root in batches.first]
    sole = len(over) == 1 and axes.sole(given.id, sequence) is not None
    known = over <= batches.layers | batches.sure
    if sole or samples:
        flat = _flattened(context, over, taken, made, known)
        if flat is not None:
            return (
                f"the linear layer at {flat.source} takes that dimension as the batch"
            )
    if len(samples) == 1:
        losses = batches.reached(samples[0], made)
        if losses and over <= batches.images and not taken & batches.images:
            return "a convolution before it takes that dimension as the batch"
        if len(losses) == 1:
            return batches.no_batch(losses[0], taken)
    return ""


def _runs_over_batch(
    context: CheckContext,
    call: FunctionCall,
    places: tuple[str, TensorRef, int],
    proof: str,
    culprits: list[Culprit],
    fixes: Sequence[Fix | str | None],
) -> Diagnosis:
    name, given, sequence = places
    other = "(time, batch, features)" if sequence == 0 else "(batch, time, features)"
    sole = context.axes.sole(given.id, sequence) is not None
    holds = "" if sole else ", which holds the batch"
    return finding(
        context,
        call,
        f"{name} takes {given.shape} as {other}: it runs over dimension {sequence}"
        f"{holds}, and {proof}.",
        culprits=culprits,
        fixes=fixes,
        shapes=[("input", given, sequence)],
        way=(given.id, sequence),
    )


#: words for where no line can be written
_TURN = "transpose dimensions 0 and 1 before and after the call"


def _other_order(
    context: CheckContext, call: FunctionCall, owner: Culprit, sequence: int
) -> list[Fix | str | None]:
    """Lines that give a layer its samples where it takes them."""
    first = sequence == 0
    if not first and (step := _step_of_first(context, call)) is not None:
        return [step]
    info = context.graph.rec.modules.get(owner.name)
    if info is None or owner.kind != "module":
        return [_TURN]
    line = told(context, owner.name, batch_first=str(first))
    if line is None and info.type in _REBUILT:
        line = built(context, owner.name, batch_first=first)
    calls = [one for one in context.graph.rec.calls if one.name == owner.name]
    turned = around_layer(calls[0], "{}.transpose(0, 1)") if calls else None
    words = f"build {_type(context, owner)} with batch_first={first}"
    return [line, turned] if line is not None or turned is not None else [words]


def _step_of_first(context: CheckContext, call: FunctionCall) -> Fix | None:
    """Where dimension 0 of a layer's output is indexed by a number, the line that does
    so with dimension 1."""
    for user, _ in context.follow((call.outputs or ())[0].id):
        index = user.args[1] if user.name == "getitem" and len(user.args) > 1 else None
        if isinstance(index, int) and not isinstance(index, bool):
            note = f"a step of every sample: [{index}] is a sample"
            return indexed(user, f":, {index}", note)
    return None


def _type(context: CheckContext, owner: Culprit) -> str:
    """The class that takes batch_first: a stack of layers was given its layer."""
    info = context.graph.rec.modules.get(owner.name)
    found = info.type if info is not None else "Module"
    stacks = ("TransformerEncoder", "TransformerDecoder")
    return f"{found}Layer" if found in stacks else found


def _outer(context: CheckContext, call: FunctionCall) -> Culprit:
    """The outermost of torch's own layers around a call: that is what the user made."""
    module = context.graph.module_of(call)
    best = module
    while module is not None and module.parent is not None:
        info = context.graph.rec.modules.get(module.name)
        if info is None or not info.qualname.startswith("torch.nn.modules.transformer"):
            if module is not best:
                break
        else:
            best = module
        module = context.graph.rec.calls[module.parent]
    if best is None or call.direct:
        return culprit(context, call)
    reason = "has a batch_first that does not fit the data"
    return Culprit("module", best.name, source=best.source, reason=reason)


def _flattened(
    context: CheckContext,
    over: frozenset[Root],
    taken: frozenset[Root],
    made: set[int],
    known: bool,
) -> FunctionCall | None:
    """A linear layer after it that has the supposed batch among its features, and what
    the layer ran over as its batch; of a supposed batch of several dimensions one of
    them, where what the layer ran over is `known` to be the batch."""
    axes = context.axes
    later = context.descendants(made)
    for linear in context.calls("linear"):
        ref = linear.inputs[0]
        if ref.id not in later or len(ref.shape) < 2:
            continue
        last = len(ref.shape) - 1
        before = [axes.roots(ref.id, dim) for dim in range(last)]
        rows, features = frozenset[Root]().union(*before), axes.roots(ref.id, last)
        if not all(before) or len(axes.of(ref.id, last)) < 2:
            continue
        if rows == over and taken <= features:
            return linear
        if known and over < rows and taken & features and taken <= rows | features:
            return linear
    return None


def _table(
    context: CheckContext, call: FunctionCall
) -> tuple[TensorRef, TensorRef] | None:
    """Data and the first rows of a table of positions that are added to it, or that it
    is turned by, as (data, rows)."""
    ranks = {len(ref.shape) for ref in call.inputs}
    if len(call.inputs) != 2 or len(ranks) != 1 or min(ranks) < 3:
        return None
    axes = context.axes
    for rows, data in (call.inputs, call.inputs[::-1]):
        if axes.descends(rows.id, DATA):
            continue
        if max(rows.shape[1:-1]) != 1 or data.shape[1] == 1:
            continue
        if rows.shape[0] != data.shape[0] or rows.shape[0] == 1:
            continue
        for kind, tensor, dim in axes.roots(rows.id, 0):
            made = context.made_by(tensor)
            counted = kind == "made" and made is not None and made.name == "arange"
            if counted or kind == "parameter":
                if context.graph.size(tensor, dim) > rows.shape[0]:
                    return data, rows
        lookup = _looked_up(context, rows)
        if lookup is not None:
            length = lookup.inputs[1].shape[0]
            if length > rows.shape[0] and length >= data.shape[1]:
                return data, rows
    return None


def _cutter(context: CheckContext, rows: TensorRef) -> FunctionCall | None:
    """The index that took the first rows of a table."""
    call = context.made_by(rows.id)
    while call is not None and call.inputs:
        if call.name == "getitem" and call.inputs[0].shape[0] > rows.shape[0]:
            return call
        call = context.made_by(call.inputs[0].id)
    return None


def _looked_up(context: CheckContext, rows: TensorRef) -> FunctionCall | None:
    """The embedding that makes the rows, of positions that arange counts."""
    lookup = context.made_by(context.undressed(rows.id))
    if lookup is None or lookup.name != "embedding":
        return None
    count = context.made_by(context.undressed(lookup.inputs[0].id))
    return lookup if count is not None and count.name == "arange" else None


def _positions_of_batch(
    context: CheckContext, call: FunctionCall, batches: Batches
) -> Iterator[Diagnosis]:
    found = _table(context, call)
    assert found is not None
    data, rows = found
    root = context.axes.sole(data.id, 0)
    if root is None or root not in batches.sure:
        return
    lookup = _looked_up(context, rows)
    if lookup is not None:
        who: Culprit | None = culprit(context, lookup, "gives each sample a position")
        fix: Fix | str = "count the positions up to the size of dimension 1, the time"
    else:
        tables = [tensor for _, tensor, _ in context.axes.roots(rows.id, 0)]
        owner = owner_of(context.graph, tables[0])
        who = Culprit("module", owner, source=call.source) if owner else None
        line = "{} + {}[: {}.size(1)].transpose(0, 1)"
        fix = summed(call, data, rows, line) or (
            "turn the table to (1, time, features) and take its first rows along time"
        )
    turned = call.name.startswith("mul")
    cut = _cutter(context, rows) if turned else None
    if cut is not None:
        who = culprit(context, cut, "takes a row for each sample", 0, rows.shape[0])
    does = "multiplied" if turned else "added"
    yield finding(
        context,
        call,
        f"rows of a table of positions, {rows.shape}, are {does} along dimension 0 of "
        f"{data.shape}, which is the batch: every sample gets a position, every time "
        "step the same one.",
        culprits=[
            who,
            culprit(context, call, "runs along the batch", 0, rows.shape[0]),
        ],
        fixes=[None if turned else fix],
        shapes=[("data", data, 0), ("positions", rows, 0)],
        way=(data.id, 0),
    )


@check(
    "squeeze-drops-batch",
    "warning",
    "squeeze() without a dimension drops the batch of a batch of one",
)
def squeeze_drops_batch(context: CheckContext) -> Iterator[Diagnosis]:
    axes = context.axes
    for call in context.calls("squeeze"):
        if not call.inputs or not call.outputs or len(call.args) > 1 or call.kwargs:
            continue
        given, made = call.inputs[0], call.outputs[0]
        if len(given.shape) < 2 or given.shape[0] != 1:
            continue
        root = axes.sole(given.id, 0)
        if root is None or root[2] != 0:
            continue
        elsewhere = _runs_elsewhere(context, call)
        if not axes.descends(given.id, PARAMETER) and not elsewhere:
            continue
        hurt = _meets_batch(context, made) or elsewhere
        odd = [dim for dim, size in enumerate(given.shape) if size == 1 and dim]
        yield finding(
            context,
            call,
            f"squeeze() makes {made.shape} of {given.shape}: with a batch of one it "
            "drops the batch dimension too.",
            culprits=[culprit(context, call, "drops every dimension of 1", 0, 1)],
            fixes=[instead(call, f"{{}}.squeeze({odd[-1]})" if odd else "{}")],
            shapes=[("input", given, 0), ("output", made, None)],
            way=(given.id, 0),
            severity="warning" if hurt else "note",
        )


def _meets_batch(context: CheckContext, made: TensorRef) -> bool:
    """Whether a loss compares what was squeezed with a target that has its batch."""
    for given, target in context.sides.values():
        if target is not None and len(target.shape) > len(given.shape):
            if given.shape == made.shape and given.id in context.descendants([made.id]):
                return True
    return False


def _runs_elsewhere(context: CheckContext, call: FunctionCall) -> bool:
    """Whether a later line reduces another dimension than it does where the same line
    squeezes a batch of several."""
    rank = len(call.inputs[0].shape)
    for usual in context.calls("squeeze"):
        shape = usual.inputs[0].shape
        if usual.source == call.source and len(shape) == rank and shape[0] > 1:
            whole = _reduced(context, usual)
            return any(
                (known := whole.get((source, count + 1))) is not None
                and known != {dim + 1 for dim in lost}
                for (source, count), lost in _reduced(context, call).items()
            )
    return False


def _reduced(
    context: CheckContext, call: FunctionCall
) -> dict[tuple[Source, int], set[int]]:
    """Of the lines that reduce what is made of a call's result, and the number of
    dimensions there, which dimensions are gone."""
    made = context.descendants(ref.id for ref in call.outputs or ())
    found: dict[tuple[Source, int], set[int]] = {}
    for user in context.of_kind("reduce", "total", "choose"):
        dims = kept(context, user, 0) if user.inputs[0].id in made else None
        if dims and user.source is not None:
            count = len(user.inputs[0].shape)
            left = {dim for group in dims for dim in group}
            found.setdefault((user.source, count), set(range(count)) - left)
    return found
