"""Reads the names and attributes in the user's code."""

from __future__ import annotations

import ast
import sys
from types import ModuleType
from typing import Any, NamedTuple

import torch

from shapetrace.diagnosis.reading import functions
from shapetrace.diagnosis.reading.builtins import BUILTINS
from shapetrace.diagnosis.reading.modules import Modules
from shapetrace.diagnosis.reading.remembered import Remembered
from shapetrace.diagnosis.reading.values import (
    UNKNOWN,
    Builtin,
    Conflicting,
    Frame,
    Instance,
    Kind,
    Layer,
    Library,
    Routine,
)
from shapetrace.records import TensorRef
from shapetrace.source.integers import Inits
from shapetrace.source.integers import value as written_number
from shapetrace.source.names import imported
from shapetrace.source.scope import Bound, Expression, Scope, bound, function_of
from shapetrace.source.tree import Tree, neighbours

#: packages whose functions are known by their names
_KNOWN = ("torch", "math", "shapetrace", "functools", "types", "itertools")
_PLAIN = (int, float, bool, str, torch.dtype, torch.device)


class _OfFile(NamedTuple):
    """A name that a file gives a value."""

    tree: Tree
    ways: list[Bound]


class Names(Modules):
    """What names and attributes stand for."""

    #: the scopes of modules' `__init__`s
    inits: Inits
    remembered: Remembered
    _imported: dict[str, dict[str, str]]
    #: what the forwards wrote into attributes
    _written: dict[tuple[str, str], Any]

    # -- names ------------------------------------------------------------------------

    def name(self, frame: Frame, node: ast.Name) -> Any:
        if self.ahead and frame.live and not frame.recalled:
            frame.recalled = True
            for name, value in self.remembered.names(frame.tree, frame.home).items():
                if frame.names.get(name, UNKNOWN) is UNKNOWN:
                    frame.names[name] = value
        found = frame.names.get(node.id, UNKNOWN)
        if found is UNKNOWN and node.id not in frame.names:
            found = self._outside(frame, node)
        if found is UNKNOWN and (frame.live or frame.home is frame.tree.module):
            return self.remembered.name(frame.tree, frame.home, node.id)
        return found

    def entered(self, frame: Frame, entered: ast.expr) -> None:
        """`with trace(model, critic):` names all the roots, in their order, also those
        that were not called yet."""
        given = entered.args if isinstance(entered, ast.Call) else []
        if len(given) == len(self.rec.roots):
            for node, root in zip(given, self.rec.roots):
                if isinstance(node, ast.Name):
                    frame.names[node.id] = Layer(root)

    def _outside(self, frame: Frame, node: ast.Name) -> Any:
        """What a name stands for that the function itself does not give a value."""
        file = frame.tree.file
        if file not in self._imported:
            self._imported[file] = imported(file)
        whole = self._imported[file].get(node.id)
        if whole is not None and whole.split(".")[0] in sys.modules:
            if not _is_function_of_theirs(whole):
                return _of_library(whole)
        key = frame.tree, frame.home, frame.owner, node.id
        if key not in self.recorded.definitions:
            self.recorded.definitions[key] = self._defined(frame, node)
        known = self.recorded.definitions[key]
        if isinstance(known, _OfFile):
            whole_file = Frame(known.tree, known.tree.module, None, None, False)
            return self._of_file(whole_file, known.ways)
        return known

    def _defined(self, frame: Frame, node: ast.Name) -> Any:
        """The same by the text alone."""
        scope = Scope(frame.tree, frame.home, owner=frame.owner)
        if node.id in [arg.arg for arg in scope.parameters()]:
            return UNKNOWN
        found = function_of(scope, node)
        if found is not None:
            tree, home = found
            around = tree.home(home)
            if tree is not frame.tree or around in [s.home for s in scope.enclosing()]:
                return Routine(tree, home)
        for tree in neighbours(frame.tree.file):
            ways = bound(Scope(tree, tree.module), node.id)
            kinds = [
                each
                for each in tree.module.body
                if isinstance(each, ast.ClassDef) and each.name == node.id
            ]
            if kinds:
                return Kind(tree, kinds[-1])
            if frame.home is tree.module:
                continue
            if len(ways) == 1 and not ways[0].partial:
                return _OfFile(tree, ways)
        return Builtin(node.id) if node.id in BUILTINS else UNKNOWN

    def _of_file(self, frame: Frame, ways: list[Any]) -> Any:
        ahead, self.ahead = self.ahead, False
        try:
            found = self.value(frame, ways[0].value)
        except Conflicting:  # what went well when the file was run
            found = UNKNOWN
        finally:
            self.ahead = ahead
        item = ways[0].item
        if item is None:
            return found
        if isinstance(found, (list, tuple)) and -len(found) <= item < len(found):
            return found[item]
        return UNKNOWN

    def attribute_of(self, frame: Frame, node: ast.Attribute) -> Any:
        of = self.value(frame, node.value)
        return self.attribute(frame, of, node)

    def attribute(self, frame: Frame, of: Any, node: ast.Attribute) -> Any:
        name = node.attr
        if isinstance(of, Library):
            return _of_library(f"{of.name}.{name}")
        if isinstance(of, Layer):
            return self._of_layer(frame, of.name, node)
        if isinstance(of, Instance):
            if name in of.names:
                return of.names[name]
            found = self.method_of(of, name)
            return self._of_class(of, name) if found is UNKNOWN else found
        if isinstance(of, TensorRef):
            return self._of_tensor(frame, of, node)
        if isinstance(of, dict):
            return of.get(name, UNKNOWN)
        if isinstance(of, tuple) and len(of) == 2 and name in ("values", "indices"):
            return of[name == "indices"]
        call = self.recorded_call(frame, node)
        if call is not None and call.outputs is not None:
            return self.given_back(call, UNKNOWN)
        return UNKNOWN

    def _of_class(self, of: Instance, name: str) -> Any:
        """`real_label = 1.0` in the body of an object's class."""
        tree, made = of.kind.tree, Instance(of.kind)
        frame = Frame(tree, tree.module, None, None, False)
        for statement in of.kind.node.body:
            self.field(frame, made, statement)
        return made.names.get(name, UNKNOWN)

    def _of_layer(self, frame: Frame, owner: str, node: ast.Attribute) -> Any:
        name = node.attr
        if (owner, name) in self._written:
            return self._written[owner, name]
        child = f"{owner}.{name}" if owner else name
        if child in self.rec.modules:
            return Layer(child)
        info = self.repaired.module(owner)
        if info is None:
            return UNKNOWN
        for ref in (*info.parameters, *info.buffers):
            if ref.path == name:
                return self.repaired.now(ref)
        if name == "training":
            return info.training
        if name in info.attributes:
            return info.attributes[name]
        held = self.remembered.attribute(owner, name)
        if held is not UNKNOWN:
            return held
        method = self.method(owner, name)
        if method is not None:
            return method
        scope = Scope(frame.tree, frame.home, owner=frame.owner)
        number = written_number(Expression(node, scope), self.inits)
        return UNKNOWN if number is None else number

    def _of_tensor(self, frame: Frame, of: TensorRef, node: ast.Attribute) -> Any:
        name = node.attr
        plain = {
            "shape": of.shape,
            "ndim": len(of.shape),
            "dtype": of.dtype,
            "device": of.device,
            "data": of,
            "is_cuda": of.device.type == "cuda",
        }
        if name in plain:
            return plain[name]
        if name not in ("T", "mT", "H", "mH", "real", "imag"):
            return UNKNOWN
        call = self.recorded_call(frame, node)
        known = self.given_back(call, of)
        if known is not None:
            return known
        qualname = f"torch.Tensor.{name}"
        return functions.function(name, qualname, [of], {}, node.lineno)


def _is_function_of_theirs(whole: str) -> bool:
    """Whether a name stands for a function of the user's, of another of their files."""
    return whole.split(".")[0] not in _KNOWN


def _of_library(whole: str) -> Any:
    """A constant of a library, or its name."""
    home, _, name = whole.rpartition(".")
    found = getattr(sys.modules.get(home), name, None) if home else None
    if isinstance(found, _PLAIN) and not isinstance(found, ModuleType):
        return found
    return Library(whole)
