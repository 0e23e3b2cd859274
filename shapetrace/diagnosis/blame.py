"""Which side is wrong, and who put it there: culprits in order of likelihood.

Each rule weighs evidence that the recording holds, and says it in the culprit's
reason. Data (inputs and targets) is the user's and believed, unless no layer touched
the size that does not fit, or the shape itself gives it away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shapetrace.diagnosis.blame_loss import blame_loss
from shapetrace.diagnosis.problem import Problem, Spot
from shapetrace.diagnosis.votes import elect, prefer
from shapetrace.diagnosis.suspects import (
    Leaf,
    changers,
    explained_by_sum,
    is_uneven,
    leaves,
    made_in_model,
    of_call,
    of_data,
    of_module,
    owner,
    parted,
    remark,
)
from shapetrace.lineage import Call, Graph, Hop
from shapetrace.losses import sides
from shapetrace.records import Culprit, FunctionCall, ModuleCall

_MOST = 3


def blame(graph: Graph, problem: Problem) -> tuple[Culprit, ...]:
    """At most three culprits, most likely first."""
    rules = {
        "container": _container,
        "range": _range,
        "dtype": _unlike,
        "device": _unlike,
        "numel": _view,
        "rank": _rank,
        "size": _size,
        "other": _unknown,
    }
    found = list(rules[problem.kind](graph, problem))
    distinct: list[Culprit] = []
    for culprit in found:
        if all((culprit.kind, culprit.name) != (c.kind, c.name) for c in distinct):
            distinct.append(culprit)
    if not distinct:
        distinct = list(_unknown(graph, problem))
    # an installed package has been run by many: its code comes after layers and data
    distinct.sort(key=_is_library_code)
    return tuple(distinct[:_MOST])


def _is_library_code(culprit: Culprit) -> bool:
    file = culprit.source.file if culprit.source is not None else ""
    return culprit.kind == "function" and (
        "site-packages" in file or "dist-packages" in file
    )


def _size(graph: Graph, problem: Problem) -> Iterable[Culprit]:
    left, right = problem.left, problem.right
    if left is None or right is None:
        return _unknown(graph, problem)
    if problem.loss:
        prediction, target = sides(graph, problem.call)
        if prediction is not None and target is not None:
            return blame_loss(graph, problem)
    if right.tensor is None and problem.layer is None:
        return _argument(graph, problem, left, right)
    inside = problem.layer is not None and _is_composite(graph, problem.layer)
    if _holds(graph, right) or problem.layer is not None and not inside:
        return _layer(graph, problem, left, right)
    return _operands(graph, problem, left, right)


def _is_composite(graph: Graph, layer: ModuleCall) -> bool:
    """Whether one of torch's own layers is made of others (nn.TransformerDecoderLayer):
    a clash of two tensors inside it is one of its parts'."""
    return any(call.parent == layer.index for call in graph.rec.calls)


def _argument(
    graph: Graph, problem: Problem, left: Spot, right: Spot
) -> Iterable[Culprit]:
    """A number among the arguments (`expand(-1, 40)`) against a tensor: a table that a
    module holds and that is too short, else the function that asks for it."""
    asks = of_call(
        graph,
        problem.call,
        dim=left.dim,
        size=left.size,
        expected=right.size,
        reason=f"asks for {right.size}",
    )
    if left.tensor is None or left.dim is None:
        return [asks]
    end = graph.trail(left.tensor, left.dim).end
    holder = owner(graph, end.tensor) if end.kind == "parameter" else None
    if holder is None:
        found = leaves(graph, left.tensor, left.dim)
        return [asks, *_producers(graph, found, left, right)]
    table = Culprit(
        "module",
        holder,
        left.dim,
        left.size,
        right.size,
        problem.call.source,
        f"holds a table of {left.size}, {right.size} are asked for",
    )
    given = [
        of_data(graph, ref.id, dim=dim, size=size, reason=f"has {size} there")
        for root in graph.rec.calls[:1]
        for ref in root.inputs
        for dim, size in enumerate(ref.shape)
        if size == right.size and not graph.from_model(ref.id)
    ]
    return [table, *given[:1], asks]


def _holds(graph: Graph, spot: Spot) -> bool:
    return spot.tensor is not None and graph.is_parameter(spot.tensor)


# -- a layer against its input -------------------------------------------------------


