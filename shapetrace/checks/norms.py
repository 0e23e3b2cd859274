"""Normalising layers that take the time for the features, which are as many."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.checks.lines import around_layer
from shapetrace.checks.registry import Check
from shapetrace.checks.report import culprit, finding
from shapetrace.checks.scene import Scene
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.source.construction import Construction
from shapetrace.source.finder import Constructions

#: which argument says how many features a layer normalises
_COUNTS = {"batch_norm": "num_features", "layer_norm": "normalized_shape"}
#: which arguments say how many features a layer makes
_WIDTHS = ("out_features", "out_channels", "hidden_size", "embedding_dim", "d_model")


def of_the_time(scene: Scene, rule: Check) -> Iterator[Diagnosis]:
    """Layers that are told the number of features, by the name that it has, and are
    given the time where they look for them: that has the same size by chance."""
    finder = None
    for call in scene.calls(*_COUNTS):
        given, layer = call.inputs[0], scene.layer(call)
        at = 1 if call.name == "batch_norm" else 2
        if layer is None or len(given.shape) != 3 or not _is_data(scene, given, at):
            continue
        used = 3 - at
        owner = _maker(scene, given, used)
        if given.shape[used] != given.shape[at] or owner is None:
            continue
        finder = finder or Constructions(scene.graph.rec)
        made, maker = finder.of(layer.name), finder.of(owner)
        if made is None or maker is None or not _told(made, maker, call):
            continue
        yield finding(
            scene,
            rule,
            call,
            f"{scene.graph.spoken(layer)} ({layer.type}) is told the number of "
            "features, and takes "
            f"dimension {at} of {given.shape} for them, which is the data's; they are "
            f"dimension {used}.",
            culprits=[culprit(scene, call, f"normalises dimension {at}", at)],
            fixes=[around_layer(layer, "{}.transpose(1, 2)")],
            shapes=[("input", given, at)],
            way=(given.id, at),
        )


def _is_data(scene: Scene, ref: TensorRef, dim: int) -> bool:
    roots = scene.axes.roots(ref.id, dim)
    return scene.axes.sure(ref.id, dim) and all(root[0] == "data" for root in roots)


def _maker(scene: Scene, ref: TensorRef, dim: int) -> str | None:
    """The one layer that makes the features of a dimension."""
    roots = scene.axes.roots(ref.id, dim)
    if not scene.axes.sure(ref.id, dim) or any(r[0] != "parameter" for r in roots):
        return None
    owners = {scene.owner(tensor) for _, tensor, _ in roots}
    return owners.pop() if len(owners) == 1 else None


def _told(made: Construction, maker: Construction, call: FunctionCall) -> bool:
    """Whether two layers are built by one function with one and the same name for the
    number of features: two equal numbers may be two different things."""
    count = made.argument(_COUNTS[call.name])
    widths = [maker.argument(name) for name in _WIDTHS]
    return count is not None and any(
        width is not None
        and isinstance(width.node, (ast.Name, ast.Attribute))
        and ast.dump(width.node) == ast.dump(count.node)
        and width.scope.home is count.scope.home
        for width in widths
    )
