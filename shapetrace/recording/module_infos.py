"""What is known of the modules of a batch, once its tensors are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from shapetrace.recording.snapshot import Named, SeenModule
from shapetrace.recording.versions import Versions
from shapetrace.records import ModuleCall, ModuleInfo, Source
from shapetrace.source.place import inits


def module_infos(
    modules: Sequence[SeenModule], calls: Sequence[ModuleCall], versions: Versions
) -> dict[str, ModuleInfo]:
    """By qualified name. The origins of parameters and buffers get their names too."""
    called: dict[str, int] = {}
    for call in calls:
        called.setdefault(call.name, call.order)
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
        first = _first_call(seen.name, called)
        for kind, tensors in _own(seen):
            for key, reference in tensors:
                full = f"{seen.name}.{key}" if seen.name else key
                versions.name(reference, kind, full, first)
    return found


def _own(
    seen: SeenModule,
) -> Iterator[tuple[Literal["parameter", "buffer"], Sequence[Named]]]:
    yield "parameter", seen.parameters
    yield "buffer", seen.buffers


def _first_call(name: str, called: Mapping[str, int]) -> int:
    """When a module, or the nearest above it, was called first; 0 for none."""
    while name not in called and name:
        name = name.rpartition(".")[0]
    return called.get(name, 0)