def _layer(
    graph: Graph, problem: Problem, left: Spot, right: Spot
) -> Iterable[Culprit]:
    """The consumer's parameter first, its producer second, unless the shapes tell
    of a missing batch dimension, another layout, a view that regrouped, or a state
    made for another batch."""
    if left.tensor is None or left.dim is None:
        return _unknown(graph, problem)
    consumer = _consumer(graph, problem, right)
    shape = graph.tensors[left.tensor].shape
    found = leaves(graph, left.tensor, left.dim)
    label = left.role or problem.name or "size"
    wants = Culprit(
        consumer.kind,
        consumer.name,
        left.dim,
        left.size,
        right.size,
        consumer.source,
        f"expects {label}={right.size}, gets {left.size}",
    )
    first: list[Culprit] = []
    if right.tensor is not None and not _holds(graph, right):
        other = _second_operand(graph, problem, left, right)
        both = f"is given {left.size} and {right.size} for one dimension"
        wants = replace(wants, expected=None, reason=both)
        if graph.from_model(right.tensor):
            return [wants, *other]
        return [*other, wants]
    batch = _unbatched(graph, left.tensor)
    if batch is not None:
        first.append(batch)
    regrouped = _regrouped(graph, found, left, right)
    if regrouped is not None:
        first.append(regrouped)
    joined = _joined_elsewhere(graph, left, right)
    if joined is not None:
        first.append(joined)
    producers = _producers(graph, found, left, right)
    if consumer.kind == "module" and not first:
        elected = elect(graph, consumer.name, left, right, found)
        if elected is not None:
            against_producer, evidence = elected
            if against_producer and producers:
                head = replace(producers[0], reason=f"{producers[0].reason}; {evidence}")
                return [head, wants, *producers[1:]]
            wants = replace(wants, reason=f"{wants.reason}; {evidence}")
    untouched = len(found) == 1 and found[0].end.kind == "data" and not any(
        hop.call.inputs for hop in changers(graph, found[0].hops)
    )
    outside = all(
        hop.call.parent is None
        for leaf in found
        for hop in changers(graph, leaf.hops)
    )
    if outside and not graph.from_model(left.tensor):
        prepared = [] if untouched else producers
        data = of_data(
            graph,
            left.tensor,
            dim=left.dim,
            size=left.size,
            expected=right.size,
            reason=_layout(shape, left, right)
            or f"has {left.size} there, which no layer has touched",
        )
        if label in ("in_channels", "batch") or right.size in shape or not problem.layer:
            return [*first, *prepared[:1], data, wants]
        return [*first, wants, *prepared[:1], data]
    return [*first, wants, *producers]


def _consumer(graph: Graph, problem: Problem, right: Spot) -> Culprit:
    """The module that holds the parameter or buffer, else the layer that was called."""
    holder = owner(graph, right.tensor) if right.tensor is not None else None
    if problem.layer is not None and holder in (None, problem.layer.name):
        return of_module(problem.layer)
    if holder is not None:
        module = graph.module_of(problem.call)
        source = module.source if module is not None else problem.call.source
        return Culprit("module", holder, source=source)
    return of_call(graph, problem.call)


def _layout(shape: tuple[int, ...], left: Spot, right: Spot) -> str:
    where = [dim for dim, size in enumerate(shape) if size == right.size]
    if where and left.dim not in where:
        return (
            f"has its {right.size} in dim {where[-1]}, not in dim {left.dim}: "
            "another layout than the layer's"
        )
    return ""


def _unbatched(graph: Graph, tensor: int) -> Culprit | None:
    """Data that went into a convolution without a batch dimension: the channels have
    stood for the batch from there on."""
    for made, call in graph.chain(tensor):
        if not isinstance(call, FunctionCall) or not call.name.startswith("conv"):
            continue
        rank = int(call.name[-2]) + 2 if call.name[-1] == "d" else 0
        data = call.inputs[0]
        if rank and len(data.shape) == rank - 1 and not graph.from_model(data.id):
            return of_data(
                graph,
                data.id,
                dim=0,
                size=data.shape[0],
                reason=f"has no batch dimension: {call.name} took {_x(data.shape)} as one "
                "unbatched sample",
            )
    return None


