"""Reads the calls in the user's code: of torch, of modules, of the user's functions."""

from __future__ import annotations

import ast
import math
from abc import ABC, abstractmethod
from typing import Any

import torch

from shapetrace.diagnosis.reading import functions
from shapetrace.diagnosis.reading.builtins import built_in, items, method_of_value
from shapetrace.diagnosis.reading.library import of_library
from shapetrace.diagnosis.reading.recorded import (
    Cursor,
    Recorded,
    Repaired,
    filled_keywords,
    named_arguments,
)
from shapetrace.diagnosis.reading.values import (
    KEYWORDS,
    SPREAD,
    UNKNOWN,
    Built,
    Builtin,
    Conflicting,
    Frame,
    Instance,
    Kind,
    Layer,
    Library,
    Method,
    Routine,
    TooLong,
    Unknown,
    is_known,
    nested,
    tensors_in,
)
from shapetrace.lineage import Call, Graph
from shapetrace.records import FunctionCall, ModuleCall, TensorRef
from shapetrace.source.tree import last_name, node_at

#: expressions and statements that are read for one repair
_MOST = 6000
#: calls that no shape depends on, by their last name
_IDLE = frozenset(
    "print manual_seed zero_grad step backward no_grad enable_grad inference_mode item "
    "tolist info debug warn append add_scalar log set_grad_enabled autocast train eval "
    "float int str format synchronize time perf_counter state_dict update device "
    "requires_grad_ isinstance hasattr len super __init__ shuffle clear".split()
)
#: methods of modules that give what is in them
_ENTRIES = ("items", "values", "keys", "parameters")
#: as which a module is read whose making is not, or whose weights are taken for it
_NO_MODULE = (Unknown, TensorRef)


