"""Reads what modules and the functions of the user's do with what they are given."""

from __future__ import annotations

import ast
from typing import Any

from shapetrace.diagnosis.reading import functions
from shapetrace.diagnosis.reading.calls import Calls
from shapetrace.diagnosis.reading.values import (
    KEYWORDS,
    UNKNOWN,
    Frame,
    Instance,
    Kind,
    Layer,
    Method,
    Routine,
    TooLong,
)
from shapetrace.records import ModuleCall, ModuleInfo
from shapetrace.source.scope import Scope, defined_at
from shapetrace.source.tree import Function, Tree, last_name

#: functions and modules within one another
_DEEPEST = 24


class Modules(Calls):
    """The layers by their signatures, all else by its code."""

    def layer(
        self,
        name: str,
        args: list[Any],
        kwargs: dict[str, Any],
        made: ModuleCall | None,
    ) -> Any:
        info = self.repaired.module(name)
        if info is None:
            return UNKNOWN
        forward = self.method(name, "forward")
        if forward is None and self._is_chain(info):
            return self._chain(name, args, made)
        if forward is None:
            if not info.qualname.startswith("torch.nn.modules."):
                return UNKNOWN
            if made is not None and made.outputs is None and name != self.failing:
                self.ahead = True
                self.missed.append(f"the rest of {name}")  # it failed inside of it
            said = f"`{self.graph.said(name) or info.type}`"
            return functions.layer(info, args, kwargs, self.rec.modules, said)
        index = made.index if made is not None else None
        frame = Frame(forward.tree, forward.home, name, index, made is not None)
        if made is not None:
            args, kwargs = self._filled(made, args, kwargs)
        return self._run(frame, args, kwargs)

    def _is_chain(self, info: ModuleInfo) -> bool:
        if info.type == "Sequential":
            return True
        kinds = [kind for _, kind in self.classes(info)]
        return any(last_name(base) == "Sequential" for k in kinds for base in k.bases)

    def _chain(self, name: str, args: list[Any], made: ModuleCall | None) -> Any:
        """The layers of an nn.Sequential one after the other."""
        if len(args) != 1:
            return UNKNOWN
        value = args[0]
        for child in self.children(name):
            inner = self.recorded.child(made.index, child.name) if made else None
            known = self.given_back(inner, [value])
            if inner is not None and inner.outputs is None:
                self.ahead = True
                if self.stated(inner):
                    known = self.result
            if known is None:
                known = self.layer(child.name, [value], {}, inner)
                if known is UNKNOWN and inner is not None and inner.outputs is None:
                    if inner.name == self.failing and self.result is not None:
                        known = self.result
            value = known
            if value is UNKNOWN:
                return UNKNOWN
        return value

    def children(self, name: str) -> list[Layer]:
        inside = f"{name}." if name else ""
        return [
            Layer(one)
            for one in self.rec.modules
            if one != name and one.startswith(inside) and "." not in one[len(inside) :]
        ]

    def entries(self, func: Method) -> Any:
        """`self.heads.items()` of an nn.ModuleDict, the parameters of any module."""
        if func.name == "parameters":
            name = func.of.name
            return [
                self.repaired.now(ref)
                for inner in self.rec.modules
                if inner == name or not name or inner.startswith(f"{name}.")
                for ref in self.rec.modules[inner].parameters
            ]
        found = self.children(func.of.name)
        keys = [one.name.rpartition(".")[2] for one in found]
        entries: Any = {"items": list(zip(keys, found)), "keys": keys}
        return entries.get(func.name, found)

    def classes(self, info: ModuleInfo) -> list[tuple[Tree, ast.ClassDef]]:
        """The class of a module and its bases, as far as their code is at hand."""
        found: list[tuple[Tree, ast.ClassDef]] = []
        for place in info.inits:
            defined = defined_at(place)
            kind = defined[0].parents.get(defined[1]) if defined else None
            if defined is None or not isinstance(kind, ast.ClassDef):
                break
            if not found and kind.name != info.type:  # it has no __init__ of its own
                found += [
                    (defined[0], node)
                    for node in defined[0].nodes
                    if isinstance(node, ast.ClassDef) and node.name == info.type
                ]
            found.append((defined[0], kind))
        if not found and not info.qualname.startswith("torch."):
            found += self.recorded.classes_named(info.type)
        return found

    def method(self, owner: str, name: str) -> Routine | None:
        """A method of a module's class, or of a base."""
        info = self.rec.modules.get(owner)
        for tree, kind in self.classes(info) if info is not None else ():
            for node in reversed(kind.body):  # the last definition holds
                if isinstance(node, ast.FunctionDef) and node.name == name:
                    return Routine(tree, node, owner)
        return None

    # -- objects that are no modules of the recording

    def instance(
        self, frame: Frame, kind: Kind, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """A new object; of a class that is not wholly known nothing is."""
        if not self.ahead and frame.parent is None:
            found = self._of_recording(kind)
            if found is not None:
                return found
        made = Instance(kind)
        init = self.method_of(made, "__init__")
        if init is not UNKNOWN:
            self.routine(frame, init, args, kwargs)
        else:
            for statement in kind.node.body:
                self.field(frame, made, statement)
            made.names |= kwargs
        return made

    def _of_recording(self, kind: Kind) -> Layer | None:
        """The one root of a class; a trace of no module in particular has as roots what
        was called."""
        called = (call.name for call in self.rec.calls if call.parent is None)
        roots = [
            name
            for name in dict.fromkeys((*self.rec.roots, *called))
            if name in self.rec.modules
            and self.rec.modules[name].type == kind.node.name
        ]
        return Layer(roots[0]) if len(roots) == 1 else None

    def field(self, frame: Frame, made: Instance, statement: ast.stmt) -> None:
        """`hidden: int = 64` in the body of a class."""
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            if isinstance(statement.target, ast.Name):
                made.names[statement.target.id] = self.value(frame, statement.value)
        elif isinstance(statement, ast.Assign):
            if isinstance(statement.targets[0], ast.Name):
                name = statement.targets[0].id
                made.names[name] = self.value(frame, statement.value)

    def method_of(self, of: Instance, *names: str) -> Any:
        """A method of an object, by the first of several names that there is."""
        for name in names:
            for node in reversed(of.kind.node.body):
                if isinstance(node, ast.FunctionDef) and node.name == name:
                    return Routine(of.kind.tree, node, None, None, of)
        return UNKNOWN

    # -- the user's functions ---------------------------------------------------------

    def routine(
        self, frame: Frame, func: Routine, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        inner = Frame(func.tree, func.home, func.owner, frame.parent, frame.live)
        if func.around is not None:
            inner.names |= func.around.names
        if func.instance is not None and not _is_static(func.home):
            args = [func.instance, *args]
        return self._run(inner, args, kwargs)

    def _run(self, frame: Frame, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """The body of a function with its arguments."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TooLong
        frame.recalled = self.ahead
        try:
            self._bind(frame, args, kwargs)
            home = frame.home
            if isinstance(home, ast.Lambda):
                return self.lambda_body(frame, home)
            assert not isinstance(home, ast.expr)
            made = self.body(frame, home.body)
            return frame.yielded if home in frame.tree.generators else made
        finally:
            self._depth -= 1

    def _bind(self, frame: Frame, args: list[Any], kwargs: dict[str, Any]) -> None:
        home = frame.home
        assert isinstance(home, Function)
        scope = Scope(frame.tree, home, owner=frame.owner)
        names = [arg.arg for arg in scope.parameters()]
        if scope.self_name() and frame.owner is not None and not _is_static(home):
            frame.names[names[0]] = Layer(frame.owner)
            names = names[1:]
        for name in names:
            default = scope.default(name)
            outside = Frame(frame.tree, frame.tree.module, None, None, False)
            frame.names[name] = UNKNOWN
            if default is not None and KEYWORDS not in kwargs:
                frame.names[name] = self.value(outside, default)
        plain = len(home.args.posonlyargs) + len(home.args.args)
        taken = names[: plain - (len(scope.parameters()) - len(names))]
        frame.names |= dict(zip(taken, args, strict=False))
        frame.names |= {key: value for key, value in kwargs.items() if key in names}
        if home.args.vararg is not None:
            frame.names[home.args.vararg.arg] = tuple(args[len(taken) :])
        if home.args.kwarg is not None:
            rest = {key: kwargs[key] for key in kwargs if key not in names}
            frame.names[home.args.kwarg.arg] = UNKNOWN if KEYWORDS in rest else rest


def _is_static(home: Function) -> bool:
    decorators = getattr(home, "decorator_list", [])
    return any(last_name(each) == "staticmethod" for each in decorators)
