"""The tensors that the recorder has seen, each by a reference.

A tensor is known by its `id`, held to it by the reference, since the interpreter uses
an id again at once. The reference is a weak one; that of a tensor which a module owns
goes by way of the module (see `owned.py`). Nothing here keeps a tensor alive.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parameter import is_lazy

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.events import DEFINE
from shapetrace.recording.owned import Owned, may_be_kept, nothing, through_module
from shapetrace.recording.tensors import (
    PLAIN,
    Definition,
    Nested,
    Reference,
    form_of,
    freeze,
    grad_fn_of,
    requires_grad_of,
)
from shapetrace.records import Origin

if TYPE_CHECKING:
    from shapetrace.recording.table import Site

DISABLED = torch_internals.unseen_by_modes
_MODES = torch_internals.count_modes
_PARAMETER, _TENSOR = torch.nn.Parameter, torch.Tensor
_CPU = torch.device("cpu")
#: so many tensors from outside are asked at the end whether they still are
_MOST_OUTSIDE = 10_000
_OUTSIDE = [Origin("outside", requires_grad=grad) for grad in (False, True)]


class References:
    """Gives a tensor its reference, and defines it in `events` when it is new.

    `functions` says whether functions are recorded: if not, nobody sees that a tensor
    is given another shape in place, and it is looked at again each time.
    """

    def __init__(self, events: list[Any], functions: bool) -> None:
        self._events = events
        self.functions = functions
        #: by `id` of the tensor
        self.seen: dict[int, Reference] = {}
        #: without function events, what a tensor was when it was last described
        self.forms: dict[int, Definition] = {}
        #: events that are to stand in `events` later
        self.aside: list[Any] = []
        #: what others know of references, by the `id` of the reference
        self.beside: list[dict[int, Any]] = []
        #: the tensors that modules own, as `seen`
        self._owned: dict[int, Owned[Any]] = {}
        self._origins: dict[str, Origin] = {}
        self._outside: deque[Reference] = deque(maxlen=_MOST_OUTSIDE)
        #: those from outside that were no more when the block ended, by `id`
        self.gone: set[int] = set()

    def end(self) -> None:
        """The block is at its end."""
        self.gone = {id(one) for one in self._outside if one() is None}

    def lookup(self, tensor: torch.Tensor) -> Reference | None:
        """The reference of a tensor that is known."""
        known = self.seen.get if self.functions else self.unchanged
        reference = known(id(tensor))
        return reference if reference and reference() is tensor else None

    def unchanged(self, key: int) -> Reference | None:
        """What `seen` says, unless the tensor has another shape since: without function
        events nobody has seen its `unsqueeze_`."""
        reference = self.seen.get(key)
        tensor = reference() if reference is not None else None
        if tensor is None:
            return None
        form = self.forms[key]
        if type(tensor) is torch.Tensor and form[1] and not _MODES():
            same = (
                tensor.shape == form[1]
                and tensor.dtype is form[2]
                and tensor.device == form[3]
            )
        else:
            with DISABLED():
                same = form_of(tensor) == form[1:]
        return reference if same else None

    def reference(
        self, tensor: torch.Tensor, owned: Owned[Any] | None = None
    ) -> Reference:
        """The reference of an input: a known one, or that of one from outside; for one
        that a module owns, `owned`.

        >>> references = References([], functions=True)
        >>> x = torch.ones(2)
        >>> references.reference(x) is references.reference(x)
        True
        """
        known = self.lookup(tensor)
        if known is not None:
            return known
        with DISABLED():
            grad_fn = grad_fn_of(tensor)
            if grad_fn is None:
                origin = _OUTSIDE[requires_grad_of(tensor)]
            else:
                origin = Origin("unseen", grad_fn.name(), True)
            found = owned or self._reference_to(tensor)
            definition = (found, *form_of(tensor))
        self._events += (DEFINE, *definition, origin)
        if grad_fn is None:
            self._outside.append(definition[0])
        return self._know(tensor, definition)[0]

    def look(self, args: tuple[Any, ...], anew: bool) -> None:
        """Without function events: what the arguments of a call are before it. `anew`:
        known ones too, which may have been changed."""
        seen = self.seen
        for arg in args:
            kind = type(arg)
            if kind is _TENSOR and not _MODES():
                found = seen.get(id(arg))
                known = found is not None and found() is arg
                if not known or anew and self.changed(arg):
                    self._define_outside(arg)
            elif kind not in PLAIN:
                freeze(arg, self.reference)

    def changed(self, tensor: torch.Tensor) -> bool:
        """Whether a plain tensor that is known has another form since."""
        _, shape, dtype, device = self.forms[id(tensor)]
        return (
            tensor.shape != shape
            or tensor.dtype is not dtype
            or tensor.device != device
        )

    def _define_outside(self, tensor: torch.Tensor) -> None:
        grad_fn = grad_fn_of(tensor)
        if grad_fn is None:
            origin = _OUTSIDE[tensor.requires_grad]
        else:
            name = grad_fn.name()
            origin = self._origins.get(name) or Origin("unseen", name, True)
            self._origins[name] = origin
        self._events += (DEFINE, *self.fresh(tensor), origin)

    def fresh(self, tensor: torch.Tensor) -> Definition:
        """A plain tensor, without function events, as a new one."""
        key, found = id(tensor), weakref.ref(tensor)
        try:
            shape: Any = tensor.shape
        except RuntimeError:  # a nested (ragged) tensor has no one shape
            shape = ()
        device = _CPU if tensor.is_cpu else tensor.device
        form = self.forms[key] = (found, shape, tensor.dtype, device)
        self.seen[key] = found
        return form

    def met(self, tensor: torch.Tensor) -> Reference:
        """As `reference`, where a shape that was changed since is no news."""
        known = self.seen.get(id(tensor))
        if known is not None and known() is tensor:
            return known
        return self.reference(tensor)

    def own(self, tensor: torch.Tensor, site: Site, name: str) -> Reference:
        """The reference of a tensor that a module owns, by that name."""
        owned = self._owned.get(id(tensor))
        if owned is None or owned() is not tensor:
            owned = self._owned[id(tensor)] = through_module(site.module, name)
        return self.reference(tensor, owned)

    def define_own(self, sites: Iterable[Site]) -> None:
        """The parameters and buffers of modules; some 0.8 microseconds each. What they
        are called is asked at the end."""
        with DISABLED():
            for site in sites:
                module = site.module()
                if module is None:
                    continue
                for register in (
                    torch_internals.parameters_of(module),
                    torch_internals.buffers_of(module),
                ):
                    if register and may_be_kept(register):
                        self._define_kept(register, site.owned)
                    elif register:
                        for name, one in register.items():
                            if one is not None and not is_lazy(one):
                                self.own(one, site, name)

    def _define_kept(self, register: dict[str, Any], kept: list[Owned[Any]]) -> None:
        seen, owned, events = self.seen, self._owned, self._events
        look_up = register.get
        for name, one in register.items():
            if one is None:
                continue
            key = id(one)
            if key in seen:
                known = seen[key]
                if type(known) is Owned and known() is one:
                    continue
            found = seen[key] = owned[key] = Owned(look_up, name)
            kept.append(found)
            device = _CPU if one.is_cpu else one.device
            origin = _OUTSIDE[one.requires_grad]
            events += (DEFINE, found, one.shape, one.dtype, device, origin)

    def define(self, tensor: torch.Tensor) -> Definition:
        """A new version of a tensor, which a call has made or changed."""
        with DISABLED():
            return self._know(tensor, (self._reference_to(tensor), *form_of(tensor)))

    def _reference_to(self, tensor: torch.Tensor) -> Reference:
        owned = self._owned.get(id(tensor))
        if owned is not None and owned() is tensor:
            return owned
        return weakref.ref(tensor)

    def _know(self, tensor: torch.Tensor, definition: Definition) -> Definition:
        if not self.functions:
            self.forms[id(tensor)] = definition
        self.seen[id(tensor)] = definition[0]  # last: another thread may look
        return definition

    def forget(self, tensor: torch.Tensor) -> None:
        """A tensor is known no longer, nor referred to weakly by any event."""
        found = self.seen.pop(id(tensor), None)
        if isinstance(found, weakref.ref) and found() is tensor:
            gone = Owned(nothing)
            for events in (self._events, self.aside):
                for at, one in enumerate(events):  # another thread may add some
                    events[at] = _replaced(one, found, gone)
            for at, one in enumerate(list(self._outside)):
                if one is found:  # an equal one would compare the tensors
                    self._outside[at] = gone
            for known in self.beside:
                known.pop(id(found), None)

    def known(self) -> dict[int, Reference]:
        """`id(tensor)` to reference, of the tensors that were seen and still exist."""
        return {key: ref for key, ref in list(self.seen.items()) if ref() is not None}

    def forget_dead(self) -> dict[int, Reference]:
        """As `known`; the tensors that no longer exist are forgotten."""
        for key in [key for key, ref in list(self.seen.items()) if ref() is None]:
            del self.seen[key]
            self.forms.pop(key, None)
            self._owned.pop(key, None)
        return self.known()


def _replaced(frozen: Any, old: Reference, new: Reference) -> Any:
    if frozen is old:
        return new
    if type(frozen) is tuple:
        return tuple([new if one is old else one for one in frozen])
    if type(frozen) is dict:
        return {key: _replaced(one, old, new) for key, one in frozen.items()}
    if type(frozen) is Nested:
        frozen.values[:] = [_replaced(one, old, new) for one in frozen.values]
    return frozen