def _regrouped(
    graph: Graph, found: tuple[Leaf, ...], left: Spot, right: Spot
) -> Culprit | None:
    """A view that took part of the batch (or of another dimension) into this one."""
    for leaf in found:
        for hop in changers(graph, leaf.hops):
            if hop.origin.how not in ("product", "split", "argument"):
                continue
            call = hop.call
            if not isinstance(call, FunctionCall) or not call.inputs:
                continue
            taken = [dim for _, dim in graph.source_ids(call, hop.origin)]
            size = graph.size(hop.tensor, hop.dim)
            if 0 in taken and len(taken) > 1 and size == call.inputs[0].shape[0] * right.size:
                return of_call(
                    graph,
                    call,
                    dim=hop.dim,
                    size=size,
                    expected=right.size,
                    reason=f"flattens the batch of {call.inputs[0].shape[0]} too; without it "
                    f"{right.size} would be left",
                )
            if not call.direct:
                continue
            old, new = call.inputs[0].shape, graph.tensors[hop.tensor].shape
            if hop.dim > 0 and old and new and old[0] != new[0] and old[0] > 1:
                return of_call(
                    graph,
                    call,
                    dim=hop.dim,
                    size=graph.size(hop.tensor, hop.dim),
                    expected=right.size,
                    reason=f"makes {_x(new)} of {_x(old)}: it regroups the first dimension",
                )
            return None
    return None


def _joined_elsewhere(graph: Graph, left: Spot, right: Spot) -> Culprit | None:
    """A cat of tensors along another dimension, which along this one would fit."""
    if left.tensor is None or left.dim is None:
        return None
    for made, call in graph.chain(left.tensor):
        if not isinstance(call, FunctionCall) or call.parent is None:
            return None
        if call.name not in ("cat", "concat", "concatenate"):
            if call.outputs and call.inputs and call.inputs[0].shape != call.outputs[0].shape:
                return None
            continue
        own = [ref for ref in call.inputs if len(ref.shape) > left.dim]
        along = sum(ref.shape[left.dim] for ref in own)
        if along == right.size and along != left.size:
            return of_call(
                graph,
                call,
                dim=left.dim,
                size=left.size,
                expected=right.size,
                reason=f"joins along another dimension; along dim {left.dim} it would "
                f"give {right.size}",
            )
        return None
    return None


def _second_operand(
    graph: Graph, problem: Problem, left: Spot, right: Spot
) -> list[Culprit]:
    """A layer's other input: a hidden state, a mask, a second sequence."""
    assert right.tensor is not None and right.dim is not None
    reason = f"gives {right.size} where {left.size} is wanted"
    info = {"dim": right.dim, "size": right.size, "expected": left.size}
    made = made_in_model(graph, right.tensor)
    if made is not None and not graph.from_model(right.tensor):
        return [
            of_call(graph, made, **info, reason=f"makes it for {right.size}, not {left.size}"),
        ]
    shapes = graph.tensors
    a = shapes[left.tensor].shape if left.tensor is not None else ()
    b = shapes[right.tensor].shape
    if problem.layer is not None and _swapped(graph, problem, a, b):
        return [
            of_module(
                problem.layer,
                dim=right.dim,
                size=right.size,
                reason="takes dimension 0 as time and 1 as batch (batch_first=False); "
                "its inputs come the other way round",
            )
        ]
    if graph.from_model(right.tensor):
        found = leaves(graph, right.tensor, right.dim)
        return parted(graph, left, right) or _producers(graph, found, right, left)
    data = of_data(graph, right.tensor, **info, reason=reason)
    return [data]


def _swapped(
    graph: Graph, problem: Problem, a: tuple[int, ...], b: tuple[int, ...]
) -> bool:
    """A sequence layer with batch_first=False whose second operand fits its first
    once batch and time change places."""
    assert problem.layer is not None
    info = graph.rec.modules.get(problem.layer.name)
    if info is None or info.attributes.get("batch_first") is not False:
        return False
    return len(a) >= 3 and len(b) >= 2 and a[0] != a[1] and b[:2] == a[:2]


