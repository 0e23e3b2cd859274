"""A call's arguments by the names of the function's parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures.answer import NoSuchDim, Unknown

Shape = tuple[int, ...]

#: other names under which torch takes the same argument
ALIASES = {
    "dim": ("axis", "dims"),
    "dims": ("dim", "axis"),
    "keepdim": ("keepdims",),
    "input": ("self", "x", "x1", "a", "tensor"),
    "other": ("x2", "mat2", "vec2", "tensor2", "b"),
    "size": ("shape",),
    "shape": ("size",),
    "p": ("ord",),
}


class Operand(NamedTuple):
    """A tensor argument: its position in `FunctionCall.inputs` and its shape."""

    pos: int
    shape: Shape
    ref: TensorRef


class Bound:
    """One call seen through a parameter list.

    `shapes` are those of `call.inputs`, or others that a prediction asks about;
    `inplace` says that the name ended in an underscore.
    """

    __slots__ = ("call", "shapes", "index", "name", "inplace", "_places")

    def __init__(
        self,
        call: FunctionCall,
        shapes: tuple[Shape, ...],
        index: dict[str, int],
        name: str,
        inplace: bool = False,
    ) -> None:
        self.call = call
        self.shapes = shapes
        self.index = index
        self.name = name
        self.inplace = inplace
        self._places: dict[str, int] | None = None

    def value(self, name: str, default: Any = None) -> Any:
        """The argument, or `default` where it is absent or None."""
        place = self.index.get(name)
        args = self.call.args
        if place is not None and place < len(args):
            found = args[place]
            return default if found is None else found
        kwargs = self.call.kwargs
        if kwargs:
            found = kwargs.get(name)
            if found is not None:
                return found
            for alias in ALIASES.get(name, ()):
                if alias not in self.index and kwargs.get(alias) is not None:
                    return kwargs[alias]
        return default

    def operand(self, ref: TensorRef) -> Operand:
        """Where in the inputs a tensor argument stands."""
        if self._places is None:  # a cat may have thousands
            inputs = enumerate(self.call.inputs)
            self._places = {known.path: pos for pos, known in inputs}
        pos = self._places.get(ref.path)
        if pos is None:
            raise Unknown
        return Operand(pos, self.shapes[pos], self.call.inputs[pos])

    def tensor(self, name: str) -> Operand | None:
        """The tensor argument of that name; None where it is no tensor."""
        found = self.value(name)
        return self.operand(found) if isinstance(found, TensorRef) else None

    def need(self, name: str, rank: int = 0) -> Operand:
        """The tensor argument of that name; Unknown where it is no tensor, or has not
        even so many dimensions."""
        found = self.tensor(name)
        if found is None or len(found.shape) < rank:
            raise Unknown
        return found

    def first(self) -> Operand:
        """The function's first tensor."""
        if not self.call.inputs:
            raise Unknown
        return Operand(0, self.shapes[0], self.call.inputs[0])

    def integer(self, name: str, default: int | None = None) -> int:
        """An int argument; Unknown where it is something else."""
        found = self.value(name, default)
        if not isinstance(found, int):
            raise Unknown
        return found

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean argument."""
        return bool(self.value(name, default))

    def ints(self, name: str) -> list[int]:
        """An int or a list of ints given as one argument or as many.

        Unknown where it is absent or holds anything but ints.
        """
        found: Any = self.rest(name)
        if not found and self.value(name) is None:
            raise Unknown
        if not all(isinstance(v, int) for v in found):
            raise Unknown
        return list(found)

    def rest(self, name: str) -> tuple[Any, ...]:
        """The arguments from that parameter on: `view(2, 3)` and `view((2, 3))`."""
        found: Any = self.call.args[self.index[name] :]
        if not found:
            found = self.value(name, ())
        elif len(found) == 1:
            found = found[0]
        return tuple(found) if isinstance(found, (tuple, list)) else (found,)

    def dims(self, name: str, rank: int) -> list[int] | None:
        """The dimensions named by an int or list of ints, from 0; None: none given."""
        found = self.value(name)
        if found is None or found == () or found == []:
            return None
        many = found if isinstance(found, (tuple, list)) else (found,)
        span = max(rank, 1)
        for dim in many:
            if not isinstance(dim, int):
                raise Unknown
            if not -span <= dim < span:
                raise NoSuchDim(dim, rank)
        return [dim % span for dim in many]

    def pair(self, name: str, i: int, default: int) -> int:
        """Entry `i` of an argument that is an int or a list of them."""
        found = self.value(name, default)
        if isinstance(found, (tuple, list)):
            if not found:
                return default
            found = found[i] if len(found) > i else found[0]
        if not isinstance(found, int):
            raise Unknown
        return found
