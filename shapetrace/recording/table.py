"""Which modules belong to a trace, told by their identity, and what they are called."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from types import CodeType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.owned import Owned, let_go
from shapetrace.source.place import INTERNAL

if TYPE_CHECKING:
    from shapetrace.recording.snapshot import SeenModule

#: torch's own layers, and the files of those that take a function of the user's
_LAYERS = "torch.nn.modules."
_CALLING = {"torch.nn.modules.transformer", "torch.nn.modules.loss"}
_NO_HOOKS: dict[Any, Any] = {}
#: so many are looked through: one may stand around itself
_DECORATORS = 20
_HOOKS_OF = torch_internals.hooks_of


class ModuleReference(weakref.ref[nn.Module]):
    """A weak reference that knows the `id` of its module."""

    __slots__ = ("key",)
    key: int


class _Kind:
    """What a class of modules tells of each of them."""

    def __init__(self, kind: type[nn.Module]) -> None:
        self.code, self.internal = _code_of(getattr(kind, "forward", None))
        self.sealed = (
            self.internal
            and kind.__module__.startswith(_LAYERS)
            and kind.__module__ not in _CALLING
        )


def _code_of(forward: Any) -> tuple[CodeType | None, bool]:
    """The code of a forward, and whether that is torch's own. Where decorators of the
    user's stand around one of the user's, the code is that of the innermost, in which
    calls are made; below those of torch's, such as torch.compile's, each is looked at.
    """
    function = getattr(forward, "__func__", forward)
    code = getattr(function, "__code__", None)
    internal = code is not None and INTERNAL[code.co_filename]
    for _ in range(_DECORATORS):
        function = getattr(function, "__wrapped__", None)
        inner = getattr(function, "__code__", None)
        if internal or inner is None or INTERNAL[inner.co_filename]:
            break
        code = inner
    return code, internal


class Site:
    """One module of the trace, which is not kept alive: its name and type, the code of
    its forward (None: not Python), whether that is torch's own, and the module's own
    registers of hooks, which may change what its forward and its caller get."""

    __slots__ = (
        *("key", "name", "module", "kind", "code", "internal", "sealed"),
        *("met", "pre_hooked", "pre_hooks", "forward_hooks"),
        *("backward_hooks", "backward_pre_hooks", "owned"),
    )
    pre_hooks: dict[Any, Any]
    forward_hooks: dict[Any, Any]
    backward_hooks: dict[Any, Any]
    backward_pre_hooks: dict[Any, Any]

    def __init__(
        self, name: str, module: nn.Module, found: ModuleReference, kind: _Kind
    ) -> None:
        self.key = found.key
        self.name = name
        self.module = found
        self.kind = type(module)
        #: references to its tensors that would keep them alive without it
        self.owned: list[Owned[Any]] = []
        #: what was seen of it when it was met, where the trace was not given it
        self.met: SeenModule | None = None
        #: whether hooks of the user's may have made what its forward was given
        self.pre_hooked = False
        self.code = kind.code
        self.internal = kind.internal
        #: whether it is a layer of torch's own, which gives no tensor another shape in
        #: place
        self.sealed = kind.sealed
        if "forward" in vars(module):
            self.sealed = False
            self.code, self.internal = _code_of(module.forward)
        (
            self.pre_hooks,
            self.forward_hooks,
            self.backward_hooks,
            self.backward_pre_hooks,
        ) = _HOOKS_OF(module)

    def release(self) -> None:
        """Let go of the hooks, which are the user's."""
        self.pre_hooks = self.forward_hooks = _NO_HOOKS
        self.backward_hooks = self.backward_pre_hooks = _NO_HOOKS


