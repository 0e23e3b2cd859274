"""What does not fit, in one sentence with both numbers."""

from __future__ import annotations

from shapetrace.diagnosis.detection.mismatch import Mismatch, Spot
from shapetrace.lineage import Graph
from shapetrace.lineage.loss_calls import sides
from shapetrace.records import FunctionCall
from shapetrace.signatures import argument_name, is_loss


def sentence(graph: Graph, mismatch: Mismatch, where: str) -> str:
    """What failed, and the two things that clash."""
    kind, _, name = where.partition(":")
    subject = f"`{graph.said(name) or _root(graph)}`" if kind == "module" else ""
    subject = subject or f"`{mismatch.call.name}`"
    if mismatch.layer is not None:
        subject += f" ({mismatch.layer.type})"
    clash = _clash(graph, mismatch)
    if clash:
        return f"{subject} failed: {clash}."
    error = mismatch.call.error
    shapes = ", ".join(str(ref.shape) for ref in mismatch.call.inputs[:4])
    said = f": {first_line(error.message)}" if error is not None else "."
    return f"{subject} failed on {shapes or 'no tensor'}{said}"


def _clash(graph: Graph, mismatch: Mismatch) -> str:
    left, right, kind = mismatch.left, mismatch.right, mismatch.kind
    if kind == "container":
        return "it was given a container, not one tensor of it"
    if left is None:
        return ""
    if kind == "dtype" and right is None and mismatch.name == "int64":
        given = _attribute(graph, left, kind)
        return f"{operand(graph, mismatch, left)} is {given}, not int64"
    if kind == "range":
        limit = ""
        if right is not None:
            limit = f"; {right.size} ({right.role or f'dim {right.dim}'}) exist"
        return f"index {left.size} is out of range{limit}"
    if kind == "rank":
        return _ranks(graph, mismatch, left, right)
    if right is None:
        return ""
    if kind == "size":
        sides = [
            f"{_side(graph, mismatch, s)} is {_size(graph, s)}" for s in (left, right)
        ]
        return ", ".join(sides)
    if kind == "numel":
        return _elements(graph, left, right)
    if kind == "dtype" and wants_indices(graph, mismatch.call):
        given = _attribute(graph, right, kind)
        return f"the target is {given}, class indices are int64"
    if kind in ("dtype", "device"):
        own, other = (_attribute(graph, spot, kind) for spot in (left, right))
        what = "element types" if kind == "dtype" else "devices"
        return f"{what} differ, {own} and {other}"
    return ""


def _size(graph: Graph, spot: Spot) -> str:
    """A size, and what it was multiplied by: heads, groups."""
    if spot.tensor is None or spot.dim is None or graph.is_parameter(spot.tensor):
        return str(spot.size)
    real = graph.size(spot.tensor, spot.dim)
    if real in (0, spot.size) or spot.size % real:
        return str(spot.size)
    return f"{real}, times {spot.size // real} = {spot.size}"


def _elements(graph: Graph, left: Spot, right: Spot) -> str:
    shape = graph.tensors[left.tensor].shape if left.tensor is not None else ()
    if left.dim is not None or not shape:
        return f"{left.size} is no multiple of {right.size}"
    asked = f"the sizes asked for multiply to {right.size}"
    return f"{shape} has {left.size} elements, {asked}"


def _ranks(graph: Graph, mismatch: Mismatch, left: Spot, right: Spot | None) -> str:
    spots = [s for s in (left, right) if s is not None and s.tensor is not None]
    shapes = [graph.tensors[s.tensor].shape for s in spots if s.tensor is not None]
    third = any(operand(graph, mismatch, spot).startswith("`") for spot in spots)
    if mismatch.loss and len(shapes) == 2 and right is not None and not third:
        wanted = left.size if left.dim is None else right.size
        names = [operand(graph, mismatch, spot) for spot in spots]
        return (
            f"{names[0]} has shape {shapes[0]}, {names[1]} {shapes[1]}; "
            f"a {wanted}-D target is wanted"
        )
    if len(shapes) == 2:
        names = [operand(graph, mismatch, spot) for spot in spots]
        return (
            f"{names[0]} has {len(shapes[0])} dimensions {shapes[0]}, {names[1]} has "
            f"{len(shapes[1])}: {shapes[1]}"
        )
    if not shapes:
        return ""
    spots = [spot for spot in (left, right) if spot is not None]
    other = next((spot for spot in spots if spot.tensor is None), None)
    wanted_rank = f": {other.role} is wanted" if other and other.role else ""
    name = operand(graph, mismatch, spots[0])
    what = name if name.startswith("`") else "input"
    return f"{len(shapes[0])}-D {what} {shapes[0]}{wanted_rank}"


def _root(graph: Graph) -> str:
    calls = graph.rec.calls
    return graph.spoken(calls[0]) if calls else "the model"


def _attribute(graph: Graph, spot: Spot, kind: str) -> str:
    if spot.tensor is None:
        return "another"
    return str(getattr(graph.tensors[spot.tensor], kind)).removeprefix("torch.")


def _side(graph: Graph, mismatch: Mismatch, spot: Spot) -> str:
    """One side of a clash, in words: "dim 1 of the target"."""
    origin = graph.origin(spot.tensor) if spot.tensor is not None else None
    if origin is not None and origin.kind in ("parameter", "buffer"):
        role = spot.role or mismatch.name
        own = mismatch.layer is not None and origin.name.startswith(mismatch.layer.name)
        if role and own:
            return f"its {role}"
        return f"dim {spot.dim} of `{graph.said(origin.name)}`"
    if spot.tensor is None:
        role = spot.role or mismatch.name
        asked = not role or role in (mismatch.call.name, "view", "size", "shape")
        return "the size asked for" if asked else f"its {role}"
    what = operand(graph, mismatch, spot)
    return f"dim {spot.dim} of {what}" if spot.dim is not None else what


def operand(graph: Graph, mismatch: Mismatch, spot: Spot) -> str:
    """A tensor argument by its role in a loss, else by its parameter's name."""
    if spot.input is None or spot.input >= len(mismatch.call.inputs):
        return f"the {spot.role or 'input'}"
    if is_loss(mismatch.call.name):
        prediction, target = sides(graph, mismatch.call)
        given = mismatch.call.inputs[spot.input]
        if given is target:
            return "the target"
        if given is prediction:
            return "the prediction"
    name = argument_name(mismatch.call, spot.input)
    if name in ("input", "other", None) or name.startswith("tensors"):
        if len(mismatch.call.inputs) == 1 or mismatch.layer is not None:
            return "the input"
        ordinal = ("first", "second", "third", "fourth")
        place = ordinal[spot.input] if spot.input < 4 else f"{spot.input + 1}th"
        return f"the {place} operand"
    return f"`{name}`"


def first_line(message: str) -> str:
    """The first line of an error's message."""
    return message.strip().splitlines()[0] if message.strip() else ""


def wants_indices(graph: Graph, call: FunctionCall) -> bool:
    """Whether a loss over classes was given floats in the shape of class indices."""
    prediction, target = sides(graph, call)
    if call.name not in ("cross_entropy", "nll_loss"):
        return False
    if prediction is None or target is None or not target.dtype.is_floating_point:
        return False
    return target.shape != prediction.shape
