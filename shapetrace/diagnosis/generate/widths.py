"""Layers and parameters made with another size: the one that gave the odd size, and the
one that does not take it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from math import gcd, prod

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.expected import sizes_asked
from shapetrace.diagnosis.detection.mismatch import Spot
from shapetrace.diagnosis.hypothesis import UNWRITTEN, Hypothesis, Repair, Taken
from shapetrace.diagnosis.repair.edits import resized
from shapetrace.diagnosis.repair.rebuilding import rebuilt
from shapetrace.diagnosis.sites import owner
from shapetrace.diagnosis.sizes.leaves import counts_samples, every_part, leaves
from shapetrace.diagnosis.words.reasons import said_of
from shapetrace.records import ModuleInfo, Source
from shapetrace.signatures import size_given, size_taken
from shapetrace.source.rewrite import rewritten
from shapetrace.source.scope import Expression, Scope, bound
from shapetrace.source.sizes import reworded
from shapetrace.source.tree import last_name
from shapetrace.source.written import renumbered

#: the width is multiplied, or added to, in no more ways
_MOST = 24
#: what makes the values of a parameter
_FACTORIES = ("zeros", "ones", "randn", "rand", "empty", "full", "normal")


def widths(case: Case) -> Iterator[Hypothesis | None]:
    """Both sides of every pair of sizes that disagree."""
    if case.mismatch.kind == "rank":
        yield from _ranks(case)
    if case.mismatch.kind == "numel":
        yield from _filling(case)
    seen: set[tuple[int | None, int | None, int]] = set()
    for spot, wanted in _sides(case):
        key = (spot.tensor, spot.dim, wanted)
        if key in seen or wanted < 1:
            continue
        seen.add(key)
        if spot.tensor is None:
            yield from _intake(case)
        else:
            yield from widths_of(case, spot, wanted)


def _filling(case: Case) -> Iterator[Hypothesis | None]:
    """The layers behind a tensor that a view asks more or fewer elements of, as wide as
    fills what it asks for."""
    call = case.call
    asked = [size for size in sizes_asked(call) if size != -1]
    if not call.inputs or not asked or min(asked) < 1:
        return
    shape, known = call.inputs[0].shape, prod(asked)
    for dim in range(1, len(shape)):
        rest = prod(shape[:dim] + shape[dim + 1 :])
        step = known // gcd(known, rest or 1)
        new = step * max(1, round(shape[dim] / step))
        if -1 not in sizes_asked(call):
            new = known // rest if rest and known % rest == 0 else 0
        if new and new != shape[dim]:
            spot = Spot(call.inputs[0].id, dim, shape[dim])
            yield from _producers(case, spot, new)


def _ranks(case: Case) -> Iterator[Hypothesis | None]:
    """A parameter of the user's with another number of dimensions."""
    for spot in case.mismatch.spots:
        if spot.tensor is None or not case.graph.is_parameter(spot.tensor):
            continue
        name = owner(case.graph, spot.tensor)
        info = case.graph.rec.modules.get(name or "")
        if info is None or info.qualname.startswith("torch.nn.modules."):
            continue
        site = case.site_named(info.name)
        reason = said_of(case, site, case.graph.tensors[spot.tensor])
        yield Hypothesis("parameter", site, reason=reason)


def _sides(case: Case) -> Iterator[tuple[Spot, int]]:
    """The sides of the mismatch, and of what else disagrees in the same call."""
    left, right = case.mismatch.left, case.mismatch.right
    if case.mismatch.kind in ("size", "numel") and left is not None:
        if right is not None:
            yield left, right.size
            yield right, left.size
    yield from case.assumed
    for clash in case.mismatch.conflicts[:4]:
        if clash.kind != "size":
            continue
        for own, other in ((clash.left, clash.right), (clash.right, clash.left)):
            tensor = None if own.input is None else case.call.inputs[own.input].id
            yield Spot(tensor, own.dim, own.size, own.name, own.input), other.size


def widths_of(case: Case, spot: Spot, wanted: int) -> Iterator[Hypothesis | None]:
    """One side of another size: whoever holds it, or the layers behind it."""
    if spot.tensor is not None and case.graph.is_parameter(spot.tensor):
        yield from _held(case, spot, wanted)
    elif spot.tensor is not None and spot.dim is not None:
        yield from _producers(case, spot, wanted)


