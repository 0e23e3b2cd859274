"""The plain data of a trace: no hooks, no tensors, no formatting.

Nothing changes a record once the trace has handed it out. The three that exist once a
call are not frozen all the same: building a frozen one takes twice as long.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

Severity = Literal["error", "warning", "note"]


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
        return f"{os.path.basename(self.file)}:{self.line}"


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
class Opaque:
    """An argument that is neither a tensor nor plain data: only its type is kept."""

    type: str

    def __repr__(self) -> str:
        return f"<{self.type}>"


@dataclass(frozen=True, slots=True)
class CallError:
    """The exception that ended a call. `id` is equal for one exception on its way."""

    type: str
    message: str
    id: int = 0
    #: the innermost place in the user's code that the exception passed
    source: Source | None = None

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


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
    #: with `backward=True`: time of the backward of all that the call did, and of the
    #: forwards that checkpointing ran again meanwhile; None where not recorded
    backward_ns: int | None = None
    recompute_ns: int | None = None
    #: time between entry and end on the accelerator's own clock; None without one
    device_ns: int | None = None
    #: with `memory=True`: bytes that autograd saved for the backward, parameters
    #: excepted; those of them that no other call saved or passed on, which running it
    #: again in the backward would free; by how much the most that forward and backward
    #: hold would fall then (of calls with others in them); of all that the call made,
    #: what was alive when most was held; None: unknown
    saved_bytes: int | None = None
    exclusive_bytes: int | None = None
    peak_exclusive_bytes: int | None = None
    peak_bytes: int | None = None
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


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """What is known of a module without the module: for fixes and for the table.

    `parameters` and `buffers` are its own (not its children's), as `TensorRef`s whose
    path is the attribute's name; `attributes` its plain public attributes. `inits` are
    the places of the `__init__`s of its class and bases, torch's own left out.
    """

    name: str
    type: str
    qualname: str
    parameters: tuple[TensorRef, ...] = ()
    buffers: tuple[TensorRef, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    training: bool = True
    inits: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a tensor that no recorded call made comes from.

    `kind` is "parameter" or "buffer" (`name` is the qualified name) or "outside"
    (data that existed before it was first used in the trace); "unseen" when torch
    made it in a way that cannot be observed (`name`: its grad_fn, if any).
    """

    kind: Literal["parameter", "buffer", "outside", "unseen"]
    name: str = ""
    requires_grad: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a lineage: the call that made a tensor, and what it did to it.

    `dim` is the dimension that is followed, or None when the whole tensor is; `how`
    says in words how the call made it; `sure` is False where the step is a guess.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    dim: int | None = None
    how: str = ""
    source: Source | None = None
    module: str | None = None
    tensor: int | None = None
    function: int | None = None
    call: int | None = None
    sure: bool = True
    #: the part of a product or sum whose way this is: "13" of 16·13·13
    part: str = ""
    #: how many steps this one stands for (see `lineage.fold`)
    count: int = 1


@dataclass(frozen=True, slots=True)
class Culprit:
    """Who put the wrong size there. `kind`: module, function, target or input.

    `name` is the module's qualified name, the function's name, or `target`/`input`
    with the place where it was made. `dim` is the odd dimension, `size` what it is,
    `expected` what would fit (None: unknown), `reason` the evidence in words,
    `probability` from 0 to 1 how likely it is the one to mend (0: not reckoned).
    """

    kind: Literal["module", "function", "target", "input"]
    name: str
    dim: int | None = None
    size: int | None = None
    expected: int | None = None
    source: Source | None = None
    reason: str = ""
    probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Fix:
    """A line to paste. `status`: verified, moved (the error then arises elsewhere,
    `detail` says where) or untried; `where` are the lines of code to change and `old`
    is what stands there; `loses` is what is lost with it, empty where nothing is."""

    line: str
    status: Literal["verified", "moved", "untried"] = "untried"
    detail: str = ""
    where: Source | None = None
    loses: str = ""
    old: str = ""

    def __str__(self) -> str:
        return self.line


@dataclass(frozen=True, slots=True)
class Operand:
    """One tensor of the call that a diagnosis is about. `label` is its part in the
    call, `dim` the dimension that is odd, `origin` says in words where it is from."""

    label: str
    shape: tuple[int, ...]
    dtype: str
    dim: int | None = None
    origin: str = ""
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong (or just: what is so), where, who caused it, and what to write.

    `message` is the first sentence; `text` the full explanation, which `str()` gives.
    `excerpt` holds the lines of code at `source`, `operands` the tensors of the call,
    `remarks` what else is to be said.
    """

    code: str
    severity: Severity
    message: str
    where: str
    module: str | None = None
    source: Source | None = None
    culprits: tuple[Culprit, ...] = ()
    lineage: tuple[Step, ...] = ()
    fixes: tuple[Fix, ...] = ()
    text: str = ""
    #: index of the function call and of the module call that it is about
    function: int | None = None
    call: int | None = None
    excerpt: tuple[str, ...] = ()
    operands: tuple[Operand, ...] = ()
    remarks: tuple[str, ...] = ()
    #: how a notebook shows one: the views, which know, put it here; no field
    card = staticmethod(str)

    def __str__(self) -> str:
        return self.text or self.message

    def _repr_html_(self) -> str:
        return Diagnosis.card(self)


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One implicit expansion: `call` is the function's index, `stretched` the path of
    the operand that was stretched in the result's dimension `dim`, from 1 to `size`."""

    call: int
    name: str
    stretched: str
    by: str
    dim: int
    size: int
    shapes: tuple[tuple[int, ...], ...]
    source: Source | None = None
    module: str | None = None
    met_target: bool = False


@dataclass(frozen=True, slots=True)
class Overhead:
    """What recording itself costs, measured after the batch: nanoseconds a call.

    `module`, `function` (of torch's C++) and `python_function` (of torch's Python,
    such as `torch.nn.functional.relu`, with two arguments, and `argument` for each
    more) are what one call takes longer under the trace; `inside` is the part of it
    that lies within the call's own recorded duration. `cold` is what comes on top
    around a kernel that has emptied the processor's cache. `uncertainty` is by which
    part of them they may be off.
    """

    module: float
    module_inside: float
    function: float
    function_inside: float
    python_function: float = 0.0
    argument: float = 0.0
    module_cold: float = 0.0
    function_cold: float = 0.0
    uncertainty: float = 0.0


@dataclass(frozen=True, slots=True)
class Range:
    """What ran inside one `torch.profiler.record_function(name)`, in the order of the
    ends. Torch makes one itself for each batch that a `DataLoader` gives and each step
    of an optimizer."""

    name: str
    start_ns: int
    duration_ns: int
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class LiveBytes:
    """What is alive from `time_ns` on, in bytes by kind.

    `activations` are what functions made and what autograd saved; `gradients` those
    of parameters; `optimizer` its state and what it makes in a step; `backward` the
    gradients on their way through a backward. Parameters, buffers and what came from
    outside is not among them. `call` is the innermost module call that was running
    then, None between modules.
    """

    time_ns: int
    activations: int
    gradients: int = 0
    optimizer: int = 0
    backward: int = 0
    call: int | None = None

    @property
    def total(self) -> int:
        return self.activations + self.gradients + self.optimizer + self.backward


@dataclass(frozen=True, slots=True)
class Recording:
    """All that a trace holds, as data: what views and analyses read.

    `origins` maps the id of a tensor that no call made to where it came from;
    `modules` a qualified name to what is known of the module. `notes` are remarks on
    the recording itself (fast path left, compiled code run eagerly, faults).
    """

    calls: tuple[ModuleCall, ...]
    functions: tuple[FunctionCall, ...]
    modules: dict[str, ModuleInfo]
    origins: dict[int, Origin]
    roots: tuple[str, ...] = ("",)
    notes: tuple[str, ...] = ()
    duration_ns: int = 0
    has_functions: bool = True
    has_timing: bool = True
    torch_version: str = ""
    #: largest and smallest value of integer tensors that losses and lookups read
    value_ranges: dict[int, tuple[int, int]] = field(default_factory=dict)
    error: CallError | None = None
    #: None where it was not measured
    overhead: Overhead | None = None
    ranges: tuple[Range, ...] = ()
    #: with `memory=True`: one for each storage that came or went
    live: tuple[LiveBytes, ...] = ()
    #: with `memory=True`: the most bytes of each parameter's gradient, and those of
    #: its optimizer's state, by the parameter's qualified name
    gradients: dict[str, int] = field(default_factory=dict)
    optimizer_state: dict[str, int] = field(default_factory=dict)
    #: the most that the accelerator's allocator held, where the batch raised it
    allocated_peak: int | None = None
    #: module calls that `max_calls` made the trace drop, the oldest first
    dropped_calls: int = 0
