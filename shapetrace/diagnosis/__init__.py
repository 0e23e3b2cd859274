"""A failed call, or any call or tensor that is asked about, to a `Diagnosis`."""

from __future__ import annotations

from shapetrace.diagnosis.explain import diagnose_failure
from shapetrace.diagnosis.notes import explain_call, explain_last, explain_tensor

__all__ = ["diagnose_failure", "explain_call", "explain_last", "explain_tensor"]
