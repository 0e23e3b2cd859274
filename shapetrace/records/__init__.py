"""The plain data of a trace: no hooks, no tensors, no formatting.

Nothing changes a record once the trace has handed it out. The three that exist once a
call are not frozen all the same: building a frozen one takes twice as long.
"""

from __future__ import annotations

from shapetrace.records.calls import (
    CallError,
    FunctionCall,
    ModuleCall,
    Opaque,
    ScriptName,
    Source,
    TensorRef,
)
from shapetrace.records.diagnoses import (
    Broadcast,
    Culprit,
    Diagnosis,
    Fix,
    Operand,
    Severity,
    Step,
)
from shapetrace.records.recordings import (
    Blocked,
    Figures,
    InFlight,
    LeftOut,
    LiveBytes,
    ModuleInfo,
    Origin,
    Overhead,
    Range,
    Recording,
    Unseen,
    Waiting,
)
from shapetrace.records.script import Held, Script, ScriptFrame, ScriptObject

__all__ = [
    "Blocked",
    "Broadcast",
    "CallError",
    "Culprit",
    "Diagnosis",
    "Figures",
    "Fix",
    "FunctionCall",
    "Held",
    "InFlight",
    "LeftOut",
    "LiveBytes",
    "ModuleCall",
    "ModuleInfo",
    "Opaque",
    "Operand",
    "Origin",
    "Overhead",
    "Range",
    "Recording",
    "Script",
    "ScriptFrame",
    "ScriptName",
    "ScriptObject",
    "Severity",
    "Source",
    "Step",
    "TensorRef",
    "Unseen",
    "Waiting",
]
