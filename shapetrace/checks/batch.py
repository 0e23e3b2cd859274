"""Which dimension is the batch, and who takes another one for it."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.lines import built, indexed, instead, summed
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, finding
from shapetrace.checks.scene import Scene, plain
from shapetrace.lineage.dimensions import DATA
from shapetrace.lineage.factors import Root
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import named

_SEQUENCES = ("recurrent", "attention")
#: layers whose constructor is known in full from what they hold
_REBUILT = ("RNN", "LSTM", "GRU", "MultiheadAttention")
_IMAGES = (*named("convolution"), "batch_norm")


class Batches:
    """What the losses and the layers of one trace take as the batch."""

    def __init__(self, scene: Scene) -> None:
        axes = scene.axes
        self._scene = scene
        #: first dimensions of predictions, with the losses that take them
        self.first: dict[Root, list[FunctionCall]] = {}
        #: data dimensions that a convolution or a normalisation takes as the batch
        self.images: set[Root] = set()
        strong: set[Root] = set()
        for loss in scene.losses:
            given, _ = scene.sides.get(loss.index, (None, None))
            if given is None or not given.shape or given.shape[0] < 2:
                continue
            root = axes.sole(given.id, 0)
            if root is None:
                continue
            self.first.setdefault(root, []).append(loss)
            others = range(1, len(given.shape))
            if not any(_of_data(scene, given, dim) for dim in others):
                strong.add(root)
        for call in scene.calls(*_IMAGES):
            ref = call.inputs[0]
            rank = 3 if plain(call.name) == "batch_norm" else int(call.name[-2]) + 2
            if len(ref.shape) >= rank and ref.shape[0] > 1:
                root = axes.sole(ref.id, 0)
                if root is not None:
                    self.images.add(root)
        taken = {
            root
            for call in scene.of_kind(*_SEQUENCES)
            if (place := sequence_roles(scene, call)) is not None
            and (root := axes.sole(call.inputs[0].id, place[1])) is not None
        }
        for call in scene.of_kind("batch_product"):
            roots = [axes.sole(ref.id, 0) for ref in call.inputs[-2:]]
            if all(root is not None and root[2] == 0 for root in roots):
                taken |= {root for root in roots if root is not None}
        #: the batch beyond doubt: a prediction's first dimension whose others are no
        #: data's, or that a layer, or a product of batches, takes as the batch as well
        self.sure = strong | (set(self.first) & (self.images | taken))

    def reached(self, root: Root, tensors: set[int]) -> list[FunctionCall]:
        """The losses that take `root` first and descend from one of the tensors."""
        losses = self.first.get(root, ())
        if not losses:
            return []
        made, sides = self._scene.descendants(tensors), self._scene.sides
        return [loss for loss in losses if sides[loss.index][0].id in made]

    def kept(self, root: Root, tensors: set[int]) -> bool:
        """Whether `root` stays a dimension all the way from one of the tensors to a
        loss that takes it first: a sum over it, or a product, ends the way."""
        given = {self._scene.sides[loss.index][0].id for loss in self.first[root]}
        seen, todo = set(tensors), list(tensors)
        while todo:
            tensor = todo.pop()
            if tensor in given:
                return True
            for _, made in self._scene.follow(tensor):
                dims = range(len(made.shape))
                if made.id not in seen and any(
                    root in self._scene.axes.roots(made.id, dim) for dim in dims
                ):
                    seen.add(made.id)
                    todo.append(made.id)
        return False


def _of_data(scene: Scene, ref: TensorRef, dim: int) -> bool:
    if ref.shape[dim] == 1:
        return False
    roots = scene.axes.roots(ref.id, dim)
    return any(kind in ("data", "unknown") for kind, _, _ in roots)


def sequence_roles(scene: Scene, call: FunctionCall) -> tuple[int, int] | None:
    """What a recurrent layer or attention takes as the sequence, and as the batch."""
    if not call.inputs or len(call.inputs[0].shape) != 3:
        return None
    roles = scene.graph.relation(call).roles
    found = [dim for dim in range(3) if roles.get((0, dim)) == "batch"]
    if len(found) != 1 or found[0] == 2:
        return None
    return 1 - found[0], found[0]


@check(
    "batch-dim",
    "warning",
    "a layer runs over the batch as if it were time: samples leak into each other, "
    "and the time steps are taken for samples",
)
def batch_dim(scene: Scene, rule: Check) -> Iterator[Diagnosis]:
    layers = [
        (call, place)
        for call in scene.of_kind(*_SEQUENCES)
        if (place := sequence_roles(scene, call)) is not None
        and min(call.inputs[0].shape[:2]) > 1
    ]
    sums = [call for call in scene.calls("add") if _table(scene, call) is not None]
    if not layers and not sums:
        return
    batches = Batches(scene)
    for call, (sequence, batch) in layers:
        yield from _runs_over_batch(scene, rule, call, sequence, batch, batches)
    for call in sums:
        yield from _positions_of_batch(scene, rule, call, batches)


def _runs_over_batch(
    scene: Scene,
    rule: Check,
    call: FunctionCall,
    sequence: int,
    batch: int,
    batches: Batches,
) -> Iterator[Diagnosis]:
    axes = scene.axes
    given = call.inputs[0]
    root = axes.sole(given.id, sequence)
    taken = axes.roots(given.id, batch)
    if root is None or root in taken or not axes.sure(given.id, batch):
        return
    made = {ref.id for ref in call.outputs or ()}
    losses = batches.reached(root, made)
    proof = ""
    flat = _flattened(scene, root, taken, made)
    if flat is not None:
        proof = f"the linear layer at {flat.source} takes that dimension as the batch"
    elif not losses:
        return
    elif root in batches.images and not taken & batches.images:
        proof = "a convolution before it takes that dimension as the batch"
    elif len(losses) == 1 and _is_gone(scene, losses[0], taken):
        proof = f"{losses[0].name} at {losses[0].source} takes it as the batch"
    if not proof:
        return
    layer = scene.layer(call)
    name = call.name if layer is None else layer.name or layer.type
    other = "(time, batch, features)" if sequence == 0 else "(batch, time, features)"
    owner = _outer(scene, call)
    first = sequence == 0
    kind = f"nn.{_type(scene, owner)}" if layer is not None else "the layer"
    fixes = [Fix(f"{kind}(..., batch_first={first})")]
    if _type(scene, owner) in _REBUILT:
        fixes = [built(scene, owner.name, batch_first=first) or fixes[0]]
    if fixes[0].where is None:
        fixes.append(Fix("x.transpose(0, 1)", detail="before and after the layer"))
    if sequence == 1:
        step = _step_of_first(scene, call)
        if step is not None:
            fixes = [step]
    yield finding(
        scene,
        rule,
        call,
        f"{name} takes {given.shape} as {other}: it runs over dimension {sequence}, "
        f"and {proof}.",
        culprits=[owner, culprit(scene, call)],
        fixes=fixes,
        shapes=[("input", given, sequence)],
        way=(given.id, sequence),
    )


def _step_of_first(scene: Scene, call: FunctionCall) -> Fix | None:
    """Where dimension 0 of a layer's output is indexed by a number, the line that does
    so with dimension 1."""
    for user, _ in scene.follow((call.outputs or ())[0].id):
        index = user.args[1] if user.name == "getitem" and len(user.args) > 1 else None
        if isinstance(index, int) and not isinstance(index, bool):
            note = f"a step of every sample: [{index}] is a sample"
            return indexed(user, f":, {index}", note)
    return None


def _type(scene: Scene, owner: Culprit) -> str:
    """The class that takes batch_first: a stack of layers was given its layer."""
    info = scene.graph.rec.modules.get(owner.name)
    found = info.type if info is not None else "Module"
    stacks = ("TransformerEncoder", "TransformerDecoder")
    return f"{found}Layer" if found in stacks else found


def _outer(scene: Scene, call: FunctionCall) -> Culprit:
    """The outermost of torch's own layers around a call: that is what the user made."""
    module = scene.graph.module_of(call)
    best = module
    while module is not None and module.parent is not None:
        info = scene.graph.rec.modules.get(module.name)
        if info is None or not info.qualname.startswith("torch.nn.modules.transformer"):
            if module is not best:
                break
        else:
            best = module
        module = scene.graph.rec.calls[module.parent]
    if best is None or call.direct:
        return culprit(scene, call)
    reason = "has a batch_first that does not fit the data"
    return Culprit("module", best.name, source=best.source, reason=reason)


