"""Operands of fewer dimensions that meet the wrong dimension of the other."""

from __future__ import annotations

from shapetrace.checks.lines import operand
from shapetrace.checks.registry import Check
from shapetrace.checks.report import culprit, finding, size_culprit
from shapetrace.checks.scene import Scene
from shapetrace.records import Diagnosis, FunctionCall, TensorRef


def misaligned(scene: Scene, rule: Check, call: FunctionCall) -> Diagnosis | None:
    """One value a sample, `(N,)`, spread along the features of `(N, C)` because C is
    the same number: both descend from one dimension of the data, and stand apart."""
    low, tall = sorted(call.inputs, key=lambda ref: len(ref.shape))
    if scene.is_raw_data(tall.id):
        return None  # a matrix that came so: the order of its dimensions is the user's
    places = _places(scene, low, tall)
    lead = len(tall.shape) - len(low.shape)
    wrong = [dim for dim, place in enumerate(places) if place != dim + lead]
    if not wrong or places != sorted(set(places)):
        return None
    dim, size = wrong[0], low.shape[wrong[0]]
    at, meant = dim + lead, places[dim]
    if not _other_dimension(scene, low, dim, tall, at):
        return None
    return finding(
        scene,
        rule,
        call,
        f"{call.name} broadcasts {low.shape} against {tall.shape}: dimension {dim} of "
        f"the first, the {size} of the data, is dimension {meant} of the second, but "
        f"it is spread along dimension {at}, which has {size} by chance.",
        culprits=[
            culprit(scene, call, "aligns the last dimensions", at, size),
            size_culprit(scene, tall.id, at, f"makes {size}"),
        ],
        fixes=[operand(call, low, _spread(low, places, len(tall.shape)), "x")],
        shapes=[("first", low, dim), ("second", tall, at)],
        way=(low.id, dim),
    )


def _places(scene: Scene, low: TensorRef, tall: TensorRef) -> list[int]:
    """For each dimension of `low` the one dimension of `tall` that is the same of the
    data; where there is none, the one that it is broadcast to."""
    lead = len(tall.shape) - len(low.shape)
    found = []
    for dim, size in enumerate(low.shape):
        root = scene.axes.sole(low.id, dim) if size > 1 else None
        same = [
            place
            for place in range(len(tall.shape))
            if root is not None and root in scene.axes.roots(tall.id, place)
        ]
        sole = len(same) == 1 and scene.axes.sole(tall.id, same[0]) == root
        found.append(same[0] if sole else dim + lead)
    return found


def _other_dimension(
    scene: Scene, low: TensorRef, dim: int, tall: TensorRef, at: int
) -> bool:
    """Whether the dimension that is met is surely another one, and no batch: samples
    may be paired one to one."""
    if low.shape[dim] != tall.shape[at] or not scene.axes.sure(tall.id, at):
        return False
    roots = scene.axes.roots(tall.id, at)
    root = scene.axes.sole(low.id, dim)
    if root is not None and any(tensor == root[1] for _, tensor, _ in roots):
        return False  # a square matrix of the data: rows and columns are the same nodes
    return all(
        kind == "parameter" or (kind == "data" and place != 0)
        for kind, _, place in roots
    )


def _spread(low: TensorRef, places: list[int], rank: int) -> str:
    """The line that puts the dimensions where they belong."""
    if len(low.shape) == 1:
        return f"{{}}.view({', '.join(['-1'] + ['1'] * (rank - 1 - places[0]))})"
    line = "{}"
    for place in range(places[0], rank):
        if place not in places:
            line += f".unsqueeze({place - places[0]})"
    return line