def _producers(
    graph: Graph, found: tuple[Leaf, ...], left: Spot, right: Spot
) -> list[Culprit]:
    """Who made a size, per factor: the layer whose width it is, the window that is
    uneven, the function, the data."""
    culprits: list[Culprit] = []
    odd: list[Culprit] = []
    data: list[Culprit] = []
    for leaf in found:
        for hop in changers(graph, leaf.hops):
            how = hop.origin.how
            size = graph.size(hop.tensor, hop.dim)
            expected = right.size if len(found) == 1 and size == left.size else None
            if how == "window":
                if is_uneven(graph, hop):
                    odd.append(
                        of_call(
                            graph,
                            hop.call,
                            dim=hop.dim,
                            size=size,
                            reason=f"gives {size}{remark(hop.origin)}",
                        )
                    )
                continue
            if not hop.call.inputs:
                continue  # a factory: named as data below
            culprits.append(
                of_call(
                    graph,
                    hop.call,
                    dim=hop.dim,
                    size=size,
                    expected=expected,
                    reason=f"makes the {size}{remark(hop.origin)}",
                )
            )
            if how == "sum":
                culprits += _part_of_sum(graph, hop, right)
        if leaf.end.kind == "data":
            data.append(
                of_data(
                    graph,
                    leaf.end.tensor,
                    dim=leaf.end.dim,
                    size=graph.size(leaf.end.tensor, leaf.end.dim),
                    reason=f"has {graph.size(leaf.end.tensor, leaf.end.dim)} there",
                )
            )
        elif leaf.end.kind == "parameter":
            name = owner(graph, leaf.end.tensor)
            if name is not None and not any(c.name == name for c in culprits):
                culprits.append(
                    Culprit(
                        "module",
                        name,
                        leaf.end.dim,
                        graph.size(leaf.end.tensor, leaf.end.dim),
                        reason="holds the parameter",
                    )
                )
    windows = any(hop.origin.how == "window" for leaf in found for hop in leaf.hops)
    if len(found) > 1 and windows:
        return data + odd + culprits
    return culprits + odd + data


# -- two operands of a function ------------------------------------------------------


def _operands(
    graph: Graph, problem: Problem, left: Spot, right: Spot
) -> Iterable[Culprit]:
    """add, cat, matmul: both branches back to where each got its size."""
    if left.tensor is None or right.tensor is None:
        return _unknown(graph, problem)
    a, b = graph.tensors[left.tensor].shape, graph.tensors[right.tensor].shape
    swapped = _untransposed(graph, problem, a, b)
    if swapped is not None:
        return [swapped]
    for spot, other in ((right, left), (left, right)):
        if _holds(graph, spot):
            return _layer(graph, problem, other, spot)
    weights = [_parameter_end(graph, spot) for spot in (left, right)]
    if sorted(a) == sorted(b) and a != b:
        layouts = _layouts(graph, problem, left, right)
        if layouts:
            return layouts
    for spot, other in ((left, right), (right, left)):
        joined = _joins(graph, spot, other)
        if joined is not None:
            return [joined, *parted(graph, left, right)]
    branches = parted(graph, left, right)
    if branches:
        end = graph.trail(left.tensor, left.dim or 0).end
        data = (
            [of_data(graph, end.tensor, dim=end.dim, size=graph.size(end.tensor, end.dim))]
            if end.kind == "data"
            else []
        )
        around = _enclosing(graph, problem.call, "holds both branches")
        return [*branches[: 1 + (not data)], *data, *around]
    sides = []
    for spot, other in ((left, right), (right, left)):
        assert spot.tensor is not None and spot.dim is not None
        found = leaves(graph, spot.tensor, spot.dim)
        sides.append(_producers(graph, found, spot, other))
    first, second = sides
    made = [graph.from_model(spot.tensor) for spot in (left, right) if spot.tensor]
    if made == [True, False]:
        return _one_is_data(graph, left, right, first, second)
    if made == [False, True]:
        return _one_is_data(graph, right, left, second, first)
    swap = _changed(graph, right) > _changed(graph, left)
    if weights[0] != weights[1]:
        swap = weights[1]
    elif weights[0] and (verdict := prefer(graph, left.size, right.size)):
        swap = verdict > 0  # other layers take the left one's size: the right is odd
    if swap:
        first, second = second, first
    return [*first[:1], *second[:1], *first[1:], *second[1:]]


