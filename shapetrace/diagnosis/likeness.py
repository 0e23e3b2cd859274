"""Modules that are alike: the same place in the other blocks of a stack."""

from __future__ import annotations

import re

from shapetrace.lineage import Graph

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
        if info is None or not re.fullmatch(r"\D*\d+", part):
            continue
        form = re.compile(
            re.escape(".".join(parts[:at]) + "." * (at > 0))
            + re.sub(r"\d+", r"\\d+", re.escape(part))
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


def is_unlike(graph: Graph, name: str) -> bool:
    """Whether a layer's settings (stride, padding, kernel) are those of none of its
    like in the other blocks of the stack."""
    info = graph.rec.modules.get(name)
    if info is None or pattern(name) == name:
        return False
    likes = [
        theirs
        for other, theirs in graph.rec.modules.items()
        if other != name
        and pattern(other) == pattern(name)
        and other.rpartition(".")[2] == name.rpartition(".")[2]
        and theirs.type == info.type
    ]
    mine = [info.attributes.get(key) for key in _WINDOW]
    return bool(likes) and all(
        [like.attributes.get(key) for key in _WINDOW] != mine for like in likes
    )


def pattern(name: str) -> str:
    """A qualified name with its numbers made equal: `layers.#.fc`."""
    return re.sub(r"\d+", "#", name)
