"""Views where a permute was meant."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.axes import DATA, VIEWS, Scramble
from shapetrace.checks.lines import instead
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, finding
from shapetrace.checks.scene import Scene, plain
from shapetrace.records import Diagnosis, FunctionCall

#: steps between two views that together shear a matrix, as relative positions do
_NEAR = 4
_BETWEEN = frozenset(
    "getitem narrow contiguous clone pad add mul div sub masked_fill transpose".split()
)


@check(
    "view-as-permute",
    "warning",
    "view and reshape keep the elements in their order: to give the dimensions another "
    "order they must be permuted, a view mixes their contents",
)
def view_as_permute(scene: Scene, rule: Check) -> Iterator[Diagnosis]:
    if not scene.calls(*VIEWS):
        return
    scrambles = scene.axes.scrambles
    views = {scramble.call.index for scramble in scrambles}
    for scramble in scrambles:
        call = scramble.call
        given = call.inputs[0]
        if not scramble.sure or not scene.axes.descends(given.id, DATA):
            continue
        if _sheared(scene, call, views):
            continue
        made = (call.outputs or ())[0]
        sizes = "·".join(map(str, scramble.sizes))
        new = [
            "·".join(str(scramble.sizes[i]) for i in part) for part in scramble.order
        ]
        yield finding(
            scene,
            rule,
            call,
            f"{call.name} makes {made.shape} of {given.shape}: the dimensions "
            f"({sizes}) get the order ({', '.join(new)}), but {call.name} moves no "
            "element, so their contents are mixed; permute was meant.",
            culprits=[culprit(scene, call, "reorders sizes without moving elements")],
            fixes=[instead(call, _fix(scramble), "x")],
            shapes=[("input", given, None), ("output", made, None)],
            way=(given.id, None),
        )


def _fix(scramble: Scramble) -> str:
    """The permute that gives the dimensions that order."""
    call = scramble.call
    made = (call.outputs or ())[0].shape
    before, after = made[:scramble.dims[0]], made[scramble.dims[-1] + 1:]
    shape = (*before, *scramble.sizes, *after)
    flat = [i for part in scramble.order for i in part]
    dims = [*range(len(before)), *(len(before) + i for i in flat)]
    dims += range(len(dims), len(shape))
    line = "{}" if call.inputs[0].shape == shape else f"{{}}.reshape{shape}"
    line += f".permute({', '.join(map(str, dims))})"
    if tuple(shape[d] for d in dims) != made:
        line += f".reshape{made}"
    return line


def _sheared(scene: Scene, call: FunctionCall, views: set[int]) -> bool:
    """Whether the view is half of a shear: pad, view, cut, view back. Each row is
    shifted on purpose, as attention with relative positions does."""
    maker = scene.made_by(call.inputs[0].id)
    if maker is not None and plain(maker.name) == "pad":
        return True
    todo = [(ref.id, 0) for ref in call.outputs or ()]
    while todo:
        tensor, steps = todo.pop()
        for user in scene.graph.users.get(tensor, ()):
            if not isinstance(user, FunctionCall) or steps > _NEAR:
                continue
            if user.index in views or _put_back(call, user):
                return True
            if plain(user.name) in _BETWEEN:
                todo += [(ref.id, steps + 1) for ref in user.outputs or ()]
    for _ in range(_NEAR):
        if maker is None or not maker.inputs:
            break
        if maker.index in views:
            return True
        if plain(maker.name) not in _BETWEEN:
            break
        maker = scene.made_by(maker.inputs[0].id)
    return False


def _put_back(view: FunctionCall, later: FunctionCall) -> bool:
    """Whether a later view gives the sizes before the first one again, but for one
    that a cut or a pad between them has changed."""
    if later.name not in VIEWS or not later.outputs:
        return False
    before, after = view.inputs[0].shape, later.outputs[0].shape
    if len(before) != len(after):
        return False
    return sum(a != b for a, b in zip(before, after, strict=True)) == 1
