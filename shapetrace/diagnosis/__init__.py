"""A failed call, or any call or tensor that is asked about, to a `Diagnosis`."""
from shapetrace.lineage import Graph


def diagnose_failure(graph: Graph):
    return None
