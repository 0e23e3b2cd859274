"""Resizing, padding, shuffling and unfolding of spatial dimensions."""

from __future__ import annotations

from math import prod
from typing import Any

from shapetrace.signatures.answer import (
    Answer,
    Dim,
    Unknown,
    all_same,
    joined,
    made,
    of,
    rank_conflict,
    same,
    wrap,
)
from shapetrace.signatures.binding import Bound, Operand
from shapetrace.signatures.match import match_best
from shapetrace.signatures.names import home_and_name
from shapetrace.signatures.registry import rule
from shapetrace.signatures.relation import Conflict, DimOrigin, Side
from shapetrace.signatures.table import signatures
from shapetrace.signatures.windows import resize


@rule(
    "interpolate upsample upsample_nearest upsample_bilinear", "input size scale_factor"
)
def interpolate(b: Bound) -> Answer:
    """Every dimension after batch and channels is resized."""
    op = b.need("input")
    if not 3 <= len(op.shape) <= 5:
        conflict = rank_conflict("input", op.pos, len(op.shape), 4, "3-D to 5-D")
        return Answer(conflicts=[conflict])
    wanted = b.value("size")
    if isinstance(wanted, (tuple, list)) and len(wanted) != len(op.shape) - 2:
        rank = len(wanted) + 2
        return Answer(conflicts=[rank_conflict("input", op.pos, len(op.shape), rank)])
    dims = all_same(op.pos, op.shape)
    for i, size in enumerate(op.shape[2:]):
        how, result, note = resize(b, i, size)
        if how == "argument":
            dims[2 + i] = made(how, result, note)
        elif result != size:
            dims[2 + i] = of(how, op.pos, 2 + i, result, note)
    return Answer([dims], {(op.pos, 0): "batch", (op.pos, 1): "channels"})


