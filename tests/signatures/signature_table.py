"""A call of every torch function that has a signature or a rule, by the letters of its
sizes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from signature_cases import Case, I, M, N, T

X = torch.Tensor


def conv(n: int) -> list[Case]:
    space, kernel = "x y z"[: 2 * n - 1], " ".join("K" * n)
    f, t = getattr(F, f"conv{n}d"), getattr(F, f"conv_transpose{n}d")
    return [
        Case(f, T(f"b c {space}"), T(f"o c {kernel}"), T("o")),
        Case(f, T(f"c {space}"), T(f"o c {kernel}"), padding="same"),
        Case(f, T(f"b 2c {space}"), T(f"2o c {kernel}"), None, 2, 1, 2, 2),
        Case(t, T(f"b c {space}"), T(f"c o {kernel}"), T("o"), 2, 1, 1),
        Case(t, T(f"b 2c {space}"), T(f"2c o {kernel}"), groups=2, dilation=2),
    ]


def pools(n: int) -> list[Case]:
    space = "x y z"[: 2 * n - 1]
    x, y = T(f"b c {space}"), T(f"c {space}")
    get = {
        kind: getattr(F, f"{kind}_pool{n}d")
        for kind in ("max", "avg", "lp", "adaptive_max", "adaptive_avg")
    }
    return [
        Case(get["max"], x, 2),
        Case(get["max"], y, 3, stride=2, padding=1, ceil_mode=True),
        Case(get["max"], x, 2, return_indices=True),
        Case(get["avg"], x, 3, 2, 1, True),
        Case(get["lp"], x, 2, 3, 2),
        Case(get["adaptive_max"], x, 3),
        Case(get["adaptive_avg"], y, 2),
        Case(get["adaptive_avg"], x, [2] * n),
    ]


def norms() -> list[Case]:
    x, c = T("b c x y"), T("c")
    return [
        Case(F.batch_norm, x, c, c, c, c, True),
        Case(F.batch_norm, T("b c"), c, c),
        Case(F.instance_norm, x, c, c, c, c),
        Case(F.group_norm, T("b 2c x"), 2, T("2c"), T("2c")),
        Case(F.layer_norm, T("b s c"), [N("c")], c, c),
        Case(F.layer_norm, T("b s c"), [N("s"), N("c")]),
        Case(F.rms_norm, T("b s c"), [N("c")], c),
        Case(F.local_response_norm, x, 2),
        Case(F.normalize, T("b c"), dim=1),
        Case(F.prelu, x, c),
        Case(F.prelu, x, T("1")),
    ]


def recurrent(kind: str, gates: int, cells: int) -> list[Case]:
    f, one = getattr(torch, kind), T("1 b h")
    weights = [T(f"{gates}h i"), T(f"{gates}h h"), T(f"{gates}h"), T(f"{gates}h")]
    state = (one, one) if cells == 2 else one
    wide = T("2 b h")
    both = (wide, wide) if cells == 2 else wide
    tail = (True, 1, 0.0, False)
    cell, row = getattr(torch, f"{kind}_cell"), T("b h")
    return [
        Case(f, T("b t i"), state, weights, *tail, False, True),
        Case(f, T("t b i"), state, weights, *tail, False, False),
        Case(f, T("t b i"), both, weights * 2, *tail, True, False),
        Case(cell, T("b i"), (row, row) if cells == 2 else row, *weights),
    ]


def attention() -> list[Case]:
    sdpa, mha = F.scaled_dot_product_attention, F.multi_head_attention_forward
    q, k = T("t b 2e"), T("s b 2e")
    rest = (N("2e"), 2, T("6e 2e"), T("6e"), None, None, False, 0.0, T("2e 2e"))
    return [
        Case(sdpa, T("b h l e"), T("b h s e"), T("b h s v")),
        Case(sdpa, T("b h l e"), T("b h s e"), T("b h s e"), M("l s")),
        Case(sdpa, T("l e"), T("s e"), T("s v")),
        Case(mha, q, k, k, *rest, T("2e")),
        Case(mha, q, k, k, *rest, T("2e"), need_weights=False),
        Case(mha, q, k, k, *rest, T("2e"), average_attn_weights=False),
        Case(mha, q, k, k, *rest, None, key_padding_mask=M("b s"), attn_mask=M("t s")),
    ]


def losses() -> list[Case]:
    x, row = T("b c"), T("b")
    equal = [F.l1_loss, F.mse_loss, F.smooth_l1_loss, F.huber_loss, F.kl_div]
    equal += [F.poisson_nll_loss, F.binary_cross_entropy, F.soft_margin_loss]
    equal += [F.binary_cross_entropy_with_logits, F.hinge_embedding_loss]
    plain = [Case(f, x, x) for f in equal]
    return [
        *plain,
        *(Case(f, x, x, reduction="none") for f in equal),
        Case(F.cross_entropy, x, I("b")),
        Case(F.cross_entropy, T("b c x y"), I("b x y"), T("c"), reduction="none"),
        Case(F.cross_entropy, x, x, reduction="none"),
        Case(F.cross_entropy, T("c"), I("")),
        Case(F.nll_loss, T("b c x y"), I("b x y"), reduction="none"),
        Case(F.gaussian_nll_loss, x, x, T("b 1"), reduction="none"),
        Case(F.gaussian_nll_loss, x, x, row),
        Case(F.margin_ranking_loss, row, row, row, reduction="none"),
        Case(F.cosine_embedding_loss, x, x, row, reduction="none"),
        Case(F.multi_margin_loss, x, I("b"), reduction="none"),
        Case(F.multilabel_margin_loss, x, I("b c"), reduction="none"),
        Case(F.multilabel_soft_margin_loss, x, x, reduction="none"),
        Case(F.triplet_margin_loss, x, x, x, reduction="none"),
        Case(F.triplet_margin_with_distance_loss, x, x, x, reduction="none"),
    ] + fused_losses()


def fused_losses() -> list[Case]:
    """What torch 2.9 has not."""
    if not hasattr(F, "linear_cross_entropy"):
        return []
    return [Case(F.linear_cross_entropy, T("b i"), T("c i"), I("b"))]


def products() -> list[Case]:
    return [
        Case(F.linear, T("b s i"), T("o i"), T("o")),
        Case(F.linear, T("i"), T("o i")),
        Case(F.bilinear, T("b i"), T("b j"), T("o i j"), T("o")),
        Case(torch.matmul, T("k"), T("k")),
        Case(torch.matmul, T("n k"), T("k")),
        Case(torch.matmul, T("k"), T("b k m")),
        Case(torch.matmul, T("a b n k"), T("b k m")),
        Case(X.matmul, T("b n k"), T("k m")),
        Case(torch.mm, T("n k"), T("k m")),
        Case(torch.bmm, T("b n k"), T("b k m")),
        Case(torch.mv, T("n k"), T("k")),
        Case(torch.dot, T("n"), T("n")),
        Case(torch.outer, T("n"), T("m")),
        Case(torch.inner, T("a k"), T("b k")),
        Case(torch.addmm, T("m"), T("n k"), T("k m")),
        Case(torch.baddbmm, T("b n m"), T("b n k"), T("b k m")),
        Case(torch.addbmm, T("n m"), T("b n k"), T("b k m")),
        Case(torch.addmv, T("n"), T("n k"), T("k")),
        Case(torch.addr, T("n m"), T("n"), T("m")),
        Case(torch.einsum, "bij,bjk->bik", T("b i j"), T("b j k")),
        Case(torch.einsum, "...i,ji->...j", T("a b i"), T("j i")),
        Case(torch.einsum, "ij,jk", [T("i j"), T("j k")]),
        Case(torch.einsum, "ii->i", T("i i")),
        Case(torch.tensordot, T("a b c"), T("b c d"), 2),
        Case(torch.tensordot, T("a b c"), T("c a d"), dims=([0, 2], [1, 0])),
        Case(torch.kron, T("a b"), T("c d")),
        Case(torch.linalg.multi_dot, [T("a b"), T("b c"), T("c d")]),
        Case(torch.cdist, T("b n f"), T("b m f")),
        Case(torch.cross, T("b 3"), T("b 3")),
        Case(F.cosine_similarity, T("b c s"), T("b c s")),
        Case(F.pairwise_distance, T("b c"), T("b c"), keepdim=True),
        Case(F.pdist, T("n c")),
        Case(torch.det, T("b n n")),
        Case(torch.linalg.norm, T("b n m"), dim=1),
    ]


def shapes() -> list[Case]:
    x, y = T("a b c"), T("b c x y")
    return [
        Case(X.view, x, N("a"), -1),
        Case(X.view, x, (-1, N("c"))),
        Case(X.reshape, T("a 6b"), N("a"), 6, -1),
        Case(torch.reshape, x, (-1,)),
        Case(X.view, T("a 4b"), N("a"), 2, N("b"), 2),
        Case(X.view_as, T("a 6b"), T("a 6b")),
        Case(torch.flatten, y, 1),
        Case(X.flatten, y, 1, 2),
        Case(torch.ravel, x),
        Case(X.unflatten, T("a 6b"), 1, (6, -1)),
        Case(X.permute, x, 2, 0, 1),
        Case(torch.permute, x, (2, 0, 1)),
        Case(X.transpose, x, 1, 2),
        Case(X.swapaxes, x, 0, -1),
        Case(X.t, T("a b")),
        Case(torch.movedim, x, (0, 1), (1, 2)),
        Case(torch.rot90, x, 1, (0, 2)),
        Case(X.squeeze, T("a 1 b 1")),
        Case(X.squeeze, T("a 1 b 1"), 1),
        Case(X.unsqueeze, x, -1),
        Case(X.expand, T("a 1 b"), 4, -1, 3, -1),
        Case(X.expand_as, T("a 1"), T("a b")),
        Case(torch.broadcast_to, T("a 1"), (N("a"), 7)),
        Case(X.repeat, T("a b"), 2, 1, 3),
        Case(torch.tile, T("a b"), (3,)),
        Case(torch.repeat_interleave, T("a b"), 3, 1),
        Case(torch.atleast_2d, T("a")),
        Case(torch.atleast_3d, T("a b")),
        Case(torch.diagonal, T("a 2b c"), 0, 1, 0),
        Case(torch.diag_embed, T("a b")),
        Case(torch.diag, T("a")),
        Case(X.roll, x, 1),
        Case(X.flip, x, 0),
        Case(X.contiguous, x),
        Case(torch.tril, T("a b")),
        Case(torch.broadcast_tensors, T("a 1"), T("b")),
    ]


def joins() -> list[Case]:
    return [
        Case(torch.cat, [T("a b"), T("c b")]),
        Case(torch.cat, (T("a b"), T("a c")), dim=-1),
        Case(torch.stack, [T("a b"), T("a b")], 1),
        Case(torch.hstack, [T("a b"), T("a c")]),
        Case(torch.hstack, [T("a"), T("b")]),
        Case(torch.vstack, [T("a"), T("a")]),
        Case(torch.vstack, [T("a b"), T("c b")]),
        Case(torch.dstack, [T("a b"), T("a b")]),
        Case(torch.column_stack, [T("a"), T("a b")]),
        Case(torch.split, T("12 b"), 5),
        Case(X.split, T("b 12"), [5, 7], 1),
        Case(X.chunk, T("12 b"), 5),
        Case(torch.tensor_split, T("11 b"), 3),
        Case(torch.tensor_split, T("11 b"), (2, 5)),
        Case(torch.hsplit, T("b 12"), 3),
        Case(X.unbind, T("3 b")),
        Case(torch.meshgrid, T("a"), T("b"), indexing="xy"),
        Case(torch.block_diag, T("a b"), T("c d")),
        Case(torch.cartesian_prod, T("a"), T("b")),
    ]


def picks() -> list[Case]:
    get, x, all_ = X.__getitem__, T("a b c d"), slice(None)
    return [
        Case(get, x, 0),
        Case(get, x, (..., -1)),
        Case(get, x, (all_, None, slice(1, -1))),
        Case(get, x, (all_, slice(None, None, 2))),
        Case(get, x, I("i")),
        Case(get, x, (all_, I("i j"))),
        Case(get, x, (I("i"), all_, I("i"))),
        Case(get, x, (all_, I("i 1"), I("j"))),
        Case(get, x, (0, all_, [0, 1])),
        Case(get, x, (None, 1, ..., None)),
        Case(get, x, (I(""), all_)),
        Case(torch.gather, T("a b"), 1, I("a c")),
        Case(torch.index_select, T("a b"), 1, I("c")),
        Case(torch.take_along_dim, T("a b"), I("a c"), 1),
        Case(torch.take, T("a b"), I("c d")),
        Case(torch.select, x, 1, 0),
        Case(X.narrow, x, 1, 0, 3),
        Case(X.scatter, T("a b"), 1, I("a b"), T("a b")),
        Case(X.index_add, T("a b"), 0, I("c"), T("c b")),
        Case(torch.masked_fill, T("a b"), M("a b"), 0.0),
        Case(torch.where, M("a b"), T("a b"), T("b")),
        Case(F.embedding, I("a b"), T("v e")),
        Case(F.embedding_bag, I("a b"), T("v e")),
        Case(F.embedding_bag, I("n"), T("v e"), I("o")),
        Case(F.one_hot, I("a b"), 5),
    ]


def reductions() -> list[Case]:
    x = T("a b c")
    named = [torch.sum, torch.mean, torch.std, torch.var, torch.amax, torch.logsumexp]
    named += [torch.argmax, torch.nansum, torch.all, torch.count_nonzero, torch.prod]
    named += [torch.max, torch.median, torch.mode, torch.argmin]
    return [
        *(Case(f, x, 1) for f in named),
        Case(X.sum, x),
        Case(X.mean, x, (0, -1), keepdim=True),
        Case(X.max, x),
        Case(X.max, x, dim=1, keepdim=True),
        Case(X.norm, x, dim=1),
        Case(torch.kthvalue, x, 2),
        Case(torch.var_mean, x, (0, 1)),
        Case(torch.aminmax, x, dim=0),
        Case(torch.quantile, x, T("q"), dim=1),
        Case(torch.topk, x, 2, 1),
        Case(torch.sort, x),
        Case(torch.cumsum, x, 1),
        Case(torch.cummax, x, 1),
        Case(torch.diff, x),
        Case(F.softmax, x, dim=1),
        Case(X.log_softmax, x, 1),
        Case(F.glu, T("a 2b"), 1),
        Case(torch.multinomial, T("a b"), 3),
    ]


def elementwise() -> list[Case]:
    x = T("a b c")
    return [
        *(Case(f, x) for f in (F.relu, F.gelu, X.abs, X.float, X.clone, X.detach)),
        *(Case(f, x) for f in (F.dropout, torch.zeros_like, X.exp, F.silu)),
        Case(X.relu_, x),
        Case(X.add, x, x),
        Case(X.__rsub__, x, 1),
        Case(X.__truediv__, x, T("c")),
        Case(torch.mul, x, T("a 1 1")),
        Case(X.add_, x, T("b 1")),
        Case(torch.maximum, T("a 1"), T("b")),
        Case(X.__gt__, x, 0),
        Case(torch.clamp, x, 0, 1),
        Case(torch.addcmul, x, T("b c"), T("c")),
        Case(X.max, x, T("c")),
    ]


def spatial() -> list[Case]:
    x = T("b c x y")
    return [
        Case(F.interpolate, x, scale_factor=2),
        Case(F.interpolate, x, (3, 4)),
        Case(F.adaptive_avg_pool2d, x, (2, None)),
        Case(F.pad, x, (1, 2, 3, 0)),
        Case(F.pixel_shuffle, T("b 4c x y"), 2),
        Case(F.pixel_unshuffle, T("b c 2x 2y"), 2),
        Case(torch.channel_shuffle, T("b 2c x y"), 2),
        Case(F.unfold, x, 3, 1, 1, 2),
        Case(F.fold, T("b 4c 9"), (6, 6), 2, stride=2),
        Case(X.unfold, T("b x"), 1, 3, 2),
        Case(torch.stft, T("b x"), 2, 1, return_complex=True, window=None),
        Case(F.grid_sample, x, T("b i j 2"), align_corners=False),
        Case(F.affine_grid, T("b 2 3"), (N("b"), 3, 4, 5), align_corners=False),
        Case(F.max_unpool2d, x, I("b c x y"), 2),
        Case(F.fractional_max_pool2d, x, 2, output_size=3),
        Case(X.new_zeros, x, 2, 3),
    ]


CASES = [
    *(case for n in (1, 2, 3) for case in (*conv(n), *pools(n))),
    *norms(),
    *(
        c
        for k in (("lstm", 4, 2), ("gru", 3, 1), ("rnn_tanh", 1, 1))
        for c in recurrent(*k)
    ),
    *attention(),
    *losses(),
    *products(),
    *shapes(),
    *joins(),
    *picks(),
    *reductions(),
    *elementwise(),
    *spatial(),
]
