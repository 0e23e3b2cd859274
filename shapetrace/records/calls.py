"""Calls of modules and functions, and what is in them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

import torch

from shapetrace.records.printable import printable


@dataclass(frozen=True, slots=True)
class Source:
    """A place in the user's code: the nearest frame outside torch and shapetrace.

    `str()` gives `model.py:20`, in a notebook `In [10]:20`; `end_line`, `column` and
    `end_column` delimit the call's own expression where Python knows it. `cell` is the
    execution count of a notebook's cell.
    """

    file: str
    line: int
    function: str = ""
    end_line: int | None = None
    column: int | None = None
    end_column: int | None = None
    cell: int | None = None

    def __str__(self) -> str:
        if self.cell is not None:
            return f"In [{self.cell}]:{self.line}"
        return f"{printable(os.path.basename(self.file), keep='')}:{self.line}"


@dataclass(slots=True, unsafe_hash=True)
class TensorRef:
    """One tensor of a call's inputs or outputs, as it was at that moment.

    `id` is unique to one version of one tensor in the trace: every call that makes
    or changes a tensor gives it a fresh id, so each id has at most one producer.
    """

    path: str
    id: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, slots=True)
class ScriptName:
    """What the script calls an outermost module: `agent.actor`, where its `name` in the
    recording is empty or that of its class."""

    name: str
    code: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """An argument that is neither a tensor nor plain data: only its type is kept."""

    type: str

    def __repr__(self) -> str:
        return f"<{printable(self.type, keep='')}>"


#: torch's exceptions of its stores and of accelerators' backends; those of gloo are
#: plain `RuntimeError`s that name its file
_OF_OTHER_RANKS = re.compile(
    r"^Dist\w*Error$|\bgloo/transport/|\bmonitoredBarrier\b", re.M
)
_NO_ANSWER = re.compile(r"\btimed out\b|\btimeout\b|\bconnection\b", re.I)


@dataclass(frozen=True, slots=True)
class CallError:
    """The exception that ended a call. `id` is equal for one exception on its way."""

    type: str
    message: str
    id: int = 0
    #: the innermost place in the user's code that the exception passed
    source: Source | None = None

    def __str__(self) -> str:
        return printable(f"{self.type}: {self.message}")

    def is_of_other_ranks(self, in_collective: bool = False) -> bool:
        """Whether another rank did not answer, by torch's own words: not that this one
        asked for what does not go."""
        said = f"{self.type}\n{self.message}"
        if _OF_OTHER_RANKS.search(said):
            return True
        return in_collective and _NO_ANSWER.search(said) is not None


@dataclass(slots=True, unsafe_hash=True)
class ModuleCall:
    """One call of one module. Times in nanoseconds on one axis; 0 when not timed.

    `outputs` is None when the call raised. `order` and `end_order` place its entry
    and its end among all events of the trace. `module` indexes nothing: look the
    module up by `name` in `Trace.modules`.
    """

    index: int
    parent: int | None
    depth: int
    name: str
    type: str
    inputs: tuple[TensorRef, ...]
    outputs: tuple[TensorRef, ...] | None
    start_ns: int = 0
    duration_ns: int = 0
    self_ns: int = 0
    source: Source | None = None
    error: CallError | None = None
    thread: int = 0
    recomputed: bool = False
    order: int = 0
    end_order: int = 0
    #: the nested types of the output where it is no tensor: "tuple(Tensor, tuple)"
    output_type: str = "Tensor"
    #: how often its own code asked a tensor for an attribute, as `x.shape`, which a
    #: trace makes dearer
    attribute_reads: int = 0
    #: of its own time what the tracer was seen to take: not all that it took
    tracer_ns: int = 0
    #: with `backward=True`: time of the backward of all that the call did, and of the
    #: forwards that checkpointing ran again meanwhile; None where not recorded
    backward_ns: int | None = None
    recompute_ns: int | None = None
    #: time between entry and end on the accelerator's own clock; None without one
    device_ns: int | None = None
    #: whether the accelerator had done all that was queued when the call ended: then
    #: its time is that of the processor, which it waited for
    device_idle: bool = False
    #: with `memory=True`: bytes that autograd saved for the backward, parameters
    #: excepted; those of them that no other call saved or passed on, less the inputs
    #: that nobody saved, which running it again in the backward would free; by how much
    #: the most that forward and backward hold would fall then (of calls with others in
    #: them); of all that the call made, what was alive when most was held; None where
    #: unknown
    saved_bytes: int | None = None
    exclusive_bytes: int | None = None
    peak_exclusive_bytes: int | None = None
    peak_bytes: int | None = None
    #: with `memory=True`: time from its entry until all that it saves was there, when
    #: checkpointing stops to run it again
    saving_ns: int | None = None
    #: by how much the accelerator's allocator grew
    allocated_bytes: int | None = None


@dataclass(slots=True, unsafe_hash=True)
class FunctionCall:
    """One call of a torch function, by the user's code or by a module's forward.

    `args` and `kwargs` are the arguments as data: tensors stand as `TensorRef`s,
    what is neither tensor nor plain data as `Opaque`.
    """

    index: int
    parent: int | None
    name: str
    qualname: str
    inputs: tuple[TensorRef, ...]
    outputs: tuple[TensorRef, ...] | None
    start_ns: int = 0
    duration_ns: int = 0
    source: Source | None = None
    error: CallError | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    #: True when code outside torch made the call (not a torch.nn layer's forward)
    direct: bool = True
    order: int = 0
    #: whether autograd was switched on (`torch.no_grad()` switches it off)
    grad: bool = True
    #: outside of modules: what the tracer was seen to take around it, not all it took,
    #: and how often a tensor had been asked for an attribute since the function before
    tracer_ns: int = 0
    attribute_reads: int = 0