@rule("pad constant_pad_nd", "input pad")
def pad(b: Bound) -> Answer:
    """Pairs of paddings, the last dimension first."""
    op = b.need("input")
    pads = b.value("pad")
    if not isinstance(pads, (tuple, list)):
        raise Unknown
    dims = all_same(op.pos, op.shape)
    if len(pads) > 2 * len(dims):
        needed = len(pads) // 2
        conflict = rank_conflict("input", op.pos, len(dims), needed, "pad")
        return Answer(conflicts=[conflict])
    for i in range(len(pads) // 2):
        before, after = pads[2 * i], pads[2 * i + 1]
        d = len(dims) - 1 - i
        if not (isinstance(before, int) and isinstance(after, int)):
            dims[d] = of("window", op.pos, d, None, "padding")
        elif before or after:
            size = op.shape[d]
            note = f"{size} + {before} + {after}".replace("+ -", "- ")
            dims[d] = of("window", op.pos, d, size + before + after, note)
    return Answer([dims])


@rule("pixel_shuffle", "input upscale_factor")
def pixel_shuffle(b: Bound) -> Answer:
    """Channels become pixels."""
    op, r = b.need("input"), b.integer("upscale_factor")
    rank = len(op.shape)
    if rank < 3:
        return Answer(conflicts=[rank_conflict("input", op.pos, rank, 4, "3-D or 4-D")])
    channels = op.shape[-3]
    if channels % (r * r):
        left = Side(op.pos, rank - 3, channels, "channels")
        right = Side(None, None, r * r, "upscale_factor²")
        return Answer(conflicts=[Conflict("divisible", "channels", left, right)])
    dims = all_same(op.pos, op.shape)
    note = f"{channels} / {r * r}"
    dims[-3] = of("split", op.pos, rank - 3, channels // (r * r), note)
    for d in (rank - 2, rank - 1):
        dims[d] = of("repeat", op.pos, d, op.shape[d] * r, f"{op.shape[d]}·{r}")
    return Answer([dims])


@rule("pixel_unshuffle", "input downscale_factor")
def pixel_unshuffle(b: Bound) -> Answer:
    """Pixels become channels."""
    op, r = b.need("input"), b.integer("downscale_factor")
    rank = len(op.shape)
    if rank < 3:
        return Answer(conflicts=[rank_conflict("input", op.pos, rank, 4, "3-D or 4-D")])
    answer = Answer()
    dims = all_same(op.pos, op.shape)
    channels = op.shape[-3]
    dims[-3] = of("repeat", op.pos, rank - 3, channels * r * r, f"{channels}·{r * r}")
    for d, name in ((rank - 2, "height"), (rank - 1, "width")):
        if op.shape[d] % r:
            left = Side(op.pos, d, op.shape[d], name)
            right = Side(None, None, r, "downscale_factor")
            answer.conflicts.append(Conflict("divisible", name, left, right))
        dims[d] = of("split", op.pos, d, op.shape[d] // r, f"{op.shape[d]} / {r}")
    if not answer.conflicts:
        answer.outputs = [dims]
    return answer


@rule("channel_shuffle native_channel_shuffle", "input groups")
def channel_shuffle(b: Bound) -> Answer:
    """Channels change their order; the groups must divide them."""
    op, groups = b.need("input"), b.integer("groups")
    if len(op.shape) > 1 and op.shape[1] % groups:
        left = Side(op.pos, 1, op.shape[1], "channels")
        right = Side(None, None, groups, "groups")
        return Answer(conflicts=[Conflict("divisible", "channels", left, right)])
    return Answer([all_same(op.pos, op.shape)])


@rule("group_norm", "input num_groups weight bias")
def group_norm(b: Bound) -> Answer:
    """As its signature says; the groups must divide the channels."""
    answer = match_best(signatures("group_norm"), b)
    op, groups = b.need("input"), b.integer("num_groups")
    if len(op.shape) > 1 and op.shape[1] % groups:
        left = Side(op.pos, 1, op.shape[1], "num_channels")
        right = Side(None, None, groups, "num_groups")
        clash = Conflict("divisible", "num_channels", left, right)
        answer.conflicts.insert(0, clash)
    return answer


@rule("conv1d conv2d conv3d", "input weight bias stride padding dilation groups")
def convolution(b: Bound) -> Answer:
    """As its signature says; the groups must divide the output channels."""
    answer = match_best(signatures(b.name), b)
    weight, groups = b.need("weight"), b.integer("groups", 1)
    if weight.shape and weight.shape[0] % groups:
        left = Side(weight.pos, 0, weight.shape[0], "out_channels")
        right = Side(None, None, groups, "groups")
        clash = Conflict("divisible", "out_channels", left, right)
        answer.conflicts.append(clash)
    return answer


@rule("prelu", "input weight")
def prelu(b: Bound) -> Answer:
    """One slope, or one for each channel."""
    op, weight = b.need("input"), b.need("weight")
    slopes = prod(weight.shape)
    channels = op.shape[1] if len(op.shape) > 1 else 1
    if slopes not in (1, channels):
        left = Side(op.pos, min(1, len(op.shape) - 1), channels, "channels")
        right = Side(weight.pos, 0, slopes, "num_parameters")
        return Answer(conflicts=[Conflict("size", "channels", left, right)])
    roles = {}
    if slopes != 1:
        roles = {(op.pos, 1): "channels", (weight.pos, 0): "channels"}
    return Answer([all_same(op.pos, op.shape)], roles)


def _blocks(b: Bound, i: int, size: int) -> int:
    """How many positions a sliding block has along one dimension."""
    kernel = b.pair("kernel_size", i, 1)
    reach = b.pair("dilation", i, 1) * (kernel - 1) + 1
    pads = 2 * b.pair("padding", i, 0)
    return (size + pads - reach) // b.pair("stride", i, 1) + 1


@rule("unfold im2col", "input kernel_size dilation padding stride")
def unfold(b: Bound) -> Answer:
    """Sliding blocks: F.unfold of images; Tensor.unfold of one dimension."""
    if home_and_name(b.call.qualname)[0] == "torch.Tensor":
        return _unfold_dimension(b)
    op = b.need("input")
    rank = len(op.shape)
    if rank not in (3, 4):
        return Answer(conflicts=[rank_conflict("input", op.pos, rank, 4, "3-D or 4-D")])
    c = rank - 3
    area = b.pair("kernel_size", 0, 1) * b.pair("kernel_size", 1, 1)
    counts = [_blocks(b, i, op.shape[c + 1 + i]) for i in (0, 1)]
    channels = op.shape[c]
    dims = all_same(op.pos, op.shape)[:c]
    dims.append(of("repeat", op.pos, c, channels * area, f"{channels}·{area}"))
    sources = [(op.pos, c + 1), (op.pos, c + 2)]
    note = f"{counts[0]}·{counts[1]} blocks"
    dims.append(joined("window", sources, prod(counts), note))
    return Answer([dims])


@rule(
    "stft",
    "input n_fft hop_length win_length window center pad_mode normalized "
    "onesided return_complex",
)
def stft(b: Bound) -> Answer:
    """Frequencies, and as many frames as windows fit into the signal."""
    op = b.need("input")
    if len(op.shape) not in (1, 2):
        return Answer(conflicts=[rank_conflict("input", op.pos, len(op.shape), 2)])
    n_fft, last = b.integer("n_fft"), len(op.shape) - 1
    hop, center, onesided = (b.value(n) for n in ("hop_length", "center", "onesided"))
    hop = n_fft // 4 if hop is None else hop
    is_complex = b.call.inputs[op.pos].dtype.is_complex
    if not isinstance(hop, int) or hop < 1 or is_complex and onesided is None:
        raise Unknown
    pads = 0 if center is False else 2 * (n_fft // 2)
    frames = (op.shape[last] + pads - n_fft) // hop + 1
    bins = n_fft if onesided is False else n_fft // 2 + 1
    dims = all_same(op.pos, op.shape)[:last]
    dims.append(made("argument", bins, f"n_fft={n_fft}"))
    note = f"({op.shape[last]}{f' + {pads}' if pads else ''} - {n_fft}) / {hop} + 1"
    dims.append(of("window", op.pos, last, frames, note))
    if not b.flag("return_complex"):
        dims.append(made("new", 2, "real and imaginary"))
    return Answer([dims])


def _unfold_dimension(b: Bound) -> Answer:
    """x.unfold(dimension, size, step): windows counted, and a last dimension."""
    op = b.first()
    args = [*b.call.args[1:]]
    for name in ("dimension", "size", "step")[len(args) :]:
        args.append(b.call.kwargs.get(name))
    if not all(isinstance(arg, int) for arg in args) or not op.shape:
        raise Unknown
    wanted, size, step = args
    dim = wrap(wanted, len(op.shape))
    whole = op.shape[dim]
    if size > whole:
        left, right = Side(op.pos, dim, whole), Side(None, None, size, "size")
        return Answer(conflicts=[Conflict("size", "size", left, right)])
    dims = all_same(op.pos, op.shape)
    note = f"({whole} - {size}) / {step} + 1"
    dims[dim] = of("window", op.pos, dim, (whole - size) // step + 1, note)
    return Answer([[*dims, made("argument", size, f"size={size}")]])


@rule("fold col2im", "input output_size kernel_size dilation padding stride")
def fold(b: Bound) -> Answer:
    """Blocks put back into images of the size given."""
    op = b.need("input")
    rank = len(op.shape)
    if rank not in (2, 3):
        return Answer(conflicts=[rank_conflict("input", op.pos, rank, 3, "2-D or 3-D")])
    sizes = [b.pair("output_size", i, 1) for i in (0, 1)]
    area = b.pair("kernel_size", 0, 1) * b.pair("kernel_size", 1, 1)
    c = rank - 2
    answer = Answer()
    if op.shape[c] % area:
        left = Side(op.pos, c, op.shape[c], "channels")
        right = Side(None, None, area, "kernel_size")
        answer.conflicts.append(Conflict("divisible", "channels", left, right))
    count = prod(_blocks(b, i, sizes[i]) for i in (0, 1))
    if op.shape[c + 1] != count:
        left = Side(op.pos, c + 1, op.shape[c + 1], "blocks")
        right = Side(None, None, count, "output_size")
        answer.conflicts.append(Conflict("size", "blocks", left, right))
    if answer.conflicts:
        return answer
    dims = all_same(op.pos, op.shape)[:c]
    note = f"{op.shape[c]} / {area}"
    dims.append(of("split", op.pos, c, op.shape[c] // area, note))
    dims += [made("argument", size, f"output_size={size}") for size in sizes]
    answer.outputs = [dims]
    return answer


@rule("grid_sample grid_sampler", "input grid")
def grid_sample(b: Bound) -> Answer:
    """Batch and channels of the input, space of the grid."""
    op, grid = b.need("input"), b.need("grid")
    rank = len(op.shape)
    if rank not in (4, 5):
        return Answer(conflicts=[rank_conflict("input", op.pos, rank, 4, "4-D or 5-D")])
    if len(grid.shape) != rank:
        conflict = rank_conflict("grid", grid.pos, len(grid.shape), rank)
        return Answer(conflicts=[conflict])
    answer = Answer(roles={(op.pos, 0): "batch", (grid.pos, 0): "batch"})
    answer.roles[op.pos, 1] = "channels"
    if op.shape[0] != grid.shape[0]:
        left, right = Side(op.pos, 0, op.shape[0]), Side(grid.pos, 0, grid.shape[0])
        answer.conflicts.append(Conflict("size", "batch", left, right))
    if grid.shape[-1] != rank - 2:
        left = Side(grid.pos, rank - 1, grid.shape[-1], "coordinates")
        right = Side(None, None, rank - 2, "coordinates")
        answer.conflicts.append(Conflict("size", "coordinates", left, right))
    if not answer.conflicts:
        batch = DimOrigin("same", ((op.pos, 0), (grid.pos, 0)))
        space = [same(grid.pos, d, grid.shape[d]) for d in range(1, rank - 1)]
        channels = same(op.pos, 1, op.shape[1])
        answer.outputs = [[(batch, op.shape[0]), channels, *space]]
    return answer


@rule("affine_grid", "theta size")
def affine_grid(b: Bound) -> Answer:
    """A grid of the size given, for each matrix."""
    theta, size = b.need("theta"), b.value("size")
    if not isinstance(size, (tuple, list)):
        raise Unknown
    if theta.shape[0] != size[0]:
        left = Side(theta.pos, 0, theta.shape[0], "batch")
        right = Side(None, None, size[0], "size")
        return Answer(conflicts=[Conflict("size", "batch", left, right)])
    n = len(size) - 2
    for d, wanted in ((1, n), (2, n + 1)):
        if theta.shape[d] != wanted:
            left = Side(theta.pos, d, theta.shape[d], "theta")
            right = Side(None, None, wanted, "size")
            return Answer(conflicts=[Conflict("size", "theta", left, right)])
    dims = [same(theta.pos, 0, theta.shape[0])]
    dims += [made("argument", s, f"size={s}") for s in size[2:]]
    return Answer([[*dims, made("new", n, "coordinates")]])


@rule("instance_norm", "input running_mean running_var weight bias")
def instance_norm(b: Bound) -> Answer:
    """The input's shape; the parameters have its channels."""
    op = b.need("input")
    answer = Answer(roles={(op.pos, 0): "batch"})
    answer.roles[op.pos, 1] = "num_features"
    for name in ("running_mean", "running_var", "weight", "bias"):
        other = b.tensor(name)
        if other is None or not other.shape or len(op.shape) < 2:
            continue
        answer.roles[other.pos, 0] = "num_features"
        if other.shape[0] != op.shape[1]:
            left = Side(op.pos, 1, op.shape[1], "num_features")
            right = Side(other.pos, 0, other.shape[0], "num_features")
            answer.conflicts.append(Conflict("size", "num_features", left, right))
    if not answer.conflicts:
        answer.outputs = [all_same(op.pos, op.shape)]
    return answer


@rule(
    "embedding_bag",
    "input weight offsets max_norm norm_type scale_grad_by_freq mode sparse "
    "per_sample_weights include_last_offset",
)
def embedding_bag(b: Bound) -> Answer:
    """A row for each bag: the input's rows, or as many as the offsets tell."""
    op, weight, offsets = b.need("input"), b.need("weight"), b.tensor("offsets")
    if op.ref.dtype.is_floating_point and not weight.ref.dtype.is_floating_point:
        op, weight = weight, op
    if len(weight.shape) < 2:
        raise Unknown
    width: Dim = of("parameter", weight.pos, 1, weight.shape[1], "embedding_dim")
    if len(op.shape) == 2:
        return Answer([[same(op.pos, 0, op.shape[0]), width]])
    if offsets is None or not offsets.shape:
        raise Unknown
    return Answer([[_bags(b, offsets), width]])


def _bags(b: Bound, offsets: Operand) -> Dim:
    """How many bags the offsets make."""
    count = offsets.shape[0]
    if b.flag("include_last_offset"):
        return of("window", offsets.pos, 0, count - 1, f"{count} - 1")
    return same(offsets.pos, 0, count)


@rule("one_hot", "input num_classes")
def one_hot(b: Bound) -> Answer:
    """A last dimension of the classes."""
    op = b.need("input")
    classes: Any = b.value("num_classes", -1)
    last = made("values", None, "largest value + 1")
    if isinstance(classes, int) and classes >= 0:
        last = made("argument", classes, f"num_classes={classes}")
    return Answer([[*all_same(op.pos, op.shape), last]])


@rule("conv_tbc", "input weight bias pad")
def conv_tbc(b: Bound) -> Answer:
    """A convolution of (time, batch, channels)."""
    op, weight = b.need("input"), b.need("weight")
    kernel, channels, out = weight.shape
    if op.shape[2] != channels:
        left = Side(op.pos, 2, op.shape[2], "in_channels")
        right = Side(weight.pos, 1, channels, "in_channels")
        return Answer(conflicts=[Conflict("size", "in_channels", left, right)])
    time = op.shape[0] + 2 * b.integer("pad", 0) - kernel + 1
    dims = [of("window", op.pos, 0, time), same(op.pos, 1, op.shape[1])]
    return Answer([[*dims, of("parameter", weight.pos, 2, out, "out_channels")]])
