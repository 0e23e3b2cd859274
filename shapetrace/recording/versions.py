"""The versions of the tensors that events name, and what is in their arguments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

from shapetrace.recording.tensors import (
    PLAIN,
    Nested,
    Reference,
    address,
    is_reference,
)
from shapetrace.records import Opaque, Origin, TensorRef

_NO_KWARGS: dict[str, Any] = {}
_ARGS = tuple(f"args[{i}]" for i in range(16))


class Versions:
    """Which version of a tensor its weak reference stands for, as event by event is
    read, and frozen arguments as data in which versions stand for tensors.

    `order` is the number of the event that is read; `origins` tells of each version
    that no call made where it came from.
    """

    def __init__(self) -> None:
        self.order = 0
        #: the numbers of the events read so far
        self._numbers = [0]
        self.origins: dict[int, Origin] = {}
        #: what order the entry of the module call had whose inputs are read just now
        self._entered: int | None = None
        self._newest: dict[int, TensorRef] = {}
        self._defined_at: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._earlier: dict[int, TensorRef] = {}
        self._last_id = 0
        # what is equal is kept once, as keyword arguments are: a call must not cost
        # more than a kilobyte
        self._shapes: dict[tuple[int, ...], tuple[int, ...]] = {}
        #: by path and id, each in a tuple, which most calls have for inputs or outputs
        self._refs: dict[str, dict[int, tuple[TensorRef]]] = {}
        self._plain: dict[tuple[Any, ...], dict[str, Any]] = {}

    def forget(self, known: Collection[Reference]) -> None:
        """Keep the newest versions of these tensors, and nothing else."""
        kept = {id(ref): self._newest.get(id(ref)) for ref in known}
        self._newest = {key: ref for key, ref in kept.items() if ref is not None}
        del self._numbers[1:]
        tables = (self._plain, self._shapes, self._defined_at, self._earlier)
        for table in (*tables, self._refs, self._first):
            table.clear()

    def count(self) -> None:
        """The next event is read."""
        self.order = len(self._numbers)
        self._numbers.append(self.order)

    def number(self, value: int) -> int:
        """The object that stands for that number elsewhere too."""
        return self._numbers[value] if value < len(self._numbers) else value

    # -- versions -----------------------------------------------------------------

    def new(
        self, ref: Reference, shape: Any, dtype: Any, device: Any, path: str = ""
    ) -> tuple[TensorRef]:
        """The next version of a tensor, found at that place first."""
        self._last_id += 1
        shape = tuple(shape)
        try:
            shape = self._shapes.setdefault(shape, shape)
        except TypeError:  # a size that is a symbol, as in an export, is no number
            shape = ()
        made = TensorRef(path, self.number(self._last_id), shape, dtype, device)
        key = id(ref)
        before = self._newest.get(key)
        if before is not None:
            self._earlier[made.id] = before
        self._newest[key] = made
        self._first.setdefault(key, made.id)
        self._defined_at[made.id] = self.order
        alone = self._refs.setdefault(path, {})[made.id] = (made,)
        return alone

    def renew(self, frozen: Any, order: int) -> None:
        """Without function events the module call is what made its outputs, also
        where it handed an input on or changed it in place. `order` is its entry's."""
        if is_reference(frozen):
            old = self._newest.get(id(frozen))
            if old is not None and self._defined_at[old.id] < order:
                self.new(frozen, old.shape, old.dtype, old.device)
        elif isinstance(frozen, Nested):
            for part in frozen.values:
                self.renew(part, order)

    def newest(self, reference: Reference | None) -> TensorRef | None:
        """The newest version of a tensor, given its reference."""
        found = self._newest.get(id(reference)) if reference is not None else None
        return None if found is None else replace(found, path="")

    def defined_after(self, ref: TensorRef, order: int) -> bool:
        return self._defined_at[ref.id] > order

    def name(
        self,
        reference: Reference,
        kind: Literal["parameter", "buffer"],
        name: str,
        called: int,
    ) -> None:
        """Parameters were used before it was asked what they are called. What fills
        one in place, or steps it, makes no other tensor of it. A buffer is followed
        where something is put into it after `called`, the order of its module's first
        call: before, it was being made."""
        first = self._first.get(id(reference), 0)
        known = self.origins.get(first)
        if known is not None and known.kind not in ("outside", "unseen"):
            return
        version = self._newest.get(id(reference))
        while version is not None:
            from_before = version.id == first and known is not None
            if (
                kind == "parameter"
                or from_before
                or self._defined_at[version.id] < called
            ):
                grad = known.requires_grad if known is not None else False
                self.origins[version.id] = Origin(kind, name, grad)
            version = self._earlier.get(version.id)

    def own(self, tensors: Sequence[tuple[str, Reference]]) -> tuple[TensorRef, ...]:
        """A module's own tensors that were met, by the names of its attributes."""
        found = []
        for key, reference in tensors:
            version = self._newest.get(id(reference))
            if version is not None:
                found.append(replace(version, path=key))
        return tuple(found)

    # -- arguments ----------------------------------------------------------------

    def inputs(
        self, args: list[Any], kwargs: dict[str, Any] | None
    ) -> tuple[tuple[Any, ...], dict[str, Any], tuple[TensorRef, ...]]:
        """Arguments as data, named ones as data, and the tensors among them."""
        found: list[TensorRef] = []
        thawed, named = self._arguments(args, kwargs, found)
        inputs = self._together(found)
        return inputs if thawed == inputs else thawed, named, inputs

    def inputs_at_entry(
        self, args: list[Any], kwargs: dict[str, Any] | None, order: int
    ) -> tuple[TensorRef, ...]:
        """The inputs of a module call, which are noted at its end, as they were when
        it was entered; `order` is that of its entry."""
        found: list[TensorRef] = []
        self._entered = order
        self._arguments(args, kwargs, found)
        self._entered = None
        return self._together(found)

    def _arguments(
        self, args: list[Any], kwargs: dict[str, Any] | None, found: list[TensorRef]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        thaw = self._thaw
        thawed = []
        for i, arg in enumerate(args):
            if type(arg) in PLAIN:
                thawed.append(arg)
            else:
                path = _ARGS[i] if i < len(_ARGS) else f"args[{i}]"
                thawed.append(thaw(arg, path, found))
        named = self._named(kwargs, found) if kwargs else _NO_KWARGS
        return tuple(thawed), named

    def _named(self, kwargs: dict[str, Any], found: list[TensorRef]) -> dict[str, Any]:
        key = tuple((name, type(arg), arg) for name, arg in kwargs.items())
        if all(kind in PLAIN for _, kind, _ in key):
            return self._plain.setdefault(key, kwargs)
        return {
            name: self._thaw(arg, f"kwargs[{name!r}]", found)
            for name, arg in kwargs.items()
        }

    def alone(self, version: TensorRef, path: str) -> tuple[TensorRef]:
        """A version of a tensor, found at a place in the arguments or outputs, and
        nothing else there."""
        refs = self._refs.setdefault(path, {})
        found = refs.get(version.id)
        if found is None:
            ref = TensorRef(
                path, version.id, version.shape, version.dtype, version.device
            )
            found = refs[version.id] = (ref,)
        return found

    def flat(self, frozen: Any, path: str) -> tuple[TensorRef, ...]:
        """The tensors of a frozen value."""
        found: list[TensorRef] = []
        self._thaw(frozen, path, found)
        return self._together(found)

    def _together(self, found: list[TensorRef]) -> tuple[TensorRef, ...]:
        if len(found) == 1:
            return self.alone(found[0], found[0].path)
        return tuple(found)

    def _thaw(self, frozen: Any, path: str, found: list[TensorRef]) -> Any:
        """Frozen data as tuples, lists and dicts; its tensors are added to `found`."""
        if type(frozen) in PLAIN:
            return frozen
        if type(frozen) is tuple:
            ref, shape, dtype, device = frozen
            frozen = self.new(ref, shape, dtype, device, path)[0]
        elif is_reference(frozen):
            frozen = self._version(frozen)
        if isinstance(frozen, TensorRef):
            ref = self.alone(frozen, path)[0]
            found.append(ref)
            return ref
        if isinstance(frozen, Nested):
            parts = [
                self._thaw(part, address(path, frozen.style, key), found)
                for key, part in zip(frozen.keys, frozen.values, strict=True)
            ]
            if frozen.kind == "slice":
                return slice(*parts)
            if frozen.kind == "list":
                return parts
            if frozen.keys != tuple(range(len(parts))):
                return dict(zip(frozen.keys, parts, strict=True))
            return tuple(parts)
        return frozen

    def _version(self, reference: Reference) -> TensorRef | Opaque:
        """The newest version of a tensor. For the inputs of a module call the newest
        that was there when it was entered, or the first of one not met before."""
        found = self._newest.get(id(reference))
        if found is None:
            return Opaque("Tensor")
        if self._entered is not None:
            while self._defined_at[found.id] > self._entered:
                before = self._earlier.get(found.id)
                if before is None:
                    break
                found = before
        return found
