"""What differs between two traces, and how it is shown."""

from __future__ import annotations

from shapetrace.comparison.across_ranks import Rank, RankDifference, Ranks
from shapetrace.comparison.compare import Comparison, Traced, compare
from shapetrace.comparison.differences import Difference, ModuleChange

__all__ = [
    "Comparison",
    "Difference",
    "ModuleChange",
    "Rank",
    "RankDifference",
    "Ranks",
    "Traced",
    "compare",
]
