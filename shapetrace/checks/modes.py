"""Training and evaluation mixed up."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.lines import says, with_argument
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, finding
from shapetrace.checks.scene import Scene
from shapetrace.records import Diagnosis


@check(
    "dropout-in-eval",
    "warning",
    "F.dropout drops in evaluation too unless it is told `training=self.training`: "
    "predictions are random and worse than the model",
)
def dropout_in_eval(scene: Scene, rule: Check) -> Iterator[Diagnosis]:
    if scene.calls("backward"):
        return  # a training step, whatever the modules were when the block began
    for call in scene.of_kind("dropout"):
        module = scene.graph.module_of(call)
        if module is None or not call.direct:
            continue
        info = scene.graph.rec.modules.get(module.name)
        if info is None or info.training or says(call, "training", 2) is not False:
            continue
        yield finding(
            scene,
            rule,
            call,
            f"{call.name} drops values although {scene.graph.spoken(module)} "
            f"({module.type}) is in evaluation mode: the function does not know it.",
            culprits=[culprit(scene, call, "is not told training=self.training")],
            fixes=[with_argument(call, "training=self.training")],
            shapes=[("input", call.inputs[0], None)],
            way=(call.inputs[0].id, None),
        )
