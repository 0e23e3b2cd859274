"""What differs between two traces, and how it is shown."""

from __future__ import annotations

from shapetrace.comparison.differences import (
    Comparison,
    Difference,
    ModuleChange,
    Traced,
    compare,
)

__all__ = ["Comparison", "Difference", "ModuleChange", "Traced", "compare"]
