"""Modules that are alike: the same place in the other blocks of a stack."""

from __future__ import annotations

import re

from shapetrace.lineage import Graph
from shapetrace.records import ModuleInfo

_WINDOW = ("stride", "padding", "kernel_size", "dilation", "output_padding")


def stacks(graph: Graph, name: str) -> list[list[str]]:
    """The modules of the same type whose names differ from `name` in one number of the
    blocks around it: one list for each such number. Neighbours in one nn.Sequential
    differ in the last part of their names, and are not alike."""
    modules = graph.rec.modules
    info = modules.get(name)
    parts = name.split(".")
    found = []
    for at, part in enumerate(parts[:-1]):
        if info is None or not re.fullmatch(r"\D*\d+[a-z]?", part):
            continue
        form = re.compile(
            re.escape(".".join(parts[:at]) + "." * (at > 0))
            + re.sub(r"\d+[a-z]?", r"\\d+[a-z]?", re.escape(part))
            + re.escape("." + ".".join(parts[at + 1 :]))
        )
        group = [
            other
            for other, theirs in modules.items()
            if other != name and theirs.type == info.type and form.fullmatch(other)
        ]
        if group:
            found.append(group)
    return found


def settings(info: ModuleInfo) -> list[object]:
    return [info.attributes.get(key) for key in _WINDOW]


def pattern(name: str) -> str:
    """A qualified name with its numbers made equal: `layers.#.fc`, `inception#`."""
    return re.sub(r"\d+([a-z](?![a-z]))?", "#", name)


def likes_of(graph: Graph, name: str) -> list[ModuleInfo]:
    """The modules of the same type in the same place of the other blocks."""
    info = graph.rec.modules.get(name)
    form = pattern(name)
    if info is None or form == name:
        return []
    return [
        theirs
        for other, theirs in graph.rec.modules.items()
        if other != name and theirs.type == info.type
        # neighbours in one nn.Sequential are not alike
        and other.rpartition(".")[2] == name.rpartition(".")[2]
        and pattern(other) == form
    ]


def beside(graph: Graph, name: str) -> list[str]:
    """The modules of the same type that the same module holds, but for the layers of
    a chain."""
    modules = graph.rec.modules
    owner = name.rpartition(".")[0]
    if name not in modules or owner not in modules:
        return []
    if modules[owner].type == "Sequential":
        return []
    return [
        other
        for other, theirs in modules.items()
        if other != name
        and theirs.type == modules[name].type
        and other.rpartition(".")[0] == owner
    ]


def peers(graph: Graph, name: str, path: str, dim: int) -> list[dict[str, int]]:
    """The size of one dimension of one parameter, in the modules of each stack that a
    module is of; and in those beside it that differ in nothing else, if there are two.
    """
    own = next(
        (
            ref.shape
            for ref in (
                *graph.rec.modules[name].parameters,
                *graph.rec.modules[name].buffers,
            )
            if ref.path == path
        ),
        (),
    )
    groups = [_shapes(graph, names, path) for names in stacks(graph, name)]
    near = {
        other: shape
        for other, shape in _shapes(graph, beside(graph, name), path).items()
        if len(shape) == len(own) > 1
        and all(a == b for at, (a, b) in enumerate(zip(shape, own)) if at != dim)
    }
    if len(near) > 1:
        groups.append(near)
    return [
        sizes
        for group in groups
        if (sizes := {n: shape[dim] for n, shape in group.items() if dim < len(shape)})
    ]


def _shapes(graph: Graph, names: list[str], path: str) -> dict[str, tuple[int, ...]]:
    modules = graph.rec.modules
    return {
        name: ref.shape
        for name in names
        for ref in (*modules[name].parameters, *modules[name].buffers)
        if ref.path == path
    }


def few(graph: Graph, names: list[str]) -> str:
    shown = ", ".join(f"`{graph.said(name)}`" for name in names[:2])
    return shown + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"


def take(names: list[str]) -> str:
    return "takes" if len(names) == 1 else "take"