def _held(case: Case, spot: Spot, wanted: int) -> Iterator[Hypothesis | None]:
    """A parameter or buffer of another size: its layer rebuilt, or itself made so."""
    assert spot.tensor is not None
    name = owner(case.graph, spot.tensor)
    own = case.graph.rec.modules.get(case.layer.name) if case.layer else None
    if own is not None and own.name != name:
        if any(ref.id == spot.tensor for ref in own.parameters):
            yield from _intake(case, own)  # a weight that both hold
    info = None if name is None else case.graph.rec.modules.get(name)
    if info is None or name is None:
        return
    # what a loss holds are weights of classes, which the user made
    of_loss = info.qualname.startswith("torch.nn.modules.loss.")
    if info.qualname.startswith("torch.nn.modules.") and not of_loss:
        yield from _intake(case, info)
        width = size_given(info.type)
        if case.layer is None or case.layer.name != name:
            old = case.graph.size(spot.tensor, spot.dim or 0)
            if width is not None and spot.dim == 0 and old:
                yield rebuilt(case, name, {width: wanted}, "width")
        return
    if spot.dim is None:
        return
    dims = _as_odd(case, spot, wanted)
    yield _remade(case, spot.tensor, dims, name, wanted)


def _as_odd(case: Case, spot: Spot, wanted: int) -> list[int]:
    """The dimensions of a tensor that disagree as one does: rows and columns."""
    assert spot.dim is not None
    found = {spot.dim}
    for clash in case.mismatch.conflicts:
        for own, other in ((clash.left, clash.right), (clash.right, clash.left)):
            if own.input is None or own.dim is None or other.size != wanted:
                continue
            same = case.call.inputs[own.input].id == spot.tensor
            if same and own.size == spot.size:
                found.add(own.dim)
    return sorted(found)


def _intake(case: Case, info: ModuleInfo | None = None) -> Iterator[Hypothesis | None]:
    """The layer that failed, built for what it is given."""
    if info is None and case.layer is not None:
        info = case.graph.rec.modules.get(case.layer.name)
    data = [r for r in case.call.inputs if not case.graph.is_parameter(r.id)]
    if info is None or not data:
        return
    taken = size_taken(info, data[0].shape)
    if taken is None or taken[1] == 0:
        return
    name, size = taken
    own = info.attributes.get(name)
    wanted = own[0] if isinstance(own, tuple) and own else own
    reason = f"expects {name}={_short(own)}, gets {size}"
    if wanted == size:
        weight = next((p for p in info.parameters if p.path == "weight"), None)
        if weight is None or size in weight.shape:
            return
        origin = case.graph.origin(weight.id)
        held = origin.name if origin is not None else f"{info.name}.weight"
        held = case.graph.said(held)
        wanted = None
        reason = f"holds `{held}`, {weight.shape}, and gets {size}"
    found = rebuilt(case, info.name, {name: size}, "intake")
    if found is not None:
        if wanted is None and not _written_otherwise(case, info.name, name, size):
            # it was built so, and its weight was put in the place of its own
            found = replace(found, line="", where=None, words="")
        yield replace(
            found,
            reason=reason,
            dim=len(data[0].shape) - 1,
            size=wanted if isinstance(wanted, int) else None,
            expected=size,
        )


def _written_otherwise(case: Case, layer: str, argument: str, size: int) -> bool:
    """Whether the line that builds a layer has another number written out."""
    made = case.graph.constructions.of(layer)
    old = made.argument(argument) if made is not None else None
    node = old.node if old is not None else None
    return isinstance(node, ast.Constant) and node.value != size


def _short(value: object) -> object:
    if isinstance(value, (tuple, list)) and len(value) == 1:
        return value[0]
    return value


def _producers(case: Case, spot: Spot, wanted: int) -> Iterator[Hypothesis | None]:
    """The layers behind a size, built so that it becomes `wanted`."""
    graph = case.graph
    assert spot.tensor is not None and spot.dim is not None
    size = graph.size(spot.tensor, spot.dim)
    parts = leaves(graph, spot.tensor, spot.dim)
    samples = [p.size for p in parts if counts_samples(graph, p.hops, p.end)]
    if len(parts) > 1 and samples and wanted % prod(samples):
        return  # the other side has other samples: no width is to make up for them
    seen: set[tuple[str, int]] = set()
    for leaf in every_part(graph, spot.tensor, spot.dim):
        if not leaf.size or leaf.end.kind != "parameter":
            continue
        name = owner(graph, leaf.end.tensor)
        info = graph.rec.modules.get(name or "")
        if info is None or name is None:
            continue
        old = graph.size(leaf.end.tensor, leaf.end.dim)
        width = size_given(info.type)
        for new in _candidates(old, leaf.size, size, wanted):
            if (name, new) in seen or len(seen) > _MOST:
                continue
            seen.add((name, new))
            if width is None:
                dims = _dims_behind(case, spot, leaf.end.tensor, wanted)
                yield _remade(case, leaf.end.tensor, dims or [leaf.end.dim], name, new)
                continue
            found = rebuilt(case, name, {width: new}, "width")
            if found is None and name not in case.replay.calls_of:
                # a function took its weight: without a call there is no trying
                found = Hypothesis("width", case.site_named(name))
            if found is not None:
                yield replace(
                    found,
                    reason=f"makes the {leaf.size} ({width}={old})",
                    dim=spot.dim,
                    size=old,
                    expected=new,
                )


