"""What the ranks of one distributed batch sent, as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from shapetrace.comparison.rank_differences import RankDifference, differences
from shapetrace.comparison.rank_waits import RankWait, waits
from shapetrace.records import Diagnosis, Recording


@dataclass(frozen=True)
class Rank:
    """What one rank sent: its recording and findings, or None and ().

    `lost` says why nothing came.
    """

    rank: int
    recording: Recording | None = None
    findings: tuple[Diagnosis, ...] = ()
    lost: str = ""

    @property
    def failure(self) -> Diagnosis | None:
        """The explanation of the call that raised there."""
        return next((f for f in self.findings if f.code == "failure"), None)

    @property
    def waits(self) -> str:
        """The collective that it was in when its batch ended, and its line."""
        return "" if self.recording is None else self.recording.ended_in


@dataclass(frozen=True)
class Gathered:
    """What came from all ranks of a batch, in order."""

    ranks: tuple[Rank, ...]

    def __len__(self) -> int:
        return len(self.ranks)

    def __getitem__(self, rank: int) -> Rank:
        return self.ranks[rank]

    @property
    def failures(self) -> dict[int, Diagnosis]:
        """The explanation of each rank that failed."""
        return {r.rank: r.failure for r in self.ranks if r.failure is not None}

    @property
    def missing(self) -> tuple[int, ...]:
        """The ranks that sent nothing."""
        return tuple(r.rank for r in self.ranks if r.recording is None)

    @cached_property
    def differences(self) -> tuple[RankDifference, ...]:
        """Where ranks differ from what most do, in order of time."""
        return tuple(differences(self.present()))

    @cached_property
    def waited(self) -> tuple[RankWait, ...]:
        """Which ranks waited for which, and where, the longest first."""
        return waits(self.present())

    def present(self) -> dict[int, Recording]:
        """The recordings that came, by rank."""
        return {r.rank: r.recording for r in self.ranks if r.recording is not None}
