"""What a program does with shapes, read from its text and never run.

The functions that led to the failing call are read from their beginning, as they would
be with a fix pasted in: what was recorded answers for every call that the fix leaves
as it was, the shape signatures for the others and for all that never ran.
"""

from __future__ import annotations

from shapetrace.diagnosis.reading.program import Program, Reading
from shapetrace.diagnosis.reading.values import Conflicting

__all__ = ["Conflicting", "Program", "Reading"]