def _dims_behind(case: Case, spot: Spot, held: int, wanted: int) -> list[int]:
    """The dimensions of what a module holds that the odd ones of a part of it are."""
    assert spot.tensor is not None
    ends = [
        case.graph.trail(spot.tensor, dim).end for dim in _as_odd(case, spot, wanted)
    ]
    return sorted({end.dim for end in ends if end.tensor == held})


def _remade(
    case: Case, tensor: int, dims: list[int], name: str, new: int
) -> Hypothesis:
    """A parameter or buffer of the user's own module with another size."""
    dim = dims[0]
    origin = case.graph.origin(tensor)
    path = origin.name if origin is not None else name
    kind = origin.kind if origin is not None else "parameter"
    size = case.graph.size(tensor, dim)
    rank, attribute = len(case.graph.tensors[tensor].shape), path.rpartition(".")[2]
    line, where = _holder_line(case, name, attribute, rank, dims, new)
    words = f"{new} instead of {size}"
    edit, alike = resized(dict.fromkeys(dims, new)), _built_alike(case, path)
    repair = Repair(taken=tuple(Taken(each, edit) for each in alike))
    outcome = case.replay.start(repair)
    if len(alike) > 1 and (outcome is None or outcome.broke):
        # the line is right for the others that it makes
        alone = Repair(taken=(Taken(tensor, edit),))
        goes = case.replay.start(alone)
        if goes is not None and not goes.broke:
            repair, outcome, (line, where) = alone, goes, UNWRITTEN
            words += f", in `{case.graph.said(name)}` alone"
    return Hypothesis(
        "parameter",
        case.site_named(name),
        repair,
        case.hops_to(name),
        line,
        where,
        words,
        reason=f"holds the {kind} `{case.graph.said(path)}` with {size} in dim {dim}",
        dim=dim,
        size=size,
        expected=new,
        outcome=outcome,
    )


def _built_alike(case: Case, path: str) -> list[int]:
    """What all modules of a class hold by one name, as an optimizer left it last: the
    same line makes them."""
    rec = case.graph.rec
    name, _, attribute = path.rpartition(".")
    kind = rec.modules[name].qualname if name in rec.modules else ""
    owners = {one for one, info in rec.modules.items() if info.qualname == kind}
    held = {f"{one}.{attribute}".removeprefix(".") for one in owners | {name}}
    newest: dict[str, int] = {}
    for tensor, origin in sorted(rec.origins.items()):
        if origin.name in held:
            newest[origin.name] = tensor
    return list(newest.values())


def _holder_line(
    case: Case, owner: str, attribute: str, rank: int, dims: list[int], new: int
) -> tuple[str, Source | None]:
    """`self.positions = nn.Parameter(torch.zeros(1, n, width))` with another size."""
    for scope in case.graph.constructions.scopes(owner):
        for one in bound(scope, f"{scope.self_name()}.{attribute}"):
            nodes = list(_made_of(one.value, scope))
            making = {scope.tree.statement(node) for node in nodes}
            for node in nodes:
                if last_name(node.func) not in _FACTORIES:
                    continue
                sizes = node.args
                if len(sizes) == 1 and isinstance(sizes[0], (ast.Tuple, ast.List)):
                    sizes = sizes[0].elts
                # a view that adds dimensions of 1 in front has no number of its own
                added = max(rank - len(sizes), 0)
                if not added <= min(dims) <= max(dims) < len(sizes) + added:
                    continue
                inits = case.graph.constructions.scopes
                olds = [Expression(sizes[dim - added], scope) for dim in dims]
                texts = [reworded(old, new, inits) for old in olds]
                if str(new) in texts or added:
                    whole = renumbered(olds[0], new, inits, making)
                    if whole is not None or added:
                        return whole or ("", None)
                parts = list(zip((old.node for old in olds), texts))
                return rewritten(scope.tree, parts, node)
    return "", None


def _made_of(value: ast.expr, scope: Scope) -> Iterator[ast.Call]:
    """The calls in an expression, and in what its names were given before."""
    for node in ast.walk(value):
        if isinstance(node, ast.Call):
            yield node
        elif isinstance(node, ast.Name):
            for one in bound(scope, node.id):
                inner = one.value if one.value is not value else ast.Pass()
                yield from (n for n in ast.walk(inner) if isinstance(n, ast.Call))


def _candidates(old: int, part: int, size: int, wanted: int) -> list[int]:
    """The widths with which a size could be `wanted`: in proportion, or the difference
    added where it is one part of several. Trying tells which of them do."""
    found = []
    if size and (old * wanted) % size == 0:
        found.append(old * wanted // size)
    if old + wanted - size > 0:
        found.append(old + wanted - size)
    if part == size or part == old:
        found.append(wanted)
    return [new for new in dict.fromkeys(found) if new > 0 and new != old]
