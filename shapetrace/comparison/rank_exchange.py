"""How ranks hand over their reports: through the store of the process group.

Not through a collective: a rank that has failed joins none, and whoever waited for it
would wait for ever. What is in the store can be waited for, up to a limit, and is still
there when the rank that put it there is not.
"""

from __future__ import annotations

import os
import time
import zlib
from typing import Any

import torch.distributed as dist

from shapetrace.comparison.across_ranks import Ranks
from shapetrace.comparison.rank_file import read, written
from shapetrace.comparison.ranks import Rank
from shapetrace.errors import ReportError, UsageError
from shapetrace.recording import guards
from shapetrace.records import Diagnosis, Recording
from shapetrace.torch_internals import default_store
from shapetrace.views.json import parse

#: the store of torch takes no more than 8 MB at once
_PART = 4 << 20
_PAUSE_S = 0.02
#: a rank says that it failed before it ends; that takes it a moment
_GRACE_S = 1.0


def gather(
    recording: Recording, findings: tuple[Diagnosis, ...], timeout: float
) -> Ranks | None:
    """See `Trace.gather`."""
    if not guards.has_ranks():
        launched = os.environ.get("WORLD_SIZE", "1") != "1"
        if launched and not (dist.is_available() and dist.is_initialized()):
            raise UsageError(
                "gather() brings ranks together through their process group, and there "
                "is none: call it after init_process_group() and before "
                "destroy_process_group()."
            )
        return Ranks((Rank(0, recording, findings),))
    mine = Rank(dist.get_rank(), recording, findings)
    try:
        exchange = _Exchange()
        exchange.put(written(mine))
        return exchange.collect(mine, timeout)
    except RuntimeError as error:  # the process that keeps the store is gone
        raise ReportError(
            f"gather() on rank {mine.rank} does not reach the others any more: the rank"
            f" that keeps the store, mostly rank 0, has ended ({error})"
        ) from error


def deliver(
    recording: Recording, findings: tuple[Diagnosis, ...], error: BaseException
) -> tuple[str, str]:
    """Hand over the report of a rank that fails, for whoever gathers; return which rank
    this is, and what the ranks that failed before it said.

    Raises:
        RuntimeError: if the store cannot be reached.
    """
    exchange = _Exchange()
    mine = Rank(exchange.rank, recording, findings)
    others = exchange.failures(_GRACE_S if mine.waits else 0.0)
    exchange.put(written(mine))
    failure = mine.failure
    said = f"{type(error).__name__}: {error}" if failure is None else failure.message
    exchange.say(f"rank {mine.rank} failed: {said}")
    return f" on rank {mine.rank}", "\n".join(others)


class _Exchange:
    """The store, with a place for each gathering of each rank.

    How often a rank has gathered is kept in the store as well, so that ranks agree on
    which reports belong together and nothing is kept in this process.
    """

    def __init__(self) -> None:
        store = default_store()
        if store is None:
            raise UsageError(
                "this torch does not hand out the store of its process group, which "
                "gather() needs: write t.to_json(path) on each rank, and compare those."
            )
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        untyped: Any = dist
        self._store = untyped.PrefixStore("shapetrace", store)
        self._round = self._store.add(f"rounds/{self.rank}", 0)

    def put(self, text: str) -> None:
        data = zlib.compress(text.encode("utf-8", "surrogatepass"), 1)
        parts = [data[at : at + _PART] for at in range(0, len(data), _PART)]
        key = self._key(self.rank)
        for number, part in enumerate(parts):
            self._store.set(f"{key}/{number}", part)
        self._store.set(key, str(len(parts)))

    def say(self, message: str) -> None:
        """For ranks that fail because this one has."""
        number = self._store.add(f"{self._round}/failures", 1)
        self._store.set(f"{self._round}/failures/{number}", message)

    def failures(self, grace: float) -> list[str]:
        """What ranks that have failed said, the first first."""
        until = time.monotonic() + grace
        while True:
            count = self._store.add(f"{self._round}/failures", 0)
            keys = [f"{self._round}/failures/{n}" for n in range(1, count + 1)]
            known = [key for key in keys if self._store.check([key])]
            if known or time.monotonic() > until:
                return [self._store.get(key).decode() for key in known]
            time.sleep(_PAUSE_S)

    def collect(self, mine: Rank, timeout: float) -> Ranks | None:
        """All ranks on rank 0, None elsewhere."""
        self._store.add(f"rounds/{self.rank}", 1)
        if self.rank != 0:
            return None
        until = time.monotonic() + timeout
        waiting = set(range(1, self.size))
        found = {0: mine}
        while waiting:
            for rank in sorted(waiting):
                if self._store.check([self._key(rank)]):
                    found[rank] = self._take(rank)
                    waiting.discard(rank)
            if waiting and time.monotonic() > until:
                break
            time.sleep(_PAUSE_S)
        lost = (
            f"sent nothing within {timeout:g} s: it was killed, is not there yet, or "
            "waits in a collective that other ranks do not join"
        )
        found.update({rank: Rank(rank, lost=lost) for rank in waiting})
        return Ranks(tuple(found[rank] for rank in range(self.size)))

    def _take(self, rank: int) -> Rank:
        key = self._key(rank)
        keys = [f"{key}/{n}" for n in range(int(self._store.get(key)))]
        data = b"".join(self._store.get(part) for part in keys)
        for done in (*keys, key):
            self._store.delete_key(done)
        return read(parse(zlib.decompress(data).decode("utf-8", "surrogatepass")))

    def _key(self, rank: int) -> str:
        return f"{self._round}/{rank}"
