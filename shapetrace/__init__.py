"""See what went through every layer in one real batch, and why it does not fit.

>>> import torch, shapetrace
>>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU())
>>> with shapetrace.trace(model) as t:
...     y = model(torch.ones(2, 8))
>>> t.calls[1].type, t.calls[1].outputs[0].shape
('Linear', (2, 4))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from shapetrace.errors import (
    ReportError,
    ShapeError,
    ShapeTraceError,
    ShapeTraceWarning,
    UsageError,
)
from shapetrace.records import (
    Broadcast,
    Culprit,
    Diagnosis,
    Fix,
    FunctionCall,
    ModuleCall,
    Source,
    Step,
    TensorRef,
)
from shapetrace.summarize import summary
from shapetrace.trace import Trace, load, trace

if TYPE_CHECKING:
    from shapetrace.comparison import Comparison
    from shapetrace.comparison.compare import compare
    from shapetrace.views.csv import read_csv

__version__ = "0.1.0"

__all__ = [
    "Broadcast",
    "Comparison",
    "Culprit",
    "Diagnosis",
    "Fix",
    "FunctionCall",
    "ModuleCall",
    "ReportError",
    "ShapeError",
    "ShapeTraceError",
    "ShapeTraceWarning",
    "Source",
    "Step",
    "TensorRef",
    "Trace",
    "UsageError",
    "compare",
    "load",
    "read_csv",
    "summary",
    "trace",
]

_LATER = {
    "Comparison": "shapetrace.comparison",
    "compare": "shapetrace.comparison",
    "read_csv": "shapetrace.views.csv",
}


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext shapetrace` in a notebook: `%%shapetrace model` on a cell."""
    from shapetrace.ipython import load_ipython_extension as load

    load(ipython)


def __getattr__(name: str) -> Any:
    """The analyses are imported when they are asked for, not by `import shapetrace`."""
    try:
        if name == "distributed":
            return importlib.import_module(f"shapetrace.{name}")
        if name in _LATER:
            return getattr(importlib.import_module(_LATER[name]), name)
    except OSError as error:  # no descriptor is left for its file
        raise ReportError(
            f"shapetrace.{name} could not be loaded ({error}); ask again when files "
            "can be opened"
        ) from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
