"""How many parameters a module has, itself and with all below it."""

from __future__ import annotations

from collections.abc import Iterable

from shapetrace.records import Recording, TensorRef


class ParameterCounter:
    """Parameters of a module and all below it; a shared one counts once."""

    def __init__(self, rec: Recording) -> None:
        self._origins = rec.origins
        self._own: dict[int, int] = {}
        self._below: dict[str, dict[int, int]] = {}
        self._seen: set[str] = set()
        roots = {root for root in rec.roots if root}
        # Longer names first: a module's children are complete before it is read.
        by_depth = sorted(rec.modules, key=lambda name: -name.count("."))
        for name in by_depth:
            own = {p.id: elements(p) for p in rec.modules[name].parameters}
            self._own.update(own)
            self._below.setdefault(name, {}).update(own)
            if not name or name in roots:
                continue
            above = _module_above(name, rec.modules)
            if above is not None:
                self._below.setdefault(above, {}).update(self._below[name])

    def count(self, names: tuple[str, ...]) -> tuple[int | None, bool]:
        """The count for these modules together, and whether an earlier row has it."""
        together: dict[int, int] = {}
        known = [name for name in names if name in self._below]
        for name in known:
            together.update(self._below[name])
        again = bool(together) and all(name in self._seen for name in known)
        self._seen.update(known)
        return (sum(together.values()) if known else None), again

    @property
    def all(self) -> int:
        """Every parameter of the traced modules."""
        return sum(self._own.values())

    @property
    def frozen(self) -> int:
        """Those of them that take no gradient."""
        return sum(
            count for one, count in self._own.items() if not self._takes_grad(one)
        )

    def trainable(self, names: tuple[str, ...]) -> set[bool]:
        """Whether the parameters of these modules take gradients: empty without any,
        both where only some do."""
        known = [one for name in names for one in self._below.get(name, ())]
        return {self._takes_grad(one) for one in known}

    def _takes_grad(self, parameter: int) -> bool:
        origin = self._origins.get(parameter)
        return origin is None or origin.requires_grad


def _module_above(name: str, modules: Iterable[str]) -> str | None:
    above = name
    while above:
        above = above.rpartition(".")[0]
        if above in modules:
            return above
    return None


def elements(tensor: TensorRef) -> int:
    count = 1
    for size in tensor.shape:
        count *= size
    return count


def bytes_of(tensors: Iterable[TensorRef]) -> int:
    """The bytes of tensors, each once however often it is named."""
    sizes = {one.id: elements(one) * one.dtype.itemsize for one in tensors}
    return sum(sizes.values())
