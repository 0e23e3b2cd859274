"""What expressions stand for while a program is read."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from shapetrace.records import ModuleInfo, TensorRef
from shapetrace.source.tree import Function, Home, Tree


class Conflicting(Exception):
    """A call that the repaired program comes to would not take what it is given."""


class TooLong(Exception):
    """More is to be read than is worth the time."""


class Unknown:
    """A value that cannot be told."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN = Unknown()
#: any number of arguments of which nothing is known: `*inputs`
SPREAD = Unknown()
#: the name under which keywords stand of which nothing is known: `**batch`
KEYWORDS = "**"


@dataclass(frozen=True, slots=True)
class Layer:
    """A module of the recording, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Built:
    """A layer without parameters that the code itself builds: `nn.MSELoss()`."""

    info: ModuleInfo


@dataclass(frozen=True, slots=True)
class Library:
    """Something of an installed package: `torch.nn.functional`."""

    name: str


@dataclass(frozen=True, slots=True)
class Routine:
    """A function of the user's, or a method with the module that it belongs to.
    `around` is the function that defines it, where it is defined in one."""

    tree: Tree
    home: Function
    owner: str | None = None
    around: Frame | None = None
    instance: Instance | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of the user's."""

    tree: Tree
    node: ast.ClassDef


@dataclass(eq=False, slots=True)
class Instance:
    """An object of a class of the user's that the recording does not know as a module:
    a loss, a configuration."""

    kind: Kind
    names: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a tensor, a list or a dict."""

    of: Any
    name: str


@dataclass(frozen=True, slots=True)
class Builtin:
    """`len`, `zip`: what Python itself brings."""

    name: str


@dataclass(slots=True)
class Frame:
    """A function that is being read. `parent` is the recorded module call that it runs
    in; `live` says whether it ran at all."""

    tree: Tree
    home: Home
    owner: str | None
    parent: int | None
    live: bool
    names: dict[str, Any] = field(default_factory=dict)
    #: the statement that a pasted one stands for
    original: ast.stmt | None = None
    #: whether it has what its names stood for at the failing call, or began later
    recalled: bool = False
    #: what a generator has yielded
    yielded: list[Any] = field(default_factory=list)


def tensors_in(value: Any) -> Iterator[TensorRef]:
    """The tensors of a nested value, in order."""
    if isinstance(value, TensorRef):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors_in(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_in(part)


def is_known(value: Any) -> bool:
    """Whether no part of a value is unknown."""
    if isinstance(value, (list, tuple)):
        return all(map(is_known, value))
    if isinstance(value, dict):
        return all(map(is_known, value.values()))
    return not isinstance(value, Unknown)


def placed(value: Any, path: str, put: Callable[[TensorRef], None]) -> Any:
    """A value as an argument at a path; `put` is told each of its tensors."""
    if isinstance(value, TensorRef):
        ref = TensorRef(path, value.id, value.shape, value.dtype, value.device)
        put(ref)
        return ref
    if isinstance(value, (list, tuple)):
        parts = (placed(part, f"{path}[{n}]", put) for n, part in enumerate(value))
        return list(parts) if isinstance(value, list) else tuple(parts)
    return value


class Open(tuple[Any, ...]):
    """The tensors of a recorded tuple: what is no tensor may follow behind them."""


def nested(refs: tuple[TensorRef, ...]) -> Any:
    """The value that recorded outputs were parts of, by their paths."""
    if len(refs) == 1 and refs[0].path == "output":
        return refs[0]
    found: dict[Any, Any] = {}
    for ref in refs:
        steps = _steps(ref.path)
        if not steps:
            return UNKNOWN
        inner = found
        for step in steps[:-1]:
            inner = inner.setdefault(step, {})
        inner[steps[-1]] = ref
    return _closed(found)


def _steps(path: str) -> list[Any]:
    """`[1, "a"]` of `output[1]['a']`."""
    try:
        node: ast.expr = ast.parse(path, mode="eval").body
    except SyntaxError:
        return []
    steps: list[Any] = []
    while isinstance(node, ast.Subscript):
        if not isinstance(node.slice, ast.Constant):
            return []
        steps.insert(0, node.slice.value)
        node = node.value
    return steps


def _closed(found: Any) -> Any:
    """Dicts by number made tuples: a number that is missing held no tensor."""
    if not isinstance(found, dict):
        return found
    inner = {key: _closed(value) for key, value in found.items()}
    if inner and all(isinstance(key, int) for key in inner):
        return Open(inner.get(n, UNKNOWN) for n in range(max(inner) + 1))
    return inner
