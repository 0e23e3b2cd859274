"""Which ranks waited for which, where, and what the late one did meanwhile.

Ranks exchange data in collectives, those that a program calls itself as those of FSDP,
and inside the backward under `DistributedDataParallel` and FSDP. Who comes early waits
there. So of each exchange all ranks but the last are longer in it, and the last one was
longer in something else before, though its own modules may look the quickest.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import NamedTuple

from shapetrace.records import (
    Blocked,
    FunctionCall,
    InFlight,
    ModuleCall,
    Opaque,
    Recording,
    Source,
)
from shapetrace.records.printable import printable
from shapetrace.source.place import segment
from shapetrace.source.spoken import spoken
from shapetrace.views.words import milliseconds

_DDP = "torch.nn.parallel.distributed.DistributedDataParallel"
_SHARDED = "torch.distributed.fsdp."
_COLLECTIVES, _GROUP = "torch.distributed.", "ProcessGroup"
_CALLS_BARRIER = re.compile(r"\bbarrier\(")
_OF_ALL_BARRIER = re.compile(r"\bbarrier\(\s*\)")
_What = ModuleCall | FunctionCall | Blocked | InFlight
#: of two ranks alone, which nothing tells
_PAIRWISE, _ASYNCHRONOUS = {"send", "recv"}, {"isend", "irecv"}
#: less than this part of what passed since the last wait is none, nor is less than so
#: many nanoseconds
_PART, _LEAST = 0.1, 10_000_000
_DDP_CODE, _BARRIER = "the code of DistributedDataParallel", "barrier"
_WAIT, _END = "wait", "the end"
#: these may just take longer; every other one is nothing but the exchange
_OWN_WORK = ("backward", _DDP_CODE, _BARRIER, _WAIT)


@dataclass(frozen=True, slots=True)
class RankWait:
    """`ranks` waited for `behind`: by `wait_ns` (the longest) they were longer in what
    exchanges data, most of it in `call` (`all_reduce`, `backward`) at `source`.
    `place` is where `behind` spent more time than the others meanwhile, by `more_ns`: a
    module's name, or empty for outside of modules; None where it was late before its
    first call, which no recording shows."""

    ranks: tuple[int, ...]
    behind: int
    wait_ns: int
    place: str | None
    more_ns: int
    call: str = ""
    source: Source | None = None
    #: what the script calls that module, in words
    called: str = ""

    def __str__(self) -> str:
        where = f"{self.call} at {self.source}" if self.source else self.call
        said = (
            f"{ranks_in_words(self.ranks)} waited for rank {self.behind}, up to"
            f" {milliseconds(self.wait_ns)} ms, in {where}"
        )
        if self.place is None:
            said += f"; rank {self.behind} was late before its first call"
        else:
            place = f"in `{self.called or self.place}`" if self.place else ""
            place = place or "outside of modules"
            more = milliseconds(self.more_ns)
            said += f"; rank {self.behind} spent {more} ms more {place}"
        return printable(said, keep="")


def ranks_in_words(ranks: Iterable[int]) -> str:
    """ "rank 1", "ranks 0, 1 and 3"."""
    *most, last = map(str, ranks)
    return f"ranks {', '.join(most)} and {last}" if most else f"rank {last}"


class _Exchange(NamedTuple):
    """What exchanges data. Those of one name are the same one on each rank, unless some
    ranks alone may take part in it."""

    name: str
    source: Source | None = None
    of_all: bool = True


@dataclass(slots=True)
class _Part:
    """From one exchange of all ranks to the end of the next, `last`: nanoseconds in
    each exchange, and in the own code of each module, "" outside of them; `unsure`
    where it is not known how long an asynchronous one was on its way."""

    last: _Exchange | None = None
    exchanged: dict[_Exchange, int] = field(default_factory=lambda: defaultdict(int))
    own: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unsure: bool = False


def waits(present: Mapping[int, Recording]) -> tuple[RankWait, ...]:
    """Who waited for whom, the longest first: one for each line that exchanges data and
    rank that was late there."""
    if len(present) < 2 or not all(rec.has_timing for rec in present.values()):
        return ()
    parts = {rank: list(_parts(rec, len(present))) for rank, rec in present.items()}
    found: dict[tuple[_Exchange, int], list[RankWait]] = defaultdict(list)
    since: dict[int, _Part] = {rank: _Part() for rank in present}
    for together in zip(*parts.values()):
        if len({part.last and part.last.name for part in together}) > 1:
            break  # from here on they do not do the same
        for rank, part in zip(parts, together, strict=True):
            _add(since[rank], part)
        wait = _wait(since, first=not found)
        if wait is not None:
            if wait.place:
                wait = replace(wait, called=_called(present[wait.behind], wait.place))
            key = _Exchange(wait.call, wait.source), wait.behind
            found[key].append(wait)
            since = {rank: _Part() for rank in present}
    whole = [_together(several) for several in found.values()]
    return tuple(sorted(whole, key=lambda wait: -wait.wait_ns))


def _add(to: _Part, part: _Part) -> None:
    to.last = part.last
    to.unsure |= part.unsure
    for exchange, time in part.exchanged.items():
        to.exchanged[exchange] += time
    for name, time in part.own.items():
        to.own[name] += time


def _wait(since: Mapping[int, _Part], *, first: bool) -> RankWait | None:
    """Who waited for whom since the last wait."""
    exchanged = {rank: sum(part.exchanged.values()) for rank, part in since.items()}
    behind = min(exchanged, key=lambda rank: exchanged[rank])
    own = since[behind].own
    enough = max(_LEAST, _PART * (exchanged[behind] + sum(own.values())))
    longer = {rank: time - exchanged[behind] for rank, time in exchanged.items()}
    waiting = [rank for rank, more in longer.items() if more >= enough]
    if not waiting:
        return None
    more = {
        name: time - max(since[rank].own.get(name, 0) for rank in waiting)
        for name, time in own.items()
    }
    late = sum(own.values()) - max(sum(since[rank].own.values()) for rank in waiting)
    longest = max(waiting, key=lambda rank: longer[rank])
    at = _where(since[longest], since[behind])
    place = max(more, key=lambda name: more[name], default=None)
    if late < enough / 2:
        if at.name in _OWN_WORK or not first:
            return None
        place = None
    if place == "" and since[behind].unsure:
        return None
    return RankWait(
        tuple(waiting),
        behind,
        max(longer.values()),
        place,
        0 if place is None else more[place],
        at.name,
        at.source,
    )


def _where(waiting: _Part, behind: _Part) -> _Exchange:
    """The exchange that was longer by most."""
    names: dict[str, int] = defaultdict(int)
    for exchange, time in behind.exchanged.items():
        names[exchange.name] += time
    return max(
        waiting.exchanged, key=lambda one: waiting.exchanged[one] - names[one.name]
    )


def _called(rec: Recording, place: str) -> str:
    """What the script calls a module; one that has no name goes by its class here."""
    return spoken(rec.called, place if place in rec.modules else "") or place


def _together(several: list[RankWait]) -> RankWait:
    """Waits at one line for one rank as one, with where that was late for longest."""
    longest = max(several, key=lambda wait: wait.more_ns)
    same = [wait for wait in several if wait.place == longest.place]
    return RankWait(
        tuple(sorted({rank for wait in several for rank in wait.ranks})),
        longest.behind,
        sum(wait.wait_ns for wait in several),
        longest.place,
        sum(wait.more_ns for wait in same),
        longest.call,
        longest.source,
        longest.called,
    )


# -- one rank's time -----------------------------------------------------------------


def _parts(rec: Recording, ranks: int) -> Iterator[_Part]:
    """Its time in the thread of the trace, cut where all ranks exchange data."""
    part, open_ = _Part(), list[ModuleCall]()
    running: tuple[_Exchange, _What] | None = None
    # on their way: what a rank does meanwhile makes it late for nobody
    pending, now = 0, 0
    begun = False
    flights = {one.function for one in rec.in_flight}
    for time, _, begins, what in _moments(rec):
        spent, now = max(0, time - now), max(now, time)
        if running is not None:
            part.exchanged[running[0]] += spent
        elif open_ and _kind(rec, open_[-1]) == _DDP:
            part.exchanged[_Exchange(_DDP_CODE)] += spent
        elif not pending:
            part.own[open_[-1].name or open_[-1].type if open_ else ""] += spent
        if isinstance(what, ModuleCall):
            if begins:
                open_.append(what)
            else:
                open_.remove(what)
        elif isinstance(what, InFlight):
            pending -= 1
        elif isinstance(what, FunctionCall) and _is_asynchronous(what):
            known = what.index in flights
            part.unsure |= not known
            pending += begins and known
            begun |= _takes_all(what, ranks)
        elif begins:
            running = running or (_exchange(what, ranks), what)
        elif running is not None and running[1] is what:
            ended, running = running[0], None
            if ended.of_all:
                part.last = ended
                yield part
                part, begun = _Part(), False
    if begun:  # all ranks begin it, though not all need wait for it
        part.last = _Exchange(_END)
        yield part


def _exchange(what: FunctionCall | Blocked, ranks: int) -> _Exchange:
    if isinstance(what, Blocked):
        # who comes last need not wait
        return _Exchange(_WAIT, what.source, of_all=False)
    name = what.name if what.name != "device" else _BARRIER
    of_all = name == "backward" or _takes_all(what, ranks)
    return _Exchange(name, what.source, of_all)


def _kind(rec: Recording, call: ModuleCall) -> str:
    info = rec.modules.get(call.name)
    return "" if info is None else info.qualname


def _moments(rec: Recording) -> list[tuple[int, int, bool, _What]]:
    """When a module's call, an exchange or a wait begins or ends, in order."""
    kinds = {info.qualname for info in rec.modules.values()}
    shared = any(kind == _DDP or kind.startswith(_SHARDED) for kind in kinds)
    found: list[tuple[int, int, bool, _What]] = []
    for call in rec.calls:
        if call.thread == 0:
            end = call.start_ns + call.duration_ns
            found.append((call.start_ns, call.order, True, call))
            found.append((end, call.end_order, False, call))
    for at, function in enumerate(rec.functions):
        end = function.start_ns + function.duration_ns
        if _is_barrier(function):
            end = _next(rec, at)
        elif not _exchanges(function, shared):
            continue
        found.append((function.start_ns, function.order, True, function))
        found.append((end, function.order, False, function))
    for flight in rec.in_flight:
        order = rec.functions[flight.function].order
        found.append((flight.over_ns, order, False, flight))
    for wait in rec.blocked:
        found.append((wait.start_ns, 0, True, wait))
        found.append((wait.end_ns, 0, False, wait))
    return sorted(found, key=lambda one: one[:2])


