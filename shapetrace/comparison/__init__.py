"""What differs between two traces, and how it is shown."""

from __future__ import annotations

from shapetrace.comparison.across_ranks import Ranks
from shapetrace.comparison.compare import Comparison, Traced, compare
from shapetrace.comparison.differences import Difference, ModuleChange
from shapetrace.comparison.rank_differences import RankDifference
from shapetrace.comparison.rank_waits import RankWait
from shapetrace.comparison.ranks import Rank

__all__ = [
    "Comparison",
    "Difference",
    "ModuleChange",
    "Rank",
    "RankDifference",
    "RankWait",
    "Ranks",
    "Traced",
    "compare",
]
