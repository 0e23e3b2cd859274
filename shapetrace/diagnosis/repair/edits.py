"""Changes to one tensor, as the text to write and as what they do to its shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

import shapetrace.torch_internals as torch_internals
from shapetrace.records import TensorRef

#: what torch and Python raise for an edit that cannot be made of a tensor of such a
#: shape: `permute` of a matrix, a view of another number of elements
NO_SUCH_SHAPE = (RuntimeError, IndexError, TypeError, ValueError)

#: what is done to one tensor: `("unsqueeze", 1)`, `("permute", (0, 2, 1))`
Step = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Edit:
    """`text` holds `{}` for the expression; `act` does the same to a tensor of the meta
    device, or raises where it cannot be done."""

    text: str
    act: Callable[[torch.Tensor], torch.Tensor]
    words: str = ""
    device: torch.device | None = None
    #: the dimension of which a part is left out
    cuts: int | None = None
    #: what is lost with it, in words
    loses: str = ""
    #: the dimension whose size alone it changes
    sized: int | None = None
    #: the dimension that it does away with
    removes: int | None = None
    #: the edit that brings the layout back
    back: Edit | None = None
    #: whether values alone change, which no trial shows
    values: bool = False
    #: the index that rows are picked by
    index: str = ""
    #: how many such edits fit alike, which differ in what is trained
    among: int = 1
    #: the methods of the tensor that it calls, where it is no more than that
    steps: tuple[Step, ...] = ()

    def apply(self, ref: TensorRef) -> TensorRef:
        """The tensor afterwards. Only views and fresh tensors are made there: both
        come without the second that torch needs to load its meta kernels."""
        with torch_internals.unseen_by_modes(), torch.no_grad():
            bare = torch.empty(ref.shape, dtype=ref.dtype, device="meta")
            made = self.act(bare)
        device = self.device or ref.device
        return TensorRef(ref.path, ref.id, tuple(made.shape), made.dtype, device)


def _like(
    t: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype | None = None
) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype or t.dtype, device="meta")


def squeezed(t: torch.Tensor, dim: int) -> torch.Tensor:
    if t.shape[dim] != 1:
        raise ValueError(dim)
    return t.squeeze(dim)


def squeeze(dim: int) -> Edit:
    return Edit(
        f"{{}}.squeeze({dim})",
        lambda t: squeezed(t, dim),
        f"drops the dimension of size 1 (dim {dim})",
    )


def unsqueeze(dim: int, words: str = "") -> Edit:
    return Edit(
        f"{{}}.unsqueeze({dim})",
        lambda t: t.unsqueeze(dim),
        words or f"adds a dimension of size 1 (dim {dim})",
    )


def trailing(count: int) -> Edit:
    """`x[:, None, None]`: dimensions of size 1 behind the others."""
    inside = ", ".join(["..."] + ["None"] * count)

    def act(t: torch.Tensor) -> torch.Tensor:
        return t[(..., *(None,) * count)]

    return Edit(f"{{}}[{inside}]", act, "adds dimensions of size 1 at the end")


def spread(places: tuple[int, ...], rank: int) -> Edit:
    """`mask[:, None, None, :]`: dimensions of size 1 between the others."""
    inside = [":" if at in places else "None" for at in range(rank)]
    index = tuple(slice(None) if at in places else None for at in range(rank))
    words = "adds dimensions of size 1 where it has none"
    return Edit(f"{{}}[{', '.join(inside)}]", lambda t: t[index], words)


def picked(index: str, rows: int, among: int) -> Edit:
    """`x[index]`: the rows that an index of `rows` entries names, one of several."""
    return Edit(
        f"{{}}[{index}]",
        lambda t: _like(t, (rows, *t.shape[1:])),
        f"picks a row for each of the {rows} entries of `{index}`",
        index=index,
        among=among,
    )


def interleaved(times: int, dim: int, mirrors: bool = False) -> Edit:
    """Every entry several times; `mirrors`: the other side was repeated so, and the
    samples still belong together."""

    def act(t: torch.Tensor) -> torch.Tensor:
        shape = list(t.shape)
        shape[dim] *= times
        return _like(t, tuple(shape))

    text = f"{{}}.repeat_interleave({times}, dim={dim})"
    words = f"repeats it {times} times" + ", as the other side was" * mirrors
    entries = f"entries of dim {dim}" if dim else "samples"
    loses = "" if mirrors else f"which {entries} belong together"
    return Edit(text, act, words, sized=dim, loses=loses)


def expand_batch(size: int, rank: int, text: str = "") -> Edit:
    """The same tensor for every sample of a batch, whose size the code calls `text`."""
    keep = ", -1" * rank
    return Edit(
        f"{{}}.expand({text or size}{keep})",
        lambda t: t.expand(size, *(-1,) * rank),
        f"is the same for all {size} samples",
    )


def repeated_along(dim: int, size: int, rank: int, text: str = "") -> Edit:
    """The same for every place of a dimension that the other side has, of which the
    code calls the size `text`."""
    sizes = [-1] * (rank + 1)
    sizes[dim] = size
    told = ", ".join((text or str(size)) if one == size else "-1" for one in sizes)
    return Edit(
        f"{{}}.unsqueeze({dim}).expand({told})",
        lambda t: t.unsqueeze(dim).expand(*sizes),
        f"is the same for all {size} places of dim {dim}",
    )


def permute(*dims: int) -> Edit:
    back = tuple(dims.index(dim) for dim in range(len(dims)))
    return replace(_permute(dims), back=_permute(back))


def _permute(dims: tuple[int, ...]) -> Edit:
    order = ", ".join(str(dim) for dim in dims)
    return Edit(
        f"{{}}.permute({order})", lambda t: t.permute(dims), "reorders the dimensions"
    )


def classes_second(rank: int) -> Edit:
    """The last dimension becomes the second, as losses and convolutions want it."""
    return permute(0, rank - 1, *range(1, rank - 1))


def transpose(a: int, b: int) -> Edit:
    edit = Edit(
        f"{{}}.transpose({a}, {b})",
        lambda t: t.transpose(a, b),
        f"swaps the dimensions {a} and {b}",
    )
    return replace(edit, back=edit)


def flatten(start: int | None = None, end: int = -1) -> Edit:
    if start is None:
        return Edit("{}.flatten()", lambda t: t.flatten(), "makes it one dimension")
    inside = str(start) if end == -1 else f"{start}, {end}"
    return Edit(
        f"{{}}.flatten({inside})",
        lambda t: t.flatten(start, end),
        f"joins the dimensions {start} to {end}",
    )


def cut(dim: int, size: int, rank: int) -> Edit:
    """The first `size` of one dimension."""
    inside = ", ".join([":"] * dim + [f":{size}"])
    if dim == rank - 1 and rank > 2:
        inside = f"..., :{size}"

    def act(t: torch.Tensor) -> torch.Tensor:
        if t.shape[dim] < size:
            raise ValueError(size)
        return t.narrow(dim, 0, size)

    words = f"keeps the first {size} of dim {dim}"
    loses = f"what lies behind the first {size} of dim {dim}"
    return Edit(f"{{}}[{inside}]", act, words, cuts=dim, loses=loses, sized=dim)


def expand_channels(channels: int, rank: int) -> Edit:
    """One channel as several: a gray image for a model of colour images."""
    sizes = [-1] * rank
    sizes[-3] = channels
    inside = ", ".join(str(size) for size in sizes)
    return Edit(
        f"{{}}.expand({inside})",
        lambda t: t.expand(sizes),
        f"repeats the one channel {channels} times",
    )


def mean_channels(rank: int) -> Edit:
    dim = rank - 3

    def act(t: torch.Tensor) -> torch.Tensor:
        shape = list(t.shape)
        shape[dim] = 1
        return _like(t, tuple(shape))

    return Edit(
        f"{{}}.mean({dim}, keepdim=True)", act, "makes one gray channel of the colours"
    )


def cast(dtype: torch.dtype) -> Edit:
    short = {
        torch.float32: "float",
        torch.float64: "double",
        torch.int64: "long",
        torch.float16: "half",
        torch.bfloat16: "bfloat16",
    }
    name = short.get(dtype)
    text = f"{{}}.{name}()" if name else f"{{}}.to({dtype})"
    return Edit(
        text,
        lambda t: _like(t, tuple(t.shape), dtype),
        f"casts it to {str(dtype).removeprefix('torch.')}",
    )


def argmax(dim: int = 1) -> Edit:
    def act(t: torch.Tensor) -> torch.Tensor:
        shape = list(t.shape)
        del shape[dim]
        return _like(t, tuple(shape), torch.int64)

    return Edit(f"{{}}.argmax({dim})", act, "makes class indices of one-hot rows")


def one_hot(
    classes: int, dtype: torch.dtype | None = None, rank: int = 1, among: int = 1
) -> Edit:
    """Class indices as rows of zeros with a one; of maps the classes come second."""
    rows = f"F.one_hot({{}}, {classes})"
    if rank > 1:
        rows += ".movedim(-1, 1)"
    return Edit(
        rows if dtype is None else cast(dtype).text.format(rows),
        lambda t: _like(t, (t.shape[0], classes, *t.shape[1:]), dtype),
        "makes rows of zeros with a one of class indices",
        among=among,
    )


def resize(shape: tuple[int, ...], old: tuple[int, ...]) -> Edit:
    """From one image size to another; a larger one loses nothing."""
    text = ", ".join(str(size) for size in shape)
    shrinks = any(new < before for new, before in zip(shape, old))

    def act(t: torch.Tensor) -> torch.Tensor:
        if t.dim() != 2 + len(shape):
            raise ValueError(shape)
        return _like(t, (*t.shape[:2], *shape))

    return Edit(
        f"F.interpolate({{}}, size=({text}))",
        act,
        f"resizes it to {'x'.join(str(size) for size in shape)}",
        loses="the resolution that it had" if shrinks else "",
    )


def pool() -> Edit:
    """Every map to its mean."""

    def act(t: torch.Tensor) -> torch.Tensor:
        if t.dim() != 4:
            raise ValueError(t.dim())
        return _like(t, tuple(t.shape[:2]))

    words = "averages every map to one number"
    return Edit("{}.mean((2, 3))", act, words, loses="where in a map it is")


def resized(sizes: Mapping[int, int]) -> Edit:
    """A tensor made with other sizes in some dimensions; no line says it."""

    def act(t: torch.Tensor) -> torch.Tensor:
        return _like(t, tuple(sizes.get(at, n) for at, n in enumerate(t.shape)))

    return Edit("", act, " and ".join(f"{n} in dim {dim}" for dim, n in sizes.items()))


def shaped(shape: tuple[int, ...]) -> Edit:
    """A tensor of that shape in its place."""
    return Edit("", lambda t: _like(t, shape), f"has shape {shape}")


def reduced(word: str, dim: int) -> Edit:
    """A dimension summed or averaged away."""

    def act(t: torch.Tensor) -> torch.Tensor:
        shape = list(t.shape)
        del shape[dim]
        return _like(t, tuple(shape))

    return Edit(f"{{}}.{word}({dim})", act, f"{word} over dim {dim}", removes=dim)


def selected(dim: int) -> Edit:
    """The last entry of one dimension."""
    inside = ", ".join([":"] * dim + ["-1"])
    return Edit(
        f"{{}}[{inside}]",
        lambda t: t.select(dim, -1),
        f"the last of dim {dim} alone",
        loses=f"all of dim {dim} but its last entry",
        removes=dim,
    )


def viewed(other: tuple[int, ...]) -> Edit:
    """The same elements in another tensor's shape: neighbouring dimensions joined."""
    inside = ", ".join(str(size) for size in (-1, *other[1:]))
    return Edit(f"{{}}.reshape({inside})", lambda t: t.reshape(other), "regroups it")


