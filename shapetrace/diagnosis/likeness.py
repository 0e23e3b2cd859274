"""Modules that are alike: the same place in the other blocks of a stack."""

from __future__ import annotations

import re

from shapetrace.lineage import Graph

_WINDOW = ("stride", "padding", "kernel_size", "dilation", "output_padding")


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