def _part_of_sum(graph: Graph, hop: Hop, right: Spot) -> list[Culprit]:
    """The one operand of a `cat` that could have another size so that the sum fits."""
    total = graph.size(hop.tensor, hop.dim)
    could = []
    for source in graph.source_ids(hop.call, hop.origin):
        size = graph.size(*source)
        wanted = right.size - (total - size)
        if wanted > 0 and wanted != size:
            could.append((source, size, wanted))
    if len(could) != 1:
        return []
    source, size, wanted = could[0]
    spot = Spot(source[0], source[1], size)
    return _producers(
        graph, leaves(graph, *source), spot, Spot(None, None, wanted)
    )


def _joins(graph: Graph, spot: Spot, other: Spot) -> Culprit | None:
    assert spot.tensor is not None and spot.dim is not None
    return explained_by_sum(graph, graph.trail(spot.tensor, spot.dim), other.size)


def _one_is_data(
    graph: Graph, model: Spot, data: Spot, makers: list[Culprit], own: list[Culprit]
) -> list[Culprit]:
    """What layers made against what came in (a mask, a table made in forward)."""
    return [*own[:1], *makers, *own[1:]]


def _changed(graph: Graph, spot: Spot) -> int:
    assert spot.tensor is not None and spot.dim is not None
    trail = graph.trail(spot.tensor, spot.dim)
    return sum(2 if is_uneven(graph, hop) else 1 for hop in changers(graph, trail.hops))


def _parameter_end(graph: Graph, spot: Spot) -> bool:
    assert spot.tensor is not None and spot.dim is not None
    return graph.trail(spot.tensor, spot.dim).end.kind == "parameter"


def _untransposed(
    graph: Graph, problem: Problem, a: tuple[int, ...], b: tuple[int, ...]
) -> Culprit | None:
    """A matrix product that would go if its second operand were transposed."""
    if problem.call.name not in ("matmul", "mm", "bmm", "linear", "baddbmm"):
        return None
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-1] or b[-2] == b[-1]:
        return None
    return of_call(
        graph,
        problem.call,
        dim=len(b) - 2,
        size=b[-2],
        expected=a[-1],
        reason=f"both operands end in {a[-1]}: the second wants transpose(-2, -1)",
    )


def _layouts(
    graph: Graph, problem: Problem, left: Spot, right: Spot
) -> list[Culprit]:
    """The same sizes in another order: a missing permute. Whoever put a new dimension
    in another place than the other side (one_hot puts classes last) is the culprit."""
    found = []
    for spot, other in ((right, left), (left, right)):
        assert spot.tensor is not None
        rank = len(graph.tensors[spot.tensor].shape)
        for dim in range(rank):
            end = graph.trail(spot.tensor, dim).end
            if end.kind == "argument" and isinstance(end.call, FunctionCall):
                if end.call.direct and end.call.inputs:
                    found.append(
                        of_call(
                            graph,
                            end.call,
                            dim=dim,
                            size=graph.size(spot.tensor, dim),
                            expected=None,
                            reason="the same sizes stand in another order: a permute is "
                            "missing after it",
                        )
                    )
    return found


# -- ranks, views, types, ranges, containers ---------------------------------------


def _rank(graph: Graph, problem: Problem) -> Iterable[Culprit]:
    """The tensor with fewer dimensions first: one was left out, or taken away."""
    if problem.loss:
        return blame_loss(graph, problem)
    sides = [spot.tensor for spot in problem.spots if spot.tensor is not None]
    sides = [side for side in sides if not graph.is_parameter(side)]
    sides.sort(key=lambda side: len(graph.tensors[side].shape))
    if not sides:
        return _unknown(graph, problem)
    found: list[Culprit] = []
    with_model = any(graph.from_model(side) for side in sides)
    for side in sides:
        shape = graph.tensors[side].shape
        reason = f"has {len(shape)} dimensions, {_x(shape)}"
        reshaped = _reshaper(graph, side)
        if reshaped is not None:
            found.append(of_call(graph, reshaped, reason=f"gives a result that {reason}"))
        elif not graph.from_model(side):
            # outside of every module, what meets a prediction is its target
            target = with_model and problem.call.parent is None
            found.append(of_data(graph, side, target=target, reason=reason))
        else:
            for _, call in graph.chain(side):
                found.append(
                    of_call(graph, call, reason=f"gives an output that {reason}")
                )
                break
    if problem.layer is not None:
        shape = graph.tensors[sides[0]].shape
        found.append(of_module(problem.layer, reason=f"cannot take {_x(shape)}"))
        found.sort(key=lambda culprit: culprit.kind == "module")
    elif len(sides) > 1:
        found.append(of_call(graph, problem.call, reason="takes both"))
    return found


