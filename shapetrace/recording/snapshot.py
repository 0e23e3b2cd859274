"""The watched modules as plain data, asked while they exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from torch import nn
from torch.nn.parameter import is_lazy

from shapetrace.recording.recorder import Recorder
from shapetrace.recording.tensors import PLAIN, Reference

Named: TypeAlias = tuple[str, Reference]
#: a named tuple's own way to make one takes three times as long
_new = tuple.__new__


class SeenModule(NamedTuple):
    """What must be asked of a module while it exists; no tensor, no module. Of one
    that no longer does only name and type are known."""

    name: str
    kind: type[nn.Module]
    parameters: tuple[Named, ...]
    buffers: tuple[Named, ...]
    #: its plain public ones, the last first
    attributes: dict[str, Any]
    training: bool
    lazy: bool


def see_modules(recorder: Recorder) -> list[SeenModule]:
    """Ask every module of the trace that still exists. Some 2 microseconds a module."""
    found: dict[str, SeenModule] = {}
    known = recorder.references.seen.get
    for site in recorder.table.entered:
        module = site.module()
        if module is None:
            gone = SeenModule(site.name, site.kind, (), (), {}, True, site.lazy)
            found[site.name] = gone
            continue
        site.kind = type(module)  # a lazy module has changed it
        parameters: tuple[Named, ...] = ()
        buffers: tuple[Named, ...] = ()
        if module._parameters:
            parameters = _references(recorder, known, module._parameters)
        if module._buffers:
            buffers = _references(recorder, known, module._buffers)
        # what a module sets itself stands behind the twenty that `nn.Module` sets
        attributes = {}
        own = vars(module)
        behind = next(iter(own), "") == "training"
        for key, value in reversed(own.items()):
            if behind and key == "_modules":
                break
            if key[0] == "_" or key == "training":
                continue
            if type(value) in PLAIN or _is_plain(value):
                attributes[key] = value
        found[site.name] = _new(
            SeenModule,
            (
                *(site.name, site.kind, parameters, buffers),
                *(attributes, getattr(module, "training", False), site.lazy),
            ),
        )
    return list(found.values())


def _references(
    recorder: Recorder,
    known: Callable[[int], Reference | None],
    tensors: Mapping[str, Any],
) -> tuple[Named, ...]:
    found = []
    for key, tensor in tensors.items():
        reference = known(id(tensor))
        if reference is None or reference() is not tensor:
            if tensor is None or is_lazy(tensor):
                continue
            reference = recorder.references.reference(tensor)
        found.append((key, reference))
    return tuple(found)


def _is_plain(value: Any) -> bool:
    return type(value) in (tuple, list) and all(type(part) in PLAIN for part in value)
