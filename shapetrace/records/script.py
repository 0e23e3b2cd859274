"""What the user's names stood for when their batch failed, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from shapetrace.records.calls import Source


@dataclass(frozen=True, slots=True)
class Held:
    """An object among plain values, by its place in `Script.objects`."""

    number: int


@dataclass(frozen=True, slots=True)
class ScriptObject:
    """An object of the script's: a module of the trace (`name` is its qualified name),
    a layer of torch's that belongs to no model (a loss), a function, or an object of a
    class of the user's. `values` are its attributes, `source` where its class or the
    function is defined."""

    kind: Literal["module", "layer", "function", "object"]
    name: str
    source: Source | None = None
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScriptFrame:
    """The names in one function of the user's, or in a file: numbers, tensors (the
    newest version of each), lists of such, and objects. `source` is the first line of
    the function; of a file it is line 0."""

    source: Source
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Script:
    """The functions that were at work when a batch failed, the outermost first, with
    the files that they are in, and what the model's own classes hold besides numbers
    and layers: a configuration. Values that are too long or of no use to a reader are
    `Opaque`."""

    frames: tuple[ScriptFrame, ...] = ()
    objects: tuple[ScriptObject, ...] = ()
    #: attributes of modules, by qualified name
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
