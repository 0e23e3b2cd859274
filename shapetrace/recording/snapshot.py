"""The watched modules as plain data, asked while they exist."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from torch import nn
from torch.nn.parameter import is_lazy

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.references import References
from shapetrace.recording.table import Site, Table
from shapetrace.recording.tensors import PLAIN, Reference

Named: TypeAlias = tuple[str, Reference]
#: a named tuple's own way to make one takes three times as long
_new = tuple.__new__


class SeenModule(NamedTuple):
    """What must be asked of a module while it exists; no tensor, no module."""

    name: str
    kind: type[nn.Module]
    parameters: tuple[Named, ...]
    buffers: tuple[Named, ...]
    #: its plain public ones, the last first
    attributes: dict[str, Any]
    training: bool


def see_modules(table: Table, references: References) -> list[SeenModule]:
    """Ask every module of the trace that still exists. Some 2 microseconds a module.
    Of one that does not, what was seen in its first call; where the trace was given it,
    name and type alone."""
    found: dict[str, SeenModule] = {}
    for site in table.entered:
        module = site.module()
        if module is not None:
            found[site.name] = see(site, module, references)
        else:
            gone = SeenModule(site.name, site.kind, (), (), {}, True)
            found[site.name] = site.met or gone
    return list(found.values())


def see(site: Site, module: nn.Module, references: References) -> SeenModule:
    """Ask one module."""
    site.kind = type(module)  # a lazy module has changed it
    parameters: tuple[Named, ...] = ()
    buffers: tuple[Named, ...] = ()
    named = torch_internals.parameters_of(module)
    if named:
        parameters = _references(references, named, site)
    named = torch_internals.buffers_of(module)
    if named:
        buffers = _references(references, named, site)
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
    training = getattr(module, "training", False)
    told = (site.name, site.kind, parameters, buffers, attributes, training)
    return _new(SeenModule, told)


def _references(
    references: References, tensors: dict[str, Any], site: Site
) -> tuple[Named, ...]:
    found, known = [], references.seen.get
    for key, tensor in tensors.items():
        reference = known(id(tensor))
        if reference is None or reference() is not tensor:
            if tensor is None or is_lazy(tensor):
                continue
            reference = references.own(tensor, site, key)
        found.append((key, reference))
    return tuple(found)


def _is_plain(value: Any) -> bool:
    return type(value) in (tuple, list) and all(type(part) in PLAIN for part in value)