def _exchanges(function: FunctionCall, shared: bool) -> bool:
    if function.name == "backward":
        return shared and function.parent is None
    return function.qualname.startswith(_COLLECTIVES)


def _is_asynchronous(function: FunctionCall) -> bool:
    return function.name in _ASYNCHRONOUS or any(
        one is True for one in (*function.args, function.kwargs.get("async_op"))
    )


def _takes_all(function: FunctionCall, ranks: int) -> bool:
    """Whether it is known that all ranks take part. Ranks that wait for some alone wait
    all the same, and are at different places of the program afterwards."""
    if function.name in _PAIRWISE | _ASYNCHRONOUS:
        return False
    if function.name == "device":
        return _OF_ALL_BARRIER.search(segment(function.source)) is not None
    given = (*function.args, *function.kwargs.values())
    if not any(isinstance(one, Opaque) and one.type == _GROUP for one in given):
        return True
    # a group of which nothing is known but what the sizes tell
    sizes = sorted(prod(ref.shape) for ref in function.inputs)
    return len(sizes) == ranks + 1 or len(sizes) == 2 and sizes[1] == ranks * sizes[0]


def _is_barrier(function: FunctionCall) -> bool:
    """`dist.barrier()` is no torch function; the device that it makes first is one."""
    outside = function.name == "device" and function.parent is None
    return outside and _CALLS_BARRIER.search(segment(function.source)) is not None


def _next(rec: Recording, at: int) -> int:
    """When something else of the block begins, or the block ends."""
    begun = rec.functions[at].start_ns
    calls = [call.start_ns for call in rec.calls if call.start_ns > begun]
    after = [function.start_ns for function in rec.functions[at + 1 : at + 2]]
    return min([*calls[:1], *after, rec.duration_ns])
