"""Losses that learn the padding, because nobody told them which index it is."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.activations import argument
from shapetrace.checks.lines import with_option
from shapetrace.checks.padding import origin_of, paddings
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, data_culprit, finding
from shapetrace.checks.scene import Scene
from shapetrace.checks.trying import Change
from shapetrace.records import Diagnosis


@check(
    "padding-in-loss",
    "warning",
    "the targets hold the index that the embedding of the same tokens calls padding, "
    "and the loss counts it: most of what is learned is to write padding",
)
def padding_in_loss(scene: Scene, rule: Check) -> Iterator[Diagnosis]:
    losses = scene.calls("cross_entropy", "nll_loss")
    known = paddings(scene) if losses else {}
    for loss in losses:
        _, target = scene.sides.get(loss.index, (None, None))
        if target is None or argument(loss, "reduction", 6) not in (
            None,
            "mean",
            "sum",
        ):
            continue
        span = scene.graph.rec.value_ranges.get(target.id)
        ignored = argument(loss, "ignore_index", 4)
        weighed = argument(loss, "weight", 2) is not None
        # the smallest and the largest index are known to be among the targets
        found = [
            index
            for index in known.get(origin_of(scene, target.id), ())
            if isinstance(index, int) and span is not None and index in span
        ]
        if len(found) != 1 or found[0] == ignored or weighed:
            continue
        index = found[0]
        yield finding(
            scene,
            rule,
            loss,
            f"the targets of {loss.name} hold {index}, the padding_idx of the "
            "embedding that looks the same tokens up: the loss counts the padding.",
            culprits=[
                data_culprit(scene, target.id, f"holds the padding, {index}"),
                culprit(scene, loss, "is given no ignore_index"),
            ],
            fixes=[
                scene.trial(
                    with_option(scene, loss, "ignore_index", index),
                    Change(loss, settings={"ignore_index": index}),
                )
            ],
            shapes=[("target", target, None)],
            way=(target.id, None),
        )
