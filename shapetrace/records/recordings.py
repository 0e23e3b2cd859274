"""All that a trace holds: the calls, and what is known of the whole batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from shapetrace.records.calls import (
    CallError,
    FunctionCall,
    ModuleCall,
    ScriptName,
    Source,
    TensorRef,
)
from shapetrace.records.script import Script


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
    made it in a way that cannot be observed (`name`: its grad_fn, if any). `gone`: it
    is from outside, and was no more when the block ended.
    """

    kind: Literal["parameter", "buffer", "outside", "unseen"]
    name: str = ""
    requires_grad: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Overhead:
    """What recording itself costs, measured after the batch: nanoseconds a call.

    `module`, `function` (of torch's C++) and `python_function` (of torch's Python,
    such as `torch.nn.functional.relu`) are what one call takes longer under the trace,
    beside what was seen of that in the batch itself, `ModuleCall.tracer_ns`; `ending`
    of it is seen there too where a function gives something else than one tensor.
    `attribute` is for reading one of a tensor. `inside` is the part that lies within
    the call's own recorded duration. `bare` is what the call of a module, a layer's
    forward around its function, and the reading of one parameter
    take without a trace. `uncertainty` is by which part of them they may be off. By
    `slower` of its time, and at most by `slower_most`, a function itself runs slower
    beside the tracer; one that is written in Python at most by the other. `stand_in`
    is for each further stand-in that a function which may warn is called through,
    within its duration. By `swing` of it the same work takes now more and now less on
    this machine, without any trace.
    """

    module: float
    module_inside: float
    function: float
    function_inside: float
    module_bare: float = 0.0
    layer_bare: float = 0.0
    parameter_bare: float = 0.0
    python_function: float = 0.0
    ending: float = 0.0
    attribute: float = 0.0
    uncertainty: float = 0.0
    slower: float = 0.0
    slower_most: float = 0.0
    slower_most_in_python: float = 0.0
    stand_in: float = 0.0
    swing: float = 0.0


@dataclass(frozen=True, slots=True)
class Unseen:
    """Work that was not recorded: in the module call of index `call`, or outside of
    any. `name` says what: "vmap" (and of the calls inside it too), "backward of Swish"
    where `Swish` is an `autograd.Function` of the user's, "Triton kernel add"."""

    name: str
    call: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Between these two moments the tracing thread waited so long for a processor that
    other threads or programs had. Linux counts it; elsewhere there is none."""

    start_ns: int
    end_ns: int
    waited_ns: int


@dataclass(frozen=True, slots=True)
class InFlight:
    """An asynchronous collective, which the function call of this index has begun, was
    on its way until then. There is none where its tensors lie on an accelerator, or
    where it was begun in another thread."""

    function: int
    over_ns: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """Here the tracing thread waited for the handle of an asynchronous collective
    meanwhile, to a few milliseconds."""

    source: Source
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Range:
    """What ran inside one `torch.profiler.record_function(name)`, in the order of the
    ends. Torch makes one itself for each batch that a `DataLoader` gives and each step
    of an optimizer. `order` and `end_order` place its beginning and its end among all
    events of the trace, timed or not."""

    name: str
    start_ns: int
    duration_ns: int
    source: Source | None = None
    order: int = 0
    end_order: int = 0


@dataclass(frozen=True, slots=True)
class LiveBytes:
    """What is alive from `time_ns` on, in bytes by kind.

    `activations` are what functions made and what autograd saved; `gradients` those
    of parameters; `optimizer` its state and what it makes in a step; `backward` the
    gradients on their way through a backward. Parameters, buffers and what came from
    outside is not among them. `call` is the innermost module call that was running
    then, None between modules. Where a node of a backward has just run, `function` is
    the index of the function call whose backward it is part of, and `node` its name.
    """

    time_ns: int
    activations: int
    gradients: int = 0
    optimizer: int = 0
    backward: int = 0
    call: int | None = None
    function: int | None = None
    node: str = ""

    @property
    def total(self) -> int:
        return self.activations + self.gradients + self.optimizer + self.backward


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts and times of what was not kept itself: of `count` calls, in nanoseconds.

    `own_ns` leaves out the calls inside them. `spread` has how many took how long, to
    the nearest of times that lie about 1 % apart.
    """

    count: int
    total_ns: int
    own_ns: int
    min_ns: int
    max_ns: int
    spread: dict[int, int]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The middle of a long run, between its first calls and its newest: of `calls`
    module calls only figures were kept.

    The first call after them has the index `following`; they lie between `start_ns`
    and `end_ns`. `steps` are the times from one step of the optimizer to the next,
    `modules` the figures by the module's qualified name, by its type where a module is
    made anew for each batch.
    """

    calls: int
    following: int
    start_ns: int
    end_ns: int
    steps: Figures | None
    modules: dict[str, Figures]


@dataclass(frozen=True, slots=True)
class Recording:
    """All that a trace holds, as data: what views and analyses read.

    `origins` maps the id of a tensor that no call made, and every version of a
    parameter, to where it came from;
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
    #: of the block before its first event, which is where time begins; 0 where no
    #: module was named, so that the block may have built it
    before_ns: int = 0
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
    #: what it held at the end beside what is in `live`, parameters, buffers and inputs
    allocated_other: int = 0
    #: module calls that a bound made the trace drop: the oldest, or those of `left_out`
    dropped_calls: int = 0
    left_out: LeftOut | None = None
    #: whether its first step, which warms up, was left out
    warm: bool = False
    unseen: tuple[Unseen, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    in_flight: tuple[InFlight, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    #: the collective in which the block ended, and its line: "all_reduce at a.py:3"
    ended_in: str = ""
    #: what the script calls the roots, where its lines tell
    called: tuple[ScriptName, ...] = ()
    #: what names stood for in the code through which an exception left the block
    script: Script | None = None

    @property
    def has_first(self) -> bool:
        """Whether the first step of the block is the first one here."""
        return not self.warm and (not self.dropped_calls or self.left_out is not None)
