"""Calls that a signature cannot tell from one another."""

from __future__ import annotations

from typing import Any

from shapetrace.lineage.hops import Call
from shapetrace.records import ModuleCall, TensorRef


def form_of(call: Call) -> Any:
    """All of a call that a signature reads, hashable; TypeError where it is not."""
    inputs = tuple([(ref.shape, ref.dtype) for ref in call.inputs])
    outputs = None
    if call.outputs is not None:
        outputs = tuple([ref.shape for ref in call.outputs])
    form: Any
    if isinstance(call, ModuleCall):
        paths = tuple([ref.path for ref in call.inputs])
        form = (call.name, paths, inputs, outputs)
    else:
        args, kwargs = _plain(call.args), _plain(call.kwargs)
        form = (call.name, call.qualname, inputs, outputs, args, kwargs)
    hash(form)
    return form


def _plain(value: Any) -> Any:
    """An argument without its tensors' identities; `True` is not `1`."""
    kind = type(value)
    if kind is TensorRef:
        return TensorRef
    if kind is tuple or kind is list:
        return (kind, *[_plain(part) for part in value])
    if kind is dict:
        return (dict, *[(key, _plain(part)) for key, part in value.items()])
    if kind is slice:
        return (slice, _plain(value.start), _plain(value.stop), _plain(value.step))
    return (bool, value) if kind is bool else value
