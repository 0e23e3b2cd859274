"""Which ranks waited for which, by where the recordings say that their time went.

Ranks exchange gradients inside the backward, and `DistributedDataParallel` exchanges
more in its own code around the model: who comes early waits there. A rank that spends
much less time in those than the others is the one that they waited for, though its own
modules may look the quickest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from shapetrace.records import Recording
from shapetrace.source.spoken import spoken
from shapetrace.views.words import milliseconds

_DDP = "torch.nn.parallel.distributed.DistributedDataParallel"
_SHARDED = "torch.distributed.fsdp."
#: less than this part of the batch is no waiting, nor is less than so many nanoseconds
_PART, _LEAST = 0.1, 10_000_000


@dataclass(frozen=True, slots=True)
class RankWait:
    """`ranks` waited for `behind`: by `wait_ns` (the longest) they were longer in what
    exchanges data. `place` is where `behind` spent more time than the others by
    `more_ns`: a module's name, or empty for outside of modules."""

    ranks: tuple[int, ...]
    behind: int
    wait_ns: int
    place: str
    more_ns: int
    #: what the script calls that module, in words
    called: str = ""

    def __str__(self) -> str:
        who = "ranks" if len(self.ranks) > 1 else "rank"
        numbers = " and ".join(map(str, self.ranks))
        place = (
            f"in `{self.called or self.place}`" if self.place else "outside of modules"
        )
        return (
            f"{who} {numbers} waited for rank {self.behind}, up to"
            f" {milliseconds(self.wait_ns)} ms, in backward and in the code that"
            f" exchanges data; rank {self.behind} spent {milliseconds(self.more_ns)} ms"
            f" more {place}"
        )


def waited(present: Mapping[int, Recording]) -> RankWait | None:
    """Who waited for whom; None where no ranks are known to exchange data, or where
    they were as long in it."""
    if len(present) < 2 or not all(map(_exchanges, present.values())):
        return None
    spent = {rank: _spent(rec) for rank, rec in present.items()}
    exchanged = {rank: times.pop(None, 0) for rank, times in spent.items()}
    behind = min(exchanged, key=lambda rank: exchanged[rank])
    enough = max(_LEAST, _PART * present[behind].duration_ns)
    longer = {rank: time - exchanged[behind] for rank, time in exchanged.items()}
    waiting = [rank for rank, more in longer.items() if more >= enough]
    if not waiting:
        return None
    own = spent[behind]
    more = {
        name: time - max(spent[rank].get(name, 0) for rank in waiting)
        for name, time in own.items()
    }
    place = max(more, key=lambda name: more[name])
    if more[place] < enough / 2:
        return None  # nothing that it did itself took longer
    return RankWait(
        tuple(waiting),
        behind,
        max(longer.values()),
        place or "",
        more[place],
        _called(present[behind], place) if place else "",
    )


def _called(rec: Recording, place: str) -> str:
    """What the script calls a module; one that has no name goes by its class here."""
    return spoken(rec.called, place if place in rec.modules else "") or place


def _exchanges(rec: Recording) -> bool:
    kinds = [info.qualname for info in rec.modules.values()]
    return any(kind == _DDP or kind.startswith(_SHARDED) for kind in kinds)


def _spent(rec: Recording) -> dict[str | None, int]:
    """Nanoseconds by module, in its own code; under None in what exchanges data, under
    an empty name outside of modules."""
    found: dict[str | None, int] = defaultdict(int)
    outside = rec.duration_ns
    for call in rec.calls:
        info = rec.modules.get(call.name)
        exchanging = info is not None and info.qualname == _DDP
        found[None if exchanging else call.name or call.type] += call.self_ns
        outside -= call.duration_ns if call.parent is None else 0
    for function in rec.functions:
        if function.name == "backward" and function.parent is None:
            found[None] += function.duration_ns
            outside -= function.duration_ns
    found[""] += max(0, outside)
    return found