class Table:
    """`sites` by the `id` of the module, while it exists; `entered` are all there were.

    With `everything` each module that is called outside of all others becomes a root
    of its own, named by its class.
    """

    def __init__(self, fault: Callable[[BaseException], None]) -> None:
        self._fault = fault
        self.everything = False
        self.sites: dict[int, Site] = {}
        self.entered: list[Site] = []
        self._strangers: dict[tuple[int, int], ModuleReference] = {}
        self._kinds: dict[type[nn.Module], _Kind] = {}
        self._counts: dict[str, count[int]] = {}

    def enter(self, prefix: str, root: nn.Module) -> Site | None:
        """Everything below a module belongs to the trace, under the names that
        `named_modules()` gives it. A module that is there already keeps its name."""
        sites, add, forget = self.sites, self._add, self._forget
        for name, module in _tree(prefix, root):
            if id(module) not in sites:
                add(name, module, forget)
        return self.sites.get(id(root))

    def meet(self, module: nn.Module, open_sites: Sequence[Site]) -> Site | None:
        """The site of a module that is called and was not there at entry; None for one
        that does not belong to the trace. It belongs if it stands below a module whose
        call is open, or is the copy of one that nn.DataParallel makes."""
        key = id(module)
        if torch_internals.is_replica(module):
            return self._enter_replica(module)
        above = open_sites[-1].key if open_sites else 0
        if (key, above) in self._strangers:
            return None
        for site in reversed(open_sites):
            parent = site.module()
            for name, found in _tree(site.name, parent) if parent is not None else ():
                if found is module:
                    return self.enter(name, module)
        if self.everything:
            kind = type(module).__name__
            number = next(self._counts.setdefault(kind, count(1)))
            return self.enter(kind if number == 1 else f"{kind}_{number}", module)
        stranger = ModuleReference(module, self._forget_stranger)
        stranger.key = key
        self._strangers[key, above] = stranger
        return None

    def living(self) -> Iterator[tuple[Site, nn.Module]]:
        """The modules that still exist."""
        for site in list(self.sites.values()):
            module = site.module()
            if module is not None:
                yield site, module

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Their own parameters and buffers, by qualified name."""
        for site, module in self.living():
            parameters = torch_internals.parameters_of(module)
            for own in (parameters, torch_internals.buffers_of(module)):
                for key, tensor in own.items():
                    if tensor is not None:
                        yield f"{site.name}.{key}" if site.name else key, tensor

    def release(self) -> None:
        """Let go of what is the user's."""
        for site in self.entered:
            site.release()
        self._strangers.clear()

    def _add(
        self, name: str, module: nn.Module, forget: Callable[[ModuleReference], None]
    ) -> Site:
        kind = self._kinds.get(type(module))
        if kind is None:
            kind = self._kinds[type(module)] = _Kind(type(module))
        found = ModuleReference(module, forget)
        found.key = id(module)
        site = Site(name, module, found, kind)
        self.sites[site.key] = site
        self.entered.append(site)
        return site

    def _enter_replica(self, module: nn.Module) -> Site | None:
        """A replica has the `__dict__` of its original, and so its registers."""
        for site in self.entered:
            if site.forward_hooks is torch_internals.hooks_of(module)[1]:
                return self._add(site.name, module, self._forget)
        return None

    def _forget(self, reference: ModuleReference) -> None:
        try:
            site = self.sites.get(reference.key)
            if site is not None and site.module is reference:
                del self.sites[reference.key]
                site.release()
                for owned in site.owned:
                    let_go(owned)
        except Exception as fault:  # Python would tell it as nobody's
            self._fault(fault)

    def _forget_stranger(self, reference: ModuleReference) -> None:
        try:
            for key in [key for key in self._strangers if key[0] == reference.key]:
                self._strangers.pop(key, None)
        except Exception as fault:
            self._fault(fault)


def _tree(prefix: str, root: nn.Module) -> list[tuple[str, nn.Module]]:
    """As `named_modules(prefix=prefix)`, also where a module has no hash."""
    found, seen, waiting = [], set(), [(prefix, root)]
    while waiting:
        name, module = waiting.pop()
        key = id(module)
        if key in seen:
            continue
        seen.add(key)
        found.append((name, module))
        children = torch_internals.children_of(module)
        if children:
            prefix = f"{name}." if name else ""
            for part, child in reversed(list(children.items())):
                if child is not None:
                    waiting.append((prefix + part, child))
    return found
