"""Several ranks of one distributed batch: times side by side, and what differs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shapetrace.comparison import rank_file, rank_views
from shapetrace.comparison.ranks import Gathered
from shapetrace.views import files

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Ranks(Gathered):
    """All ranks of a batch, in order: `ranks[1]` is rank 1, and two of them go into
    `shapetrace.compare`. `str()` and a notebook show the table."""

    def to_dataframe(
        self, by: Literal["module", "rank"] = "module"
    ) -> pandas.DataFrame:
        """One row per module, its times over the ranks; or one row per rank.

        Times are milliseconds, of all calls of a module together.
        """
        if by == "module":
            return rank_views.by_module(self)
        return rank_views.by_rank(self)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """All ranks in one file; `shapetrace.distributed.load(path)` reads it back.

        Raises:
            ReportError: if the file cannot be written.
        """
        files.write(path, rank_file.dumps(self.ranks))

    def __str__(self) -> str:
        return rank_views.text(self)

    def _repr_html_(self) -> str:
        return rank_views.html(self)


def load(path: str | os.PathLike[str]) -> Ranks:
    """The ranks of a file that `Ranks.to_json` or `shapetrace run` wrote.

    Raises:
        ReportError: if the file is missing, damaged or something else.
    """
    return Ranks(rank_file.load(path))
