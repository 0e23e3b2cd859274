"""See what went through every layer in one real batch, and why it does not fit.

>>> import torch, shapetrace
>>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU())
>>> with shapetrace.trace(model) as t:
...     y = model(torch.ones(2, 8))
>>> t.calls[1].type, t.calls[1].outputs[0].shape
('Linear', (2, 4))
"""

from shapetrace.errors import (
    ReportError,
    ShapeError,
    ShapeTraceError,
    ShapeTraceWarning,
    UsageError,
)
from shapetrace.records import (
    Culprit,
    Diagnosis,
    FunctionCall,
    ModuleCall,
    TensorRef,
)
from shapetrace.tracing import Trace, load, trace

__version__ = "0.1.0"

__all__ = [
    "Culprit",
    "Diagnosis",
    "FunctionCall",
    "ModuleCall",
    "ReportError",
    "ShapeError",
    "ShapeTraceError",
    "ShapeTraceWarning",
    "TensorRef",
    "Trace",
    "UsageError",
    "load",
    "trace",
]
