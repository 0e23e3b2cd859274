"""What the calls of a trace cost: FLOPs, bytes, memory, and times without the tracer's.

All of it is worked out from the records, after the batch.
"""

from __future__ import annotations

from shapetrace.costs.account import CallCost, Costs, costs, unknown_costs
from shapetrace.costs.checkpointing import CheckpointCandidate, checkpoint_candidates
from shapetrace.costs.footprint import (
    Memory,
    MemoryEstimate,
    ModuleMemory,
    held,
    memory,
    memory_for,
)
from shapetrace.costs.lines import LineCost, by_line
from shapetrace.costs.phases import Steps, TrainingStep, steps
from shapetrace.costs.statistics import ModuleStatistics, batches, statistics
from shapetrace.costs.totals import Total, by_block, by_type
from shapetrace.costs.waits import Synchronization, synchronizations
from shapetrace.costs.warm import without_first_step

__all__ = [
    "CallCost",
    "CheckpointCandidate",
    "Costs",
    "LineCost",
    "Memory",
    "MemoryEstimate",
    "ModuleMemory",
    "ModuleStatistics",
    "Steps",
    "Synchronization",
    "Total",
    "TrainingStep",
    "batches",
    "by_block",
    "by_line",
    "by_type",
    "checkpoint_candidates",
    "costs",
    "held",
    "memory",
    "memory_for",
    "statistics",
    "steps",
    "synchronizations",
    "unknown_costs",
    "without_first_step",
]