def _flattened(
    scene: Scene, root: Root, taken: frozenset[Root], made: set[int]
) -> FunctionCall | None:
    """A linear layer after it that has the supposed batch among its features."""
    axes = scene.axes
    later = scene.descendants(made)
    for linear in scene.calls("linear"):
        ref = linear.inputs[0]
        if len(ref.shape) == 2 and axes.sole(ref.id, 0) == root:
            if len(axes.of(ref.id, 1)) > 1 and taken <= axes.roots(ref.id, 1):
                if ref.id in later:
                    return linear
    return None


def _is_gone(scene: Scene, loss: FunctionCall, taken: frozenset[Root]) -> bool:
    """Whether what the layer took as the batch is in no dimension of the prediction."""
    given, _ = scene.sides[loss.index]
    dims = range(len(given.shape))
    return all(
        scene.axes.sure(given.id, dim) and not taken & scene.axes.roots(given.id, dim)
        for dim in dims
    )


def _table(scene: Scene, call: FunctionCall) -> tuple[TensorRef, TensorRef] | None:
    """A sum of data and the first rows of a table of positions, as (data, rows)."""
    if len(call.inputs) != 2 or any(len(ref.shape) != 3 for ref in call.inputs):
        return None
    axes = scene.axes
    for rows, data in (call.inputs, call.inputs[::-1]):
        if axes.descends(rows.id, DATA):
            continue
        if rows.shape[1] != 1 or data.shape[1] == 1:
            continue
        if rows.shape[0] != data.shape[0] or rows.shape[0] == 1:
            continue
        for kind, tensor, dim in axes.roots(rows.id, 0):
            if kind == "parameter" and scene.graph.size(tensor, dim) > rows.shape[0]:
                return data, rows
        lookup = _looked_up(scene, rows)
        if lookup is not None:
            length = lookup.inputs[1].shape[0]
            if length > rows.shape[0] and length >= data.shape[1]:
                return data, rows
    return None


