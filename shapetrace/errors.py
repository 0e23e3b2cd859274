"""What shapetrace itself raises and warns."""

from __future__ import annotations


class ShapeTraceError(Exception):
    """Base of every error that shapetrace raises on its own account."""


class UsageError(ShapeTraceError, TypeError):
    """shapetrace was called with something that it cannot trace or explain."""


class ReportError(ShapeTraceError, OSError):
    """A report could not be written or read; what was recorded is unharmed."""


class ShapeError(ShapeTraceError, AssertionError):
    """A tensor has not the shape that `Trace.expect` was told.

    The message is the explanation; `diagnosis` holds it as data.
    """

    def __init__(self, message: str, diagnosis: object = None) -> None:
        super().__init__(message)
        self.diagnosis = diagnosis


class ShapeTraceWarning(UserWarning):
    """Something in the batch is legal for PyTorch and probably not meant."""
