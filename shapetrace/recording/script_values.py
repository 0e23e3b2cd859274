"""What the names in the user's code stand for, asked once, when a batch has failed.

The explanation reads the program on from the failing line, and so has to know what
`self.config.heads` or `args.batch_size` is. Only plain values are taken: no property is
asked, no method called, nothing is kept alive.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import CodeType, FrameType, FunctionType, SimpleNamespace
from typing import Any

import torch
from torch import nn

from shapetrace.recording.references import References
from shapetrace.recording.table import Table
from shapetrace.recording.tensors import PLAIN, is_reference
from shapetrace.recording.tracebacks import each
from shapetrace.records import Opaque, Source, TensorRef
from shapetrace.records.script import Held, Script, ScriptFrame, ScriptObject
from shapetrace.source.place import INTERNAL, STANDS_IN, cell
from shapetrace.source.tree import is_own_file

#: values in all, items of one of them, nested within one another, letters of a text
#: (longer ones say nothing of shapes, and may be secrets)
_MOST, _LONGEST, _DEEPEST, _LETTERS = 4000, 100, 6, 40
_FRAMES, _MODULES = 24, 400
_OPEN = (SimpleNamespace, Namespace)
_TORCH_LAYERS = "torch.nn.modules."


class ScriptValues:
    """Takes values one after the other; tensors are references until `script`."""

    def __init__(self, table: Table, references: References) -> None:
        self._table = table
        self._references = references
        self._left = _MOST
        self._numbers: dict[int, Held] = {}
        #: the objects whose numbers are given, while their `id`s must be theirs
        self._alive: list[Any] = []
        self._objects: list[ScriptObject | None] = []
        self._frames: list[ScriptFrame] = []
        self._attributes: dict[str, dict[str, Any]] = {}

    def take(self, error: BaseException) -> None:
        """The frames that an exception has left, and the modules of the trace. Of those
        that go on running only their files: up to Python 3.12, asking a function for
        its names keeps what they stand for until it ends."""
        running = set(_running())
        frames = [entry.tb_frame for entry in each(error.__traceback__)]
        own = [frame for frame in frames if _is_own(frame.f_code)][-_FRAMES:]
        files: dict[str, dict[str, Any]] = {}
        for frame in own:
            code = frame.f_code
            files.setdefault(code.co_filename, frame.f_globals)
            if code.co_name != "<module>" and frame not in running:
                self._frame(code, frame.f_locals.items())
        for file, names in files.items():
            place = Source(file, 0, "<module>", cell=cell(file))
            held = ((key, value) for key, value in names.items() if _is_data(value))
            self._frames.append(ScriptFrame(place, self._named(held)))
        for site in self._table.entered[:_MODULES]:
            module = site.module()
            if module is None or site.kind.__module__.startswith(_TORCH_LAYERS):
                continue
            found = self._named(
                (key, value)
                for key, value in _attributes(module).items()
                if _is_told(key) and type(value) not in PLAIN and _is_data(value)
            )
            if found:
                self._attributes[site.name] = found
        self._alive.clear()

    def _frame(self, code: CodeType, names: Iterable[tuple[str, Any]]) -> None:
        file = code.co_filename
        place = Source(file, code.co_firstlineno, code.co_qualname, cell=cell(file))
        self._frames.append(ScriptFrame(place, self._named(names)))

    def _named(self, given: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in given:
            if type(key) is str and not key.startswith("__") and len(found) < _LONGEST:
                found[key] = self.value(value, 0)
        return found

    def value(self, value: Any, depth: int) -> Any:
        """One value as plain data."""
        self._left -= 1
        kind = type(value)
        if kind is str:
            return value if len(value) <= _LETTERS else Opaque("str")
        if kind in PLAIN:
            return value
        if depth >= _DEEPEST or self._left < 0:
            return Opaque(kind.__name__)
        if issubclass(kind, torch.Tensor):
            with suppress(Exception):  # a class of the user's may raise what it likes
                # a target that no call has met yet is as good as data from outside
                return self._references.reference(value)
            return Opaque("Tensor")
        if kind in (list, tuple, torch.Size) and len(value) <= _LONGEST:
            parts = [self.value(part, depth + 1) for part in value]
            return parts if kind is list else tuple(parts)
        if issubclass(kind, dict) and dict.__len__(value) <= _LONGEST:
            items = list(dict.items(value))
            if all(type(key) in (str, int) for key, _ in items):
                return {key: self.value(part, depth + 1) for key, part in items}
        if _is_object(value):
            return self._held(value, depth)
        return Opaque(kind.__name__)

    def _held(self, value: Any, depth: int) -> Held:
        known = self._numbers.get(id(value))
        if known is None:
            known = self._numbers[id(value)] = Held(len(self._objects))
            self._alive.append(value)
            self._objects.append(None)  # it may hold itself
            self._objects[known.number] = self._object(value, depth)
        return known

    def _object(self, value: Any, depth: int) -> ScriptObject:
        kind = type(value)
        if kind is FunctionType:
            code = value.__code__
            if INTERNAL[code.co_filename] or not is_own_file(code.co_filename):
                return ScriptObject("function", f"{value.__module__}.{value.__name__}")
            return ScriptObject("function", value.__qualname__, _place(code))
        if issubclass(kind, nn.Module):
            site = self._table.sites.get(id(value))
            if site is not None and site.module() is value:
                return ScriptObject("module", site.name)
        name = f"{kind.__module__}.{kind.__qualname__}"
        own = _attributes(value)
        if name.startswith(_TORCH_LAYERS):
            plain = {
                key: part
                for key, part in own.items()
                if key[0] != "_" and (type(part) in PLAIN or type(part) is tuple)
            }
            return ScriptObject("layer", name, None, self._plain(plain, depth))
        children = own.get("_modules") if issubclass(kind, nn.Module) else None
        shown = {**own, **children} if isinstance(children, dict) else own
        if issubclass(kind, tuple):  # of names: `namedtuple`
            shown = dict(zip(getattr(kind, "_fields", ()), value))
        elif not _is_own_class(kind):
            shown = {key: part for key, part in own.items() if type(part) in PLAIN}
        return ScriptObject(
            "object", name, _class_place(kind), self._plain(shown, depth)
        )

    def _plain(self, names: dict[str, Any], depth: int) -> dict[str, Any]:
        shown = list(names.items())[:_LONGEST]
        return {
            key: self.value(part, depth + 1) for key, part in shown if _is_told(key)
        }

    def script(self, newest: Callable[[Any], TensorRef | None]) -> Script:
        """All that was taken, with the newest version of each tensor."""

        def told(value: Any) -> Any:
            if is_reference(value):
                return newest(value) or Opaque("Tensor")
            if type(value) in (list, tuple):
                return type(value)(told(part) for part in value)
            if type(value) is dict:
                return {key: told(part) for key, part in value.items()}
            return value

        return Script(
            tuple(ScriptFrame(one.source, told(one.values)) for one in self._frames),
            tuple(
                ScriptObject(one.kind, one.name, one.source, told(one.values))
                for one in self._objects
                if one is not None
            ),
            told(self._attributes),
        )


def _running() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_own(code: CodeType) -> bool:
    file = code.co_filename
    if INTERNAL[file] or code.co_name == STANDS_IN or not is_own_file(file):
        return False
    return not code.co_name.startswith("<") or code.co_name in ("<module>", "<lambda>")


def _is_data(value: Any) -> bool:
    """Whether a global name is worth its room: the code itself tells functions and
    classes."""
    kind = type(value)  # `isinstance` would ask the value what it is
    if issubclass(kind, type) or kind is FunctionType:
        return False
    plain = (torch.Tensor, list, tuple, dict)
    return kind in PLAIN or issubclass(kind, plain) or _is_object(value)


def _is_object(value: Any) -> bool:
    kind = type(value)
    if issubclass(kind, (FunctionType, nn.Module, *_OPEN)):
        return True
    if issubclass(kind, type) or kind.__module__ == "builtins":
        return False
    if kind.__module__.startswith("shapetrace."):
        return False
    if issubclass(kind, tuple):
        return hasattr(kind, "_fields")
    return _is_own_class(kind) or kind.__name__.endswith(
        ("Config", "Arguments", "Args")
    )


def _is_own_class(kind: type) -> bool:
    """Whether a class is defined in the user's own code."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None) or ""
    return kind in _OPEN or bool(file) and is_own_file(file) or not file


def _attributes(value: Any) -> dict[str, Any]:
    """What an object itself holds: no property of its class is asked."""
    found: dict[str, Any] = {}
    for name in _slots(type(value)):
        try:
            found[name] = object.__getattribute__(value, name)
        except AttributeError:
            continue  # not set
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        own = {}
    return {**found, **own} if type(own) is dict else found


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            member = vars(base).get(name)
            if type(member).__name__ == "member_descriptor":
                yield name


def _is_told(name: Any) -> bool:
    return type(name) is str and not name.startswith("_")


def _place(code: CodeType) -> Source:
    file = code.co_filename
    return Source(file, code.co_firstlineno, code.co_qualname, cell=cell(file))


def _class_place(kind: type) -> Source | None:
    """A line of a class: that of one of its methods, else of its module."""
    if kind in _OPEN:
        return None
    for member in vars(kind).values():
        code = getattr(member, "__code__", None)
        if isinstance(code, CodeType) and is_own_file(code.co_filename):
            if not code.co_filename.startswith("<string>"):
                return _place(code)
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return None if file is None else Source(file, 0, kind.__qualname__)