class Calls(ABC):
    """What calls give; expressions and statements are read by those that extend it."""

    def __init__(
        self,
        graph: Graph,
        recorded: Recorded,
        cursor: Cursor,
        repaired: Repaired,
        result: TensorRef | None,
        failing: str | None,
    ) -> None:
        self.graph = graph
        self.rec = graph.rec
        self.recorded = recorded
        self.cursor = cursor
        self.repaired = repaired
        #: what the failing call gives, where its signature does not say
        self.result = result
        #: the layer of torch's that failed
        self.failing = failing
        #: whether the failing call was read
        self.ahead = False
        #: what could not be read behind it
        self.missed: list[str] = []
        #: the module calls in which a pasted line runs
        self.changed_in: set[int] = set()
        #: above 0 in a round of the script's loop that begins behind the failing call
        self.beyond = 0
        self._steps = 0
        self._depth = 0

    @abstractmethod
    def value(self, frame: Frame, node: ast.expr) -> Any:
        """What an expression gives."""

    @abstractmethod
    def layer(
        self,
        name: str,
        args: list[Any],
        kwargs: dict[str, Any],
        made: ModuleCall | None,
    ) -> Any:
        """What a call of a module gives; `made` is its recorded call."""

    @abstractmethod
    def routine(
        self, frame: Frame, func: Routine, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """What a call of one of the user's functions gives."""

    @abstractmethod
    def entries(self, func: Method) -> Any:
        """What a method gives that a container of modules has."""

    @abstractmethod
    def children(self, name: str) -> list[Layer]:
        """The modules in a container, in order."""

    @abstractmethod
    def instance(
        self, frame: Frame, kind: Kind, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """An object of one of the user's classes."""

    @abstractmethod
    def method_of(self, of: Instance, *names: str) -> Any:
        """The first of these methods that an object has."""

    @abstractmethod
    def lambda_body(self, frame: Frame, home: ast.Lambda) -> Any:
        """What a lambda gives."""

    @abstractmethod
    def body(self, frame: Frame, body: list[ast.stmt]) -> Any:
        """What a function with these statements returns."""

    def count(self) -> None:
        self._steps += 1
        if self._steps > _MOST:
            raise TooLong

    def miss(self, node: ast.AST, why: str = "", always: bool = False) -> Any:
        """What is not known behind the failing call, but for the batches after it."""
        if self.ahead and (always or not self.beyond):
            self.missed.append(f"line {getattr(node, 'lineno', 0)}: {why}")
        return UNKNOWN

    def recorded_call(self, frame: Frame, node: ast.AST) -> Call | None:
        """The recorded call that an expression makes now, and which is so read."""
        at = node
        if frame.original is not None:
            found = self.recorded.same_in(frame.original, node)
            if found is None:
                return None
            at = found
        if not frame.live:
            return None
        call = self.cursor.take(frame.parent, frame.tree.file, at)
        if call is not None and call.outputs is None:
            self.ahead = True
        return call

    def stated(self, call: Call) -> bool:
        """Whether what the failing call gives is not to be read but known."""
        if not self.repaired.unwritten or self.result is None:
            return False
        return self._fails(call)

    def given_back(self, call: Call | None, inputs: Any) -> Any:
        """What a recorded call gave, where it is given now what it was given then; None
        where that is not so."""
        if call is None or call.outputs is None:
            return None
        if isinstance(call, ModuleCall) and call.index in self.changed_in:
            return None
        given = list(tensors_in(inputs))
        then = [ref for ref in call.inputs if not self.graph.is_parameter(ref.id)]
        mine = [ref for ref in given if not self.graph.is_parameter(ref.id)]
        outputs = tuple(map(self.repaired.now, call.outputs))
        same = [ref.shape for ref in mine] == [ref.shape for ref in then]
        if not same and is_known(inputs) and outputs == call.outputs:
            return None
        return nested(outputs)

    # -- calls ------------------------------------------------------------------------

    def call(self, frame: Frame, node: ast.Call) -> Any:
        call = self.recorded_call(frame, node)
        func = self._called(frame, node.func, call or self._stands_for(frame, node))
        args, kwargs = self._arguments(frame, node)
        method = isinstance(func, Method) and isinstance(func.of, TensorRef)
        inputs = [func.of, *args] if method else args
        if call is not None:
            self._learn(frame, node, call)
            known = self.given_back(call, [inputs, kwargs])
            if known is not None:
                return known
            inputs, kwargs = self._filled(call, inputs, kwargs)
        if call is not None and call.outputs is None:
            if self.stated(call):
                return self.result
            if isinstance(call, ModuleCall):
                func = Layer(call.name)
        if func is UNKNOWN and call is None and frame.live:
            func = self._unseen(frame, node)
        if func is UNKNOWN and isinstance(call, FunctionCall):
            name, whole = call.name, call.qualname
            return functions.function(name, whole, inputs, kwargs, node.lineno)
        args = inputs[1:] if method else inputs
        if method:
            func = Method(inputs[0], func.name)
        found = self.applied(frame, func, args, kwargs, node, call)
        if found is UNKNOWN:
            if self.result is not None:
                if self._fails(call) or self._fails(self._stands_for(frame, node)):
                    return self.result
            if call is not None and call.outputs is not None:
                return nested(tuple(map(self.repaired.now, call.outputs)))
            name = last_name(node.func)
            if self.ahead and name not in _IDLE and not name.startswith("_log"):
                item = isinstance(func, _NO_MODULE) and isinstance(node.func, ast.Name)
                self.miss(node, ast.unparse(node.func), always=item)
        return found

    def _unseen(self, frame: Frame, node: ast.Call) -> Any:
        """The function behind a name that no code defines: an attribute, a decorated
        one. It is the one in which the next recorded call stands."""
        call = self.cursor.following(frame.parent)
        found = node_at(call.source) if call is not None else None
        if found is None or hasattr(torch.Tensor, last_name(node.func)):
            return UNKNOWN
        tree, home = found[0], found[0].home(found[1])
        if isinstance(home, ast.Module) or home is frame.home:
            return UNKNOWN
        name = getattr(home, "name", "")
        for other in ast.walk(frame.home):
            if other is node or not isinstance(other, ast.Call):
                continue
            if last_name(other.func) == name:
                return UNKNOWN  # it will be called by its name
        return Routine(tree, home)

    def _stands_for(self, frame: Frame, node: ast.Call) -> Call | None:
        """The recorded call that a changed one is written for."""
        if frame.original is None or not frame.live:
            return None
        wanted = ast.dump(node.func)
        for other in ast.walk(frame.original):
            if isinstance(other, ast.Call) and ast.dump(other.func) == wanted:
                return self.cursor.peek(frame.parent, frame.tree.file, other)
        return None

    def _fails(self, call: Call | None) -> bool:
        """Whether a call is the failing one, and not one around it."""
        if call is None or call.outputs is not None:
            return False
        return not isinstance(call, ModuleCall) or call.name == self.failing

    def _called(self, frame: Frame, node: ast.expr, call: Call | None) -> Any:
        if isinstance(node, ast.Attribute):
            of = self.value(frame, node.value)
            if isinstance(of, (TensorRef, list, dict, tuple, str)):
                return Method(of, node.attr)
            if isinstance(of, Layer) and node.attr in _ENTRIES:
                return Method(of, node.attr)
            return self.attribute(frame, of, node)
        found = self.value(frame, node)
        if isinstance(found, _NO_MODULE) and isinstance(call, ModuleCall):
            if isinstance(node, ast.Name):
                frame.names[node.id] = Layer(call.name)
            return Layer(call.name)
        return found

    @abstractmethod
    def attribute(self, frame: Frame, of: Any, node: ast.Attribute) -> Any:
        """What an attribute of a value is."""

    def _arguments(
        self, frame: Frame, node: ast.Call
    ) -> tuple[list[Any], dict[str, Any]]:
        args: list[Any] = []
        for arg in node.args:
            if isinstance(arg, ast.Starred):
                inner = self.value(frame, arg.value)
                args += list(inner) if isinstance(inner, (list, tuple)) else [SPREAD]
            else:
                args.append(self.value(frame, arg))
        kwargs: dict[str, Any] = {}
        for pair in node.keywords:
            found = self.value(frame, pair.value)
            if pair.arg is not None:
                kwargs[pair.arg] = found
            elif isinstance(found, dict):
                kwargs |= found
            else:
                kwargs[KEYWORDS] = UNKNOWN
        return args, kwargs

    def _learn(self, frame: Frame, node: ast.expr, call: Call) -> None:
        """Names whose values are not known yet, by what a recorded call was given."""
        for name, ref in named_arguments(frame.tree, node, call):
            if frame.names.get(name) in (None, UNKNOWN):
                frame.names[name] = self.repaired.now(ref)

    def _filled(
        self, call: Call, args: list[Any], kwargs: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Arguments with what was recorded of those that are not known."""
        given = {ref.path: self.repaired.now(ref) for ref in call.inputs}
        if SPREAD in args:
            at = args.index(SPREAD)
            more: list[Any] = []
            while f"args[{at + len(more)}]" in given:
                more.append(given[f"args[{at + len(more)}]"])
            args = [*args[:at], *more]
        args = [
            given.get(f"args[{n}]", UNKNOWN) if arg is UNKNOWN else arg
            for n, arg in enumerate(args)
        ]
        kwargs = filled_keywords(given, kwargs)
        if isinstance(call, FunctionCall) and len(call.args) == len(args):
            args = [
                (
                    then
                    if now is UNKNOWN and isinstance(then, (int, float, tuple))
                    else now
                )
                for now, then in zip(args, call.args, strict=True)
            ]
        return args, kwargs

    def applied(
        self,
        frame: Frame,
        func: Any,
        args: list[Any],
        kwargs: dict[str, Any],
        node: ast.expr,
        call: Call | None = None,
    ) -> Any:
        """What comes of calling something."""
        if isinstance(func, Layer):
            made = call if isinstance(call, ModuleCall) else None
            return self.layer(func.name, args, kwargs, made)
        if isinstance(func, Built):
            return functions.layer(func.info, args, kwargs, {}, f"`{func.info.type}`")
        if isinstance(func, Routine):
            return self.routine(frame, func, args, kwargs)
        if isinstance(func, Library):
            if func.name.endswith(".checkpoint") and args:
                return self.applied(frame, args[0], args[1:], {}, node)
            return of_library(func.name, args, kwargs, node.lineno)
        if isinstance(func, Kind):
            return self.instance(frame, func, args, kwargs)
        if isinstance(func, Instance):
            method = self.method_of(func, "forward", "__call__")
            if method is not UNKNOWN:
                return self.routine(frame, method, args, kwargs)
        if isinstance(func, Builtin) and func.name == "map":
            given = [items(arg, self.children) for arg in args[1:]]
            if None in given:
                return UNKNOWN
            rows = zip(*given)
            return [self.applied(frame, args[0], [*row], {}, node) for row in rows]
        if isinstance(func, Builtin) and func.name == "getattr" and len(args) > 1:
            if not isinstance(args[1], str) or not isinstance(node, ast.Call):
                return UNKNOWN
            whole = ast.Attribute(node.args[0], args[1], ast.Load())
            found = self.attribute(frame, args[0], ast.copy_location(whole, node))
            return args[2] if found is UNKNOWN and len(args) > 2 else found
        if isinstance(func, Builtin):
            return built_in(func.name, args, kwargs, self.children)
        if not isinstance(func, Method):
            return UNKNOWN
        if isinstance(func.of, Layer):
            return self.entries(func)
        if isinstance(func.of, TensorRef):
            return self._method(func, args, kwargs, node)
        return method_of_value(func, args)

    def _method(
        self, func: Method, args: list[Any], kwargs: dict[str, Any], node: ast.expr
    ) -> Any:
        of, name = func.of, func.name
        if name == "backward":
            if math.prod(of.shape) != 1 and not args and not kwargs:
                raise Conflicting(f"then backward() is called on the shape {of.shape}")
            return None
        told = functions.number(name, of, args or list(kwargs.values()))
        if told is not UNKNOWN:
            return told
        whole = f"torch.Tensor.{name}"
        return functions.function(name, whole, [of, *args], kwargs, node.lineno)
