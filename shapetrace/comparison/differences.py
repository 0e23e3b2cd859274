"""What differs between two recordings, of which one may have failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from shapetrace.diagnosis.detection.failing import failing
from shapetrace.lineage import Call, GoodBatch, Graph, against
from shapetrace.lineage.align import Aligned, align_functions, align_modules
from shapetrace.records import (
    FunctionCall,
    ModuleCall,
    ModuleInfo,
    Recording,
    Source,
    TensorRef,
)
from shapetrace.source.library_calls import called_around
from shapetrace.source.spoken import spoken_alike, spoken_in

What = Literal["shape", "dtype", "device", "error", "only in a", "only in b"]


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs, where it is first seen: each tensor is told once.

    `a` and `b` are the values; for shapes the sizes of dimension `dim` (None: the
    whole shapes, where the number of dimensions differs). `path` is the tensor's, ""
    where the call itself differs. `index_a` and `index_b` are the calls' indices.
    """

    what: What
    name: str
    type: str
    a: Any
    b: Any
    path: str = ""
    dim: int | None = None
    module: str | None = None
    source: Source | None = None
    index_a: int | None = None
    index_b: int | None = None
    #: what both scripts call it, in words
    called: str = ""

    def __str__(self) -> str:
        at = f" at {self.source}" if self.source else ""
        dim = f" dim {self.dim}" if self.dim is not None else ""
        where = f"`{self.called or self.name or self.type}`{at}"
        if self.what in ("only in a", "only in b"):
            return f"{where}: {self.what}"
        what = "" if self.what == "shape" else f" {self.what}"
        path = f" {self.path}" if self.path else ""
        return f"{where}{path}{dim}{what}: {self.a} → {self.b}"


@dataclass(frozen=True, slots=True)
class ModuleChange:
    """A module that is not the same in both: `what` names the attribute, the
    parameter, `training` or `type`."""

    name: str
    what: str
    a: Any
    b: Any
    #: what both scripts call it, in words
    called: str = ""

    def __str__(self) -> str:
        name = self.called or self.name
        return f"{name + '.' if name else ''}{self.what}: {self.a} → {self.b}"


@dataclass(frozen=True)
class Differences:
    """What differs between two recordings.

    `calls` and `functions` are the aligned calls in order, `differences` what differs
    in them in order of time (times themselves are no difference), `modules` what
    differs in the modules. Where one trace failed, `reason` is what changed in the
    data before it, and which argument did not.
    """

    a: Recording
    b: Recording
    calls: tuple[Aligned[ModuleCall], ...]
    functions: tuple[Aligned[FunctionCall], ...]
    differences: tuple[Difference, ...]
    modules: tuple[ModuleChange, ...] = ()
    reason: GoodBatch | None = None
    #: the call that raised, and whether it is of the second trace
    failed: Call | None = None
    failed_b: bool = True

    @property
    def first(self) -> Difference | None:
        """The first call, and dimension, that differs."""
        return self.differences[0] if self.differences else None

    @property
    def same(self) -> bool:
        """Whether nothing differs but times."""
        return not self.differences and not self.modules

    @property
    def only_a(self) -> tuple[ModuleCall, ...]:
        return tuple(pair.a for pair in self.calls if pair.b is None and pair.a)

    @property
    def only_b(self) -> tuple[ModuleCall, ...]:
        return tuple(pair.b for pair in self.calls if pair.a is None and pair.b)

    @classmethod
    def between(cls, a: Recording, b: Recording) -> Self:
        """Align the calls of both and find what differs."""
        calls = align_modules(a, b)
        both = a.has_functions and b.has_functions
        functions = align_functions(a, b, calls) if both else []
        reason, failed, in_b = _reason(a, b, calls, functions)
        return cls(
            a=a,
            b=b,
            calls=tuple(calls),
            functions=tuple(functions),
            differences=tuple(_differences(a, b, calls, functions)),
            modules=tuple(
                replace(change, called=spoken_alike((a, b), change.name))
                for change in _module_changes(a.modules, b.modules)
            ),
            reason=reason,
            failed=failed,
            failed_b=in_b,
        )


# -- the differences ------------------------------------------------------------------


def _differences(
    a: Recording,
    b: Recording,
    calls: list[Aligned[ModuleCall]],
    functions: list[Aligned[FunctionCall]],
) -> list[Difference]:
    events: list[tuple[int, Aligned[Any], bool]] = []
    for order, call in _in_order(calls):
        events.append((order, call, False))
    for order, function in _in_order(functions):
        events.append((order, function, True))
    for order, call in _in_order(calls):
        events.append((call.b.end_order if call.b is not None else order, call, True))
    events.sort(key=lambda event: event[0])
    told: set[Any] = set()
    found: list[Difference] = []
    graphs = Graph(a), Graph(b)
    for _, pair, ended in events:
        found += _of_pair(graphs, pair, ended, told)
    return found


def _in_order(pairs: Sequence[Aligned[Any]]) -> Iterator[tuple[int, Aligned[Any]]]:
    """Each pair with its place in the second trace, or that of the one before it."""
    order = 0
    for pair in pairs:
        order = pair.b.order if pair.b is not None else order
        yield order, pair