def cropped(height: int, width: int) -> Edit:
    return Edit(
        f"{{}}[:, :, :{height}, :{width}]",
        lambda t: t[:, :, :height, :width],
        f"crops it to {height}x{width}",
        loses="the rows and columns that are cut off",
    )


def shifted(dim: int, by: int) -> Edit:
    """What stands in front left out, where the other side goes without its end."""
    inside = ", ".join([":"] * dim + [f"{by}:"])
    words = f"leaves the first {by} of dim {dim} out" if by > 1 else ""
    return Edit(
        f"{{}}[{inside}]",
        lambda t: t.narrow(dim, by, t.shape[dim] - by),
        words or f"leaves the first of dim {dim} out: every step is given the next",
        sized=dim,
    )


def cut_front(dim: int, size: int) -> Edit:
    """The last `size` of one dimension: what stands in front is left out."""
    inside = ", ".join([":"] * dim + ["1:"])

    def act(t: torch.Tensor) -> torch.Tensor:
        if t.shape[dim] < size:
            raise ValueError(size)
        return t.narrow(dim, t.shape[dim] - size, size)

    return Edit(
        f"{{}}[{inside}]",
        act,
        f"leaves the first of dim {dim} out",
        cuts=dim,
        loses=f"the first of dim {dim}",
        sized=dim,
    )


def expanded(dim: int, size: int, rank: int) -> Edit:
    """A dimension of size 1 stretched."""
    sizes = [-1] * rank
    sizes[dim] = size
    inside = ", ".join(map(str, sizes))

    def act(t: torch.Tensor) -> torch.Tensor:
        if t.shape[dim] != 1:
            raise ValueError(dim)
        return t.expand(sizes)

    return Edit(f"{{}}.expand({inside})", act, f"repeats the one of dim {dim}")
