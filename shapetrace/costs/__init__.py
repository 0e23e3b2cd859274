"""What the calls of a trace cost: FLOPs, bytes, and times without the tracer's own.

All of it is worked out from the records, after the batch.
"""

from __future__ import annotations

from shapetrace.costs.account import CallCost, Costs, costs
from shapetrace.costs.lines import LineCost, by_line
from shapetrace.costs.phases import PHASES, Steps, TrainingStep, steps
from shapetrace.costs.statistics import ModuleStatistics, statistics

__all__ = ["CallCost", "Costs", "ModuleStatistics", "costs", "statistics"]
