"""What PyTorch does not tell: a registry of small rules over a trace."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from shapetrace.lineage import Graph
from shapetrace.records import Diagnosis


def run_checks(
    graph: Graph, codes: bool | Collection[str] = True
) -> tuple[Diagnosis, ...]:
    """The findings of the chosen checks, most severe first."""
    return ()


def warn(findings: Iterable[Diagnosis]) -> None:
    """One Python warning for each site that a finding of severity warning names."""