def _reshaper(graph: Graph, tensor: int) -> FunctionCall | None:
    """The newest function of the user's that changed the number of dimensions."""
    for made, call in graph.chain(tensor):
        if isinstance(call, FunctionCall) and call.direct and call.inputs:
            if len(call.inputs[0].shape) != len(graph.tensors[made].shape):
                return call
    return None


def _view(graph: Graph, problem: Problem) -> Iterable[Culprit]:
    """A view of another number of elements: the view names a number that is not the
    data's; the data's sizes are named after it."""
    call = problem.call
    wanted = problem.right.size if problem.right else None
    yield of_call(
        graph,
        call,
        size=problem.left.size if problem.left else None,
        expected=wanted,
        reason=f"asks for {wanted} elements (or a multiple)"
        if wanted
        else "asks for another number of elements",
    )
    if not call.inputs:
        return
    tensor = call.inputs[0]
    dims = list(range(1, len(tensor.shape)))
    odd = _first_unlike(call, tensor.shape)
    if odd in dims:
        dims.remove(odd)
        dims.insert(0, odd)
    for dim in dims:
        found = leaves(graph, tensor.id, dim)
        spot = Spot(tensor.id, dim, tensor.shape[dim])
        yield from _producers(graph, found, spot, Spot(None, None, 0))


def _first_unlike(call: FunctionCall, shape: tuple[int, ...]) -> int:
    """The dimension, counted from the last, where an asked shape leaves the data's."""
    asked = [arg for arg in call.args[1:] if isinstance(arg, int)]
    for arg in call.args[1:2]:
        if isinstance(arg, (tuple, list)):
            asked = [size for size in arg if isinstance(size, int)]
    dim = len(shape) - 1
    for size in reversed(asked):
        first, product = dim, 1
        while dim >= 0 and product < size:
            product *= shape[dim]
            dim -= 1
        if product != size:
            return first
    return dim


def _unlike(graph: Graph, problem: Problem) -> Iterable[Culprit]:
    """Two element types or devices: the data, or the call that cast or moved it."""
    left, right = problem.left, problem.right
    if left is None or left.tensor is None:
        return
    kind = problem.kind
    odd = right if problem.loss and right is not None else left
    assert odd.tensor is not None
    own = str(getattr(graph.tensors[odd.tensor], kind)).removeprefix("torch.")
    against = left if odd is right else right
    if against is not None and against.tensor is not None:
        wanted = str(getattr(graph.tensors[against.tensor], kind)).removeprefix("torch.")
    else:
        wanted = "another"
    reason = f"is {own}, {wanted} is wanted"
    held = _held(graph, problem)
    if held is not None:
        yield of_module(
            held,
            reason=f"uses a tensor that is neither parameter nor buffer: {reason}",
        )
    if not graph.from_model(odd.tensor):
        made = made_in_model(graph, odd.tensor)
        if made is not None and problem.layer is None and not problem.loss:
            yield of_call(graph, made, reason=reason)
        yield of_data(graph, odd.tensor, target=problem.loss, reason=reason)
        if problem.layer is not None:
            yield of_module(problem.layer, reason=f"holds {wanted} parameters")
        else:
            yield from _enclosing(graph, problem.call, f"combines {own} with {wanted}")
        return
    if problem.layer is not None:
        yield of_module(problem.layer, reason=f"holds {wanted} parameters, gets {own}")
    caster = _caster(graph, odd.tensor, kind)
    if caster is not None:
        yield of_call(graph, caster, reason=f"gives {own}")
    yield from _enclosing(graph, problem.call, f"combines {own} with {wanted}")


def _held(graph: Graph, problem: Problem) -> ModuleCall | None:
    """The module that seems to hold the odd tensor as a plain attribute: it came from
    outside the trace, and not through the module's inputs."""
    module = graph.module_of(problem.call)
    if module is None or problem.layer is not None:
        return None
    given = {ref.id for ref in module.inputs}
    for spot in problem.spots:
        origin = graph.origin(spot.tensor) if spot.tensor is not None else None
        if origin is not None and origin.kind == "outside" and spot.tensor not in given:
            return module
    return None


