"""What is known of the modules of a batch, once its tensors are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from shapetrace.recording.snapshot import Named, SeenModule
from shapetrace.recording.versions import Versions
from shapetrace.records import ModuleInfo, Source
from shapetrace.source.place import inits


def module_infos(
    modules: Sequence[SeenModule], versions: Versions
) -> dict[str, ModuleInfo]:
    """By qualified name. The origins of parameters and buffers get their names too."""
    places: dict[type, tuple[Source, ...]] = {}
    found = {}
    for seen in modules:
        if seen.kind not in places:
            places[seen.kind] = inits(seen.kind)
        found[seen.name] = ModuleInfo(
            name=seen.name,
            type=seen.kind.__name__,
            qualname=f"{seen.kind.__module__}.{seen.kind.__qualname__}",
            parameters=versions.own(seen.parameters),
            buffers=versions.own(seen.buffers),
            attributes=dict(reversed(seen.attributes.items())),
            training=seen.training,
            inits=places[seen.kind],
        )
        _name(seen, "parameter", seen.parameters, versions)
        _name(seen, "buffer", seen.buffers, versions)
    return found


def _name(
    seen: SeenModule,
    kind: Literal["parameter", "buffer"],
    tensors: Sequence[Named],
    versions: Versions,
) -> None:
    for key, reference in tensors:
        full = f"{seen.name}.{key}" if seen.name else key
        versions.name(reference, kind, full, lazy=seen.lazy)
