"""A hypothesis: what could have been meant, told as the smallest change of the recorded
program with which the mismatch is gone, and the site of that change, which is who."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from shapetrace.diagnosis.repair.edits import Edit
from shapetrace.records import Culprit, FunctionCall, ModuleInfo, Source

#: what kind of change a repair is; the weights have a line for each
Form = Literal[
    "width",  # a layer built with another number of features or channels
    "intake",  # the layer that failed built for what it is given
    "parameter",  # a parameter or buffer of the user's made with another size
    "window",  # a kernel, stride or padding
    "setting",  # batch_first, num_layers, groups: anything else a layer is built with
    "layer",  # a layer of another type
    "attribute",  # an attribute that says another width than its tensor has
    "number",  # a number among a call's arguments
    "dim",  # the dimension that a call works on
    "insert",  # a call put in
    "reduce",  # a sum or mean put in
    "omit",  # a call left out
    "exchange",  # another function in place of one
    "name",  # another tensor, which has a name there
    "loss",  # another loss
    "data",  # data of another shape
    "cut",  # a part of the data left out
    "values",  # other values, types, devices
    "unknown",  # the call that failed, where nothing better is known
]
#: a statement to paste, and what it replaces
Written = tuple[str, Source | None]
UNWRITTEN: Written = ("", None)


#: after all calls of a recording
EVER = 1 << 60


@dataclass(frozen=True, slots=True)
class Taken:
    """A tensor edited where the calls with an order in `first` to `last` take it."""

    tensor: int
    edit: Edit
    first: int = 0
    last: int = EVER


@dataclass(frozen=True, slots=True)
class Repair:
    """A change of the recorded program: tensors edited where they are taken, modules
    built otherwise, function calls made otherwise."""

    taken: tuple[Taken, ...] = ()
    modules: Mapping[str, ModuleInfo] = field(default_factory=dict)
    #: module calls, by their index, of another module
    instead: Mapping[int, ModuleInfo] = field(default_factory=dict)
    calls: Mapping[int, FunctionCall] = field(default_factory=dict)
    #: what is done to the result of the failing call
    back: Edit | None = None
    #: for failures that are about values: whether the new sizes hold them all
    holds_values: bool = False


class Outcome(NamedTuple):
    """What came of trying a repair. `broke`: a call that went through would fail;
    `goes`: the failing call goes through, whatever follows; `further` is what that is
    to be read with, until it was."""

    status: Literal["verified", "moved", "untried"]
    detail: str = ""
    broke: bool = False
    goes: bool = False
    further: Any = None


@dataclass(frozen=True, slots=True)
class Site:
    """Who: a module by its name, a function's call by its place, data by its tensor."""

    kind: Literal["module", "function", "target", "input"]
    name: str
    #: two calls of one name are two sites
    place: object = None
    source: Source | None = None

    @property
    def key(self) -> tuple[str, object]:
        """What tells it from other sites."""
        return self.kind, self.name if self.kind == "module" else self.place


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One thing that could have been meant.

    `hops` counts the calls between the failing one and the site. `line` is what to
    paste ("" where there is none) in place of `where`, `words` says what it does and
    `loses` what is lost with it. `dim`, `size` and `expected` are of the site's own
    tensor, `reason` what the site did.
    """

    form: Form
    site: Site
    repair: Repair | None = None
    hops: int = 0
    line: str = ""
    where: Source | None = None
    words: str = ""
    loses: str = ""
    reason: str = ""
    dim: int | None = None
    size: int | None = None
    expected: int | None = None
    #: guesses of one such name stand for each other: the first that holds is kept
    once: str = ""
    outcome: Outcome | None = None
    #: the edit, where the repair is one of one tensor: layouts are judged by it
    edit: Edit | None = None
    #: does to one side what was done to the other before they met
    mirrors: bool = False

    @property
    def culprit(self) -> Culprit:
        """Who it is about, without what speaks for it."""
        site = self.site
        return Culprit(
            site.kind,
            site.name,
            self.dim,
            self.size,
            self.expected,
            site.source,
            self.reason,
        )