def _of_pair(
    graphs: tuple[Graph, Graph], pair: Aligned[Any], ended: bool, told: set[Any]
) -> Iterator[Difference]:
    a, b = pair.a, pair.b
    if a is None or b is None:
        if id(pair) not in told:
            told.add(id(pair))
            yield _difference(graphs, pair, "only in a" if b is None else "only in b")
        return
    refs = list(_paired(a.inputs, b.inputs))
    if ended:
        refs += _paired(a.outputs or (), b.outputs or ())
    for left, right in refs:
        if (left.id, right.id) in told:
            continue
        told.add((left.id, right.id))
        yield from _of_tensors(graphs, pair, left, right)
    if ended and (a.error is None) != (b.error is None):
        old, new = (call.error.type if call.error else "went well" for call in (a, b))
        yield _difference(graphs, pair, "error", old, new)


def _paired(
    a: Sequence[TensorRef], b: Sequence[TensorRef]
) -> list[tuple[TensorRef, TensorRef]]:
    known = {ref.path: ref for ref in a}
    return [(known[ref.path], ref) for ref in b if ref.path in known]


def _of_tensors(
    graphs: tuple[Graph, Graph], pair: Aligned[Any], left: TensorRef, right: TensorRef
) -> Iterator[Difference]:
    path = right.path
    if len(left.shape) != len(right.shape):
        yield _difference(graphs, pair, "shape", left.shape, right.shape, path)
    else:
        for dim, (old, new) in enumerate(zip(left.shape, right.shape)):
            if old != new:
                yield _difference(graphs, pair, "shape", old, new, path, dim)
    if left.dtype != right.dtype:
        yield _difference(graphs, pair, "dtype", left.dtype, right.dtype, path)
    if left.device != right.device:
        yield _difference(graphs, pair, "device", left.device, right.device, path)


def _difference(
    graphs: tuple[Graph, Graph],
    pair: Aligned[Any],
    what: What,
    a: Any = None,
    b: Any = None,
    path: str = "",
    dim: int | None = None,
) -> Difference:
    call: Call = pair.call
    graph = graphs[0] if pair.b is None else graphs[1]
    module = call if isinstance(call, ModuleCall) else graph.module_of(call)
    return Difference(
        what=what,
        name=call.name,
        type=call.type if isinstance(call, ModuleCall) else "function",
        a=a,
        b=b,
        path=path,
        dim=dim,
        module=module.name if module is not None else None,
        source=call.source,
        index_a=pair.a.index if pair.a is not None else None,
        index_b=pair.b.index if pair.b is not None else None,
        called=(
            spoken_in([one.rec for one in graphs], call)
            if isinstance(call, ModuleCall)
            else _within_library(call)
        ),
    )


def _within_library(call: FunctionCall) -> str:
    """A function of torch's own code, with what the script calls there: `empty in
    Linear(…)`; empty for one that stands in the script itself."""
    around = called_around(call)
    return f"{call.name} in {around}(…)" if around is not None else ""


def _module_changes(
    a: dict[str, ModuleInfo], b: dict[str, ModuleInfo]
) -> Iterator[ModuleChange]:
    for name, one in a.items():
        other = b.get(name)
        if other is None:
            continue
        if one.qualname != other.qualname:
            yield ModuleChange(name, "type", one.type, other.type)
            continue
        above = name.rpartition(".")[0] if name else None
        told = above is not None and _switched(a, b, above)
        if one.training != other.training and not told:
            yield ModuleChange(name, "training", one.training, other.training)
        changed = False
        for key, value in one.attributes.items():
            if key in other.attributes and other.attributes[key] != value:
                changed = True
                yield ModuleChange(name, key, value, other.attributes[key])
        for left, right in _paired(one.parameters, other.parameters):
            if left.shape != right.shape and not changed:
                yield ModuleChange(name, left.path, left.shape, right.shape)
            for kind in ("dtype", "device"):
                old, new = getattr(left, kind), getattr(right, kind)
                if old != new:
                    yield ModuleChange(name, f"{left.path} {kind}", old, new)


def _switched(a: dict[str, ModuleInfo], b: dict[str, ModuleInfo], name: str) -> bool:
    """Whether a module above differs in `training`, and so tells for those below."""
    return name in a and name in b and a[name].training != b[name].training


def _reason(
    a: Recording,
    b: Recording,
    calls: list[Aligned[ModuleCall]],
    functions: list[Aligned[FunctionCall]],
) -> tuple[GoodBatch | None, Call | None, bool]:
    """Why one failed where the other did not: its data, beside the other's."""
    graph_a, graph_b = Graph(a), Graph(b)
    for graph, other, in_b in ((graph_b, graph_a, True), (graph_a, graph_b, False)):
        function, module = failing(graph)
        call: Call | None = function or module
        if call is None:
            continue
        pairs: Sequence[Aligned[Any]] = functions if function is not None else calls
        for pair in pairs:
            mine: Any = pair.b if in_b else pair.a
            good: Call | None = pair.a if in_b else pair.b
            if mine is not call:
                continue
            if good is None or good.error is not None:
                return None, call, in_b
            return against(other, good, graph, call), call, in_b
        return None, call, in_b
    return None, None, True
