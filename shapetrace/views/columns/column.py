"""What a column is: how it gets the values of rows, how it writes them, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from shapetrace.records import FunctionCall, ModuleCall, Recording
from shapetrace.views import words
from shapetrace.views.marks import Remark

if TYPE_CHECKING:
    from shapetrace.costs import Costs, ModuleStatistics

Call = ModuleCall | FunctionCall
#: a row of calls alike; of one function; of a round that repeats; of calls left out
Kind = Literal["call", "function", "pattern", "more"]
DType = Literal["str", "Int64", "float64", "bool", "object"]


@dataclass(slots=True)
class Group:
    """What one row tells of: one call or several, whose times and bytes add up.

    `calls` are module calls, or one function call. `names` are the modules they are
    calls of. `inside`: it failed with the error of something that it called.
    """

    calls: Sequence[Any]
    kind: Kind = "call"
    remarks: Sequence[Remark] = ()
    inside: bool = False

    @property
    def first(self) -> Any:
        """The call whose shapes stand for those of all."""
        return self.calls[0]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(words.unique(call.name for call in self.calls))

    @property
    def status(self) -> str:
        if any(call.error is not None for call in self.calls):
            return "failed"
        if self.kind == "call" and all(call.recomputed for call in self.calls):
            return "recomputed"
        return "ok"


class Context:
    """What columns read beside the calls of a row; each thing is made when asked."""

    def __init__(
        self,
        rec: Recording,
        costs: Callable[[], Costs] | None = None,
        functions: Sequence[FunctionCall] = (),
    ) -> None:
        self.rec = rec
        self._costs = costs
        #: those that have a row among the module calls
        self._functions = functions

    @cached_property
    def costs(self) -> Costs:
        from shapetrace.costs import costs

        return self._costs() if self._costs is not None else costs(self.rec)

    @cached_property
    def base_ns(self) -> int:
        """What shares are shares of: the time of all calls that no call encloses."""
        return sum(call.duration_ns for call in self.rec.calls if call.parent is None)

    @cached_property
    def own_ns(self) -> int:
        """The own times of all calls together, corrected where that is settled."""
        corrected = [cost.corrected_self_ns for cost in self.costs.calls]
        if self.costs.settled and None not in corrected:
            return sum(one or 0 for one in corrected)
        return sum(call.self_ns for call in self.rec.calls)

    @cached_property
    def own_device_ns(self) -> int:
        """The own times of all calls on accelerators together."""
        return sum(cost.own_device_ns or 0 for cost in self.costs.calls)

    @cached_property
    def turn(self) -> list[int]:
        """The number of the batch of each call."""
        from shapetrace.costs import batches

        return batches(self.rec)

    @cached_property
    def names(self) -> dict[int | None, str]:
        """The modules' names by the index of a call."""
        return {call.index: call.name for call in self.rec.calls}

    @cached_property
    def _depths(self) -> dict[int | None, int]:
        return {call.index: call.depth for call in self.rec.calls}

    def depth_of(self, function: FunctionCall) -> int:
        """One more than that of the module whose forward called it."""
        return self._depths.get(function.parent, -1) + 1

    @cached_property
    def spread(self) -> dict[str, ModuleStatistics]:
        """How the calls of modules differ, where there were several batches."""
        from shapetrace.costs import statistics

        return statistics(self.rec) if max(self.turn, default=0) else {}

    @cached_property
    def net_spread(self) -> dict[str, ModuleStatistics]:
        """As `spread`, without the tracer's own cost where that is settled."""
        from shapetrace.costs import statistics

        if not self.spread or not self.costs.settled:
            return self.spread
        return statistics(
            self.rec, [cost.corrected_ns or 0 for cost in self.costs.calls]
        )

    @cached_property
    def filled(self) -> frozenset[str]:
        """The fields of a module call that an option of the trace has filled."""
        fields = ("device_ns", "backward_ns", "saved_bytes", "allocated_bytes")
        found = {f for f in fields if set(map(attrgetter(f), self.rec.calls)) - {None}}
        if any(call.recompute_ns for call in self.rec.calls):
            found.add("recompute_ns")
        return frozenset(found)

    @cached_property
    def telling(self) -> frozenset[str]:
        """Those of the fields that have any other figure than 0."""
        return frozenset(f for f in self.filled if any(self._figures(f)))

    @cached_property
    def dtypes(self) -> list[str]:
        """Every type of data in the inputs and outputs of modules."""
        return words.unique(
            words.dtype(dtype) for dtype in self._of_tensors(attrgetter("dtype"))
        )

    @cached_property
    def devices(self) -> list[str]:
        return words.unique(map(str, self._of_tensors(attrgetter("device"))))

    def _figures(self, name: str) -> Iterable[Any]:
        return map(attrgetter(name), self.rec.calls)

    def _of_tensors(self, get: Callable[[Any], Any]) -> Iterable[Any]:
        found: dict[Any, None] = {}
        calls: tuple[Call, ...] = (*self.rec.calls, *self._functions)
        for call in calls:
            for tensor in call.inputs:
                found[get(tensor)] = None
            for tensor in call.outputs or ():
                found[get(tensor)] = None
        return found


Values = Callable[[Sequence[Group], Context], list[Any]]
Write = Callable[[Any], str]


def always(context: Context) -> bool:
    return True


def never(context: Context) -> bool:
    return False


def text(value: Any) -> str:
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of every view.

    `name` is what a DataFrame, a CSV file and `columns=` call it, `title` stands above
    it in a table for people. `values` gives the value of each row, `write` writes one
    for people; `writer` makes a `write` where that depends on all values.

    A row of another kind than `kinds` has no value. `when` says whether the trace has
    such figures at all, `tables` whether a table shows them unasked. `frames` are the
    DataFrames that have the column: by "call", by "function", and "group" for those
    with several calls in a row; with `costly` only where costs are asked for.

    In a narrow terminal columns leave in the order of `leaves` (0: never), are written
    by `narrow`, and are cut to `soft` and at last to `floor` characters (0: never).
    """

    name: str
    title: str
    values: Values
    write: Write = text
    writer: Callable[[Sequence[Any]], Write] | None = None
    dtype: DType = "str"
    kinds: frozenset[str] = frozenset({"call"})
    when: Callable[[Context], bool] = always
    tables: Callable[[Context], bool] = never
    frames: frozenset[str] = frozenset()
    costly: bool = False
    right: bool = False
    leaves: int = 25
    narrow: Write | None = None
    soft: int = 0
    floor: int = 0
    #: other names for it: those that users of other tools know
    also: tuple[str, ...] = field(default=())

    def of(self, groups: Sequence[Group], context: Context) -> list[Any]:
        """The value of each row; None where a row of its kind has none."""
        if {group.kind for group in groups} <= self.kinds:
            return self.values(groups, context)
        own = [group for group in groups if group.kind in self.kinds]
        values = iter(self.values(own, context))
        return [next(values) if group.kind in self.kinds else None for group in groups]

    def cells(
        self, groups: Sequence[Group], values: Sequence[Any], *, narrow: bool = False
    ) -> list[str]:
        """The values as text; empty where a row of its kind has none."""
        write = self.writer(values) if self.writer is not None else self.write
        write = self.narrow if narrow and self.narrow is not None else write
        return [
            write(value) if group.kind in self.kinds else ""
            for group, value in zip(groups, values, strict=True)
        ]
