"""What holds for every recording, whatever was traced."""

from __future__ import annotations

from shapetrace.records import Recording


def check_invariants(rec: Recording) -> None:
    """One producer an id, made before it is used; parents nest."""
    made: dict[int, int] = {}
    for position, function in enumerate(rec.functions):
        assert function.index == position
        assert (function.outputs is None) == (function.error is not None)
        for ref in function.outputs or ():
            assert ref.id not in made, f"{ref} was made twice"
            origin = rec.origins.get(ref.id)
            assert origin is None or origin.kind in ("parameter", "buffer")
            made[ref.id] = function.order
    for function in rec.functions:
        for ref in function.inputs:
            assert (
                ref.id in rec.origins or made[ref.id] < function.order
            ), f"{function.name} uses {ref}, which nothing made"
        if function.parent is not None:
            parent = rec.calls[function.parent]
            assert parent.order < function.order < parent.end_order
    for position, call in enumerate(rec.calls):
        assert call.index == position
        assert call.order <= call.end_order
        assert call.name in rec.modules
        assert call.duration_ns >= call.self_ns >= 0
        if call.parent is None:
            assert call.depth == 0
            continue
        parent = rec.calls[call.parent]
        assert call.parent < call.index
        assert call.depth == parent.depth + 1
        assert parent.order < call.order <= call.end_order <= parent.end_order
