"""Several ranks of one distributed batch, under torchrun or any other launcher.

    with shapetrace.trace(model) as t:
        step(batch)
    ranks = t.gather()          # on every rank
    if ranks is not None:       # rank 0
        print(ranks)

`Trace.gather` brings them together; `load` reads what `Ranks.to_json` wrote, and
`shapetrace run` under torchrun.
"""

from __future__ import annotations

from shapetrace.comparison import Rank, RankDifference, Ranks, RankWait
from shapetrace.comparison.across_ranks import load

__all__ = ["Rank", "RankDifference", "RankWait", "Ranks", "load"]