def _caster(graph: Graph, tensor: int, kind: str) -> Call | None:
    """The oldest call of the unbroken run that has the odd type or device."""
    odd = getattr(graph.tensors[tensor], kind)
    found: Call | None = None
    for made, call in graph.chain(tensor):
        if getattr(graph.tensors[made], kind) != odd:
            break
        found = call
    return found


def _enclosing(graph: Graph, call: FunctionCall, reason: str) -> Iterable[Culprit]:
    module = graph.module_of(call)
    if module is not None:
        yield of_module(module, reason=reason)


def _range(graph: Graph, problem: Problem) -> Iterable[Culprit]:
    left, right = problem.left, problem.right
    if left is None or left.tensor is None:
        return
    span = graph.rec.value_ranges.get(left.tensor, (left.size, left.size))
    limit = right.size if right is not None else None
    reason = f"holds values from {span[0]} to {span[1]}, allowed are 0 to {(limit or 1) - 1}"
    size = span[0] if span[0] < 0 else span[1]
    data = of_data(
        graph, left.tensor, target=problem.loss, size=size, expected=limit, reason=reason
    )
    if problem.loss:
        yield data
        if right is not None and right.tensor is not None and right.dim is not None:
            found = leaves(graph, right.tensor, right.dim)
            yield from _producers(graph, found, right, Spot(None, None, span[1] + 1))
        return
    table = None
    if problem.layer is not None:
        table = of_module(
            problem.layer,
            dim=0,
            size=limit,
            expected=span[1] + 1 if span[0] >= 0 else None,
            reason=f"has num_embeddings={limit}, index {size} is asked for",
        )
    if table is not None and span[0] >= 0:
        yield table
    yield data
    if table is not None:
        yield table


def _container(graph: Graph, problem: Problem) -> Iterable[Culprit]:
    """The module call whose whole output was passed on."""
    inner = [ref.id for ref in problem.call.inputs if "[" in ref.path[6:]]
    inner += [ref.id for ref in problem.call.inputs if "." in ref.path]
    for module in sorted(graph.rec.calls, key=lambda call: -call.end_order):
        ids = {ref.id for ref in module.outputs or ()}
        if module.output_type != "Tensor" and ids and ids & set(inner):
            yield of_module(
                module,
                reason=f"returns {module.output_type}; the call wants one tensor of it",
            )
            return


def _unknown(graph: Graph, problem: Problem) -> Iterable[Culprit]:
    """No rule says more: the layer that failed, its input, or the function itself."""
    call = problem.call
    message = call.error.message if call.error is not None else ""
    if "too small" in message or "greater than actual input" in message:
        yield from _too_small(graph, problem)
        return
    if problem.layer is not None:
        yield of_module(problem.layer, reason="raised")
        for ref in call.inputs:
            if not graph.is_parameter(ref.id):
                if not graph.from_model(ref.id):
                    yield of_data(graph, ref.id, reason=f"comes in as {_x(ref.shape)}")
                break
        return
    if problem.loss:
        yield from blame_loss(graph, problem)
        return
    yield of_call(graph, call, reason="raised")
    yield from _enclosing(graph, call, "encloses the call that raised")


def _too_small(graph: Graph, problem: Problem) -> Iterable[Culprit]:
    """Nothing is left for a window: the image, or whoever made so little of it."""
    tensor = problem.call.inputs[0]
    dim = len(tensor.shape) - 1
    spot = Spot(tensor.id, dim, tensor.shape[dim])
    shrunk = [
        of_call(
            graph,
            hop.call,
            dim=hop.dim,
            size=graph.size(hop.tensor, hop.dim),
            reason=f"leaves {graph.size(hop.tensor, hop.dim)}{remark(hop.origin)}",
        )
        for leaf in leaves(graph, tensor.id, dim)
        for hop in changers(graph, leaf.hops)
        if hop.origin.how == "window"
    ]
    data = [
        culprit
        for culprit in _producers(
            graph, leaves(graph, tensor.id, dim), spot, Spot(None, None, 0)
        )
        if culprit.kind in ("input", "target")
    ]
    failed = of_call(graph, problem.call, reason=f"has only {_x(tensor.shape)} to work on")
    if problem.layer is not None:
        return [failed, *data, *shrunk]
    return [*data, *shrunk, failed]


def _x(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"
