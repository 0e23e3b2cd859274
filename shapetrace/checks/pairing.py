"""Pairs that come apart: one side repeated as a whole, the other each for itself."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from shapetrace.checks.lines import interleaved
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, finding
from shapetrace.checks.scene import Scene, plain
from shapetrace.lineage.factors import Axis
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind


@check(
    "pairs-apart",
    "warning",
    "rows are put side by side that do not belong together: one tensor was repeated as "
    "a whole (a b a b), the other each row for itself (a a b b)",
)
def pairs_apart(scene: Scene, rule: Check) -> Iterator[Diagnosis]:
    if not scene.of_kind("repeat"):
        return
    for call in scene.functions:
        if kind(call.name) not in _PAIRS and call.index not in scene.sides:
            continue
        tensors = [ref for ref in call.inputs if ref.shape and ref.shape[0] > 1]
        if len(tensors) != 2 or not call.outputs:
            continue
        one, two = tensors
        if one.shape[0] != two.shape[0] or len(one.shape) != len(two.shape):
            continue
        sides = [scene.axes.of(ref.id, 0) for ref in (one, two)]
        if _crossed(*sides):
            repeat = _repeat(scene, one) or _repeat(scene, two)
            if repeat is not None:
                yield _apart(scene, rule, call, one, two, sides, repeat)


_PAIRS = ("sum", "scale", "compare", "join", "distance")


def _crossed(one: tuple[Axis, ...], two: tuple[Axis, ...]) -> bool:
    """Whether the same count and the same batch stand in another order. Where the sizes
    stand in one order as well, every row of one is meant to meet every row of the
    other."""
    if len(one) != 2 or len(two) != 2 or not all(a.sure for a in (*one, *two)):
        return False
    if [a.size for a in one] != [a.size for a in reversed(two)]:
        return False
    kinds = [[{root[0] for root in a.roots} for a in side] for side in (one, two)]
    if one[0].size == one[1].size or kinds[0] != kinds[1][::-1]:
        return False
    return sorted(map(sorted, kinds[0])) == [["data"], ["made"]]


def _repeat(scene: Scene, ref: TensorRef) -> FunctionCall | None:
    """The call that repeated what a tensor was made of as a whole."""
    todo, seen = [ref.id], {ref.id}
    while todo:
        made = scene.made_by(todo.pop(0))
        if made is None or len(seen) > _FAR:
            continue
        if plain(made.name) in ("repeat", "tile"):
            return made
        new = [one.id for one in made.inputs if one.id not in seen]
        seen.update(new)
        todo += new
    return None


#: tensors that are looked back over for a repeat
_FAR = 2000


def _apart(
    scene: Scene,
    rule: Check,
    call: FunctionCall,
    one: TensorRef,
    two: TensorRef,
    sides: list[tuple[Axis, ...]],
    repeat: FunctionCall,
) -> Diagnosis:
    shown = [" · ".join(str(axis.size) for axis in side) for side in sides]
    size = repeat.inputs[0].shape[:1]
    count = (repeat.outputs or ())[0].shape[0] // max(prod(size), 1)
    return finding(
        scene,
        rule,
        call,
        f"the {one.shape[0]} rows of both are not in the same order: those of the "
        f"first are {shown[0]}, those of the second {shown[1]} (repeat gives a b a b, "
        "repeat_interleave a a b b).",
        culprits=[
            culprit(scene, repeat, "repeats the whole", 0, one.shape[0]),
            culprit(scene, call, "puts them side by side", 0),
        ],
        fixes=[interleaved(repeat, count)],
        shapes=[("first", one, 0), ("second", two, 0)],
        way=(one.id, 0),
    )