def _looked_up(scene: Scene, rows: TensorRef) -> FunctionCall | None:
    """The embedding that makes the rows, of positions that arange counts."""
    lookup = scene.made_by(scene.undressed(rows.id))
    if lookup is None or lookup.name != "embedding":
        return None
    count = scene.made_by(scene.undressed(lookup.inputs[0].id))
    return lookup if count is not None and count.name == "arange" else None


def _positions_of_batch(
    scene: Scene, rule: Check, call: FunctionCall, batches: Batches
) -> Iterator[Diagnosis]:
    found = _table(scene, call)
    assert found is not None
    data, rows = found
    root = scene.axes.sole(data.id, 0)
    if root is None or root not in batches.sure:
        return
    lookup = _looked_up(scene, rows)
    if lookup is not None:
        who: Culprit | None = culprit(scene, lookup, "gives each sample a position")
        note = "for (batch, time, features)"
        fix = Fix("positions = torch.arange(x.size(1))[None]", detail=note)
    else:
        tables = [tensor for _, tensor, _ in scene.axes.roots(rows.id, 0)]
        owner = scene.owner(tables[0])
        who = Culprit("module", owner, source=call.source) if owner else None
        line = "{} + {}[: {}.size(1)].transpose(0, 1)"
        general = Fix(line.format("x", "self.pe", "x"))
        fix = summed(call, data, rows, line) or general
    yield finding(
        scene,
        rule,
        call,
        f"rows of a table of positions, {rows.shape}, are added along dimension 0 of "
        f"{data.shape}, which is the batch: every sample gets a position, every time "
        "step the same one.",
        culprits=[
            who,
            culprit(scene, call, "adds along the batch", 0, rows.shape[0]),
        ],
        fixes=[fix],
        shapes=[("data", data, 0), ("positions", rows, 0)],
        way=(data.id, 0),
    )


@check(
    "squeeze-drops-batch",
    "warning",
    "squeeze() without a dimension drops the batch of a batch of one",
)
def squeeze_drops_batch(scene: Scene, rule: Check) -> Iterator[Diagnosis]:
    axes = scene.axes
    for call in scene.calls("squeeze"):
        if not call.inputs or not call.outputs or len(call.args) > 1 or call.kwargs:
            continue
        given, made = call.inputs[0], call.outputs[0]
        if len(given.shape) < 2 or given.shape[0] != 1:
            continue
        root = axes.sole(given.id, 0)
        if root is None or root[2] != 0 or not axes.descends(given.id, 1):
            continue
        hurt = _meets_batch(scene, made)
        odd = [dim for dim, size in enumerate(given.shape) if size == 1 and dim]
        yield finding(
            scene,
            rule,
            call,
            f"squeeze() makes {made.shape} of {given.shape}: with a batch of one it "
            "drops the batch dimension too.",
            culprits=[culprit(scene, call, "drops every dimension of 1", 0, 1)],
            fixes=[instead(call, f"{{}}.squeeze({odd[-1]})" if odd else "{}", "x")],
            shapes=[("input", given, 0), ("output", made, None)],
            way=(given.id, 0),
            severity="warning" if hurt else "note",
        )


def _meets_batch(scene: Scene, made: TensorRef) -> bool:
    """Whether a loss compares what was squeezed with a target that has its batch."""
    for given, target in scene.sides.values():
        if target is not None and len(target.shape) > len(given.shape):
            if scene.undressed(given.id) == scene.undressed(made.id):
                return True
    return False
