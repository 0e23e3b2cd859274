"""What was found: where it went wrong, who caused it, what to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from shapetrace.records.calls import ScriptName, Source
from shapetrace.records.printable import printable

Severity = Literal["error", "warning", "note"]

#: what is no check's: a page of the documentation for each would say nothing more
_NO_CHECKS = ("failure", "expectation", "explanation", "unexplained")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a lineage: the call that made a tensor, and what it did to it.

    `dim` is the dimension that is followed, or None when the whole tensor is; `how`
    says in words how the call made it; `sure` is False where the step is a guess.
    `name` is a module's: its qualified name in the only model of a trace, of several
    as the script has it; `module` is as the recording has it, None also for a step
    inside a library's transform of data.
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
    #: the tensor that the part went into, and which of its parts it is
    into: int | None = None
    number: int = 0
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
    """A line to paste, "" where what stands there is to go. `status`: verified, moved
    (the error then arises elsewhere, `detail` says where) or untried; `where` are the
    lines of code to change and `old` is what stands there; `loses` is what is lost with
    it, empty where nothing is."""

    line: str
    status: Literal["verified", "moved", "untried"] = "untried"
    detail: str = ""
    where: Source | None = None
    loses: str = ""
    old: str = ""

    def __str__(self) -> str:
        return printable(self.line or f"(without) {self.old}")


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
    #: what the script calls the roots: the texts have it, `where` and culprits have not
    called: tuple[ScriptName, ...] = ()
    #: how a notebook shows one: the views, which know, put it here; no field
    card = staticmethod(str)

    @property
    def page(self) -> str:
        """The page of the documentation on a check's finding: what it means, an example
        and its fix. Empty where no check found it."""
        return "" if self.code in _NO_CHECKS else f"docs/checks/{self.code}.md"

    def __str__(self) -> str:
        return printable(self.text or self.message)

    def _repr_html_(self) -> str:
        return Diagnosis.card(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython shows in a terminal: the text, not the fields."""
        printer.text(str(self))


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
