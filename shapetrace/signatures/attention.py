"""Attention: the scaled dot product, and torch's multi-head function."""

from __future__ import annotations

from shapetrace.signatures.answer import Answer, Dim, Unknown, of, rank_conflict, same
from shapetrace.signatures.binding import Bound, Operand
from shapetrace.signatures.broadcasting import broadcast
from shapetrace.signatures.registry import rule
from shapetrace.signatures.relation import Conflict, DimOrigin, Side

_MHA = (
    "query key value embed_dim_to_check num_heads in_proj_weight in_proj_bias bias_k "
    "bias_v add_zero_attn dropout_p out_proj_weight out_proj_bias training "
    "key_padding_mask need_weights attn_mask use_separate_proj_weight q_proj_weight "
    "k_proj_weight v_proj_weight static_k static_v average_attn_weights is_causal"
)


def _equal(
    answer: Answer, name: str, one: Operand, i: int, two: Operand, j: int
) -> None:
    """Two dimensions that must be equal; negative ones count from the end."""
    i, j = i % len(one.shape), j % len(two.shape)
    answer.roles[one.pos, i] = answer.roles[two.pos, j] = name
    if one.shape[i] != two.shape[j]:
        left = Side(one.pos, i, one.shape[i], name)
        right = Side(two.pos, j, two.shape[j], name)
        answer.conflicts.append(Conflict("size", name, left, right))


@rule(
    "scaled_dot_product_attention",
    "query key value attn_mask dropout_p is_causal scale enable_gqa",
)
def scaled_dot_product_attention(b: Bound) -> Answer:
    """... target width, ... source width, ... source depth -> ... target depth."""
    query, key, value = b.need("query"), b.need("key"), b.need("value")
    answer = Answer()
    for op, name in ((query, "query"), (key, "key"), (value, "value")):
        if len(op.shape) < 2:
            conflict = rank_conflict(name, op.pos, len(op.shape), 2)
            answer.conflicts.append(conflict)
    if answer.conflicts:
        return answer
    _equal(answer, "embed_dim", query, -1, key, -1)
    _equal(answer, "source_length", key, -2, value, -2)
    answer.roles[query.pos, len(query.shape) - 2] = "target_length"
    lead = [(op.pos, 0, op.shape[:-2], "") for op in (query, key, value)]
    if b.flag("enable_gqa"):
        lead = lead[:1]
    front = broadcast(answer, lead)
    _mask(b, answer, query, key)
    if not answer.conflicts:
        length = same(query.pos, len(query.shape) - 2, query.shape[-2])
        depth = same(value.pos, len(value.shape) - 1, value.shape[-1])
        answer.outputs = [[*front, length, depth]]
    return answer


def _mask(b: Bound, answer: Answer, query: Operand, key: Operand) -> None:
    """The mask must broadcast to (..., target, source)."""
    mask = b.tensor("attn_mask")
    if mask is None:
        return
    wanted = [*query.shape[:-2], query.shape[-2], key.shape[-2]]
    owners = [(query, d) for d in range(len(query.shape) - 1)]
    owners.append((key, len(key.shape) - 2))
    for back in range(1, min(len(mask.shape), len(wanted)) + 1):
        size = mask.shape[-back]
        owner, d = owners[-back]
        if size not in (1, wanted[-back]):
            left = Side(owner.pos, d, wanted[-back])
            right = Side(mask.pos, len(mask.shape) - back, size, "attn_mask")
            answer.conflicts.append(Conflict("size", "attn_mask", left, right))


#: rows of the batch, of which each has its heads one after the other
HEADS_OF_SAMPLES = "batch·num_heads"


@rule("multi_head_attention_forward", _MHA)
def multi_head_attention(b: Bound) -> Answer:
    """(length, batch, embed_dim) in and out, and the weights averaged over heads."""
    query, key, value = b.need("query"), b.need("key"), b.need("value")
    answer = Answer()
    rank = len(query.shape)
    if rank not in (2, 3):
        conflict = rank_conflict("query", query.pos, rank, 3, "2-D or 3-D")
        return Answer(conflicts=[conflict])
    for op, name in ((key, "key"), (value, "value")):
        if len(op.shape) != rank:
            left = Side(query.pos, None, rank, "query")
            right = Side(op.pos, None, len(op.shape), name)
            answer.conflicts.append(Conflict("rank", name, left, right))
    if answer.conflicts:
        return answer
    embed = b.integer("embed_dim_to_check")
    answer.roles[query.pos, rank - 1] = "embed_dim"
    answer.roles[query.pos, 0] = "target_length"
    if query.shape[-1] != embed:
        left = Side(query.pos, rank - 1, query.shape[-1], "embed_dim")
        right = Side(None, None, embed, "embed_dim")
        answer.conflicts.append(Conflict("size", "embed_dim", left, right))
    _equal(answer, "source_length", key, 0, value, 0)
    if rank == 3:
        _equal(answer, "batch", query, 1, key, 1)
        _equal(answer, "batch", key, 1, value, 1)
    _projections(b, answer, key, value)
    _mha_masks(b, answer, query, key)
    if not answer.conflicts:
        _packed_rows(b, answer, query)
    if not answer.conflicts:
        _mha_outputs(b, answer, query, key)
    return answer


def _projections(b: Bound, answer: Answer, key: Operand, value: Operand) -> None:
    """Key and value against the weights that project them."""
    for op, name, size in (
        (key, "k_proj_weight", "kdim"),
        (value, "v_proj_weight", "vdim"),
    ):
        weight = b.tensor(name)
        if weight is not None:
            _equal(answer, size, op, -1, weight, 1)
        else:
            packed = b.tensor("in_proj_weight")
            if packed is not None:
                _equal(answer, "embed_dim", op, -1, packed, 1)


def _packed_rows(b: Bound, answer: Answer, query: Operand) -> None:
    """The projections' own sizes: three times embed_dim, and embed_dim."""
    embed = query.shape[-1]
    for name, d, times in (
        ("in_proj_weight", 0, 3),
        ("in_proj_bias", 0, 3),
        ("out_proj_weight", 1, 1),
    ):
        op = b.tensor(name)
        if op is not None and op.shape[d] != times * embed:
            text = f"{times}·embed_dim" if times > 1 else "embed_dim"
            left = Side(query.pos, len(query.shape) - 1, times * embed, text)
            right = Side(op.pos, d, op.shape[d], text)
            answer.conflicts.append(Conflict("size", "embed_dim", left, right))
    weight, bias = b.tensor("out_proj_weight"), b.tensor("out_proj_bias")
    if weight is not None and bias is not None:
        _equal(answer, "embed_dim", weight, 0, bias, 0)


def _mha_masks(b: Bound, answer: Answer, query: Operand, key: Operand) -> None:
    """key_padding_mask is (batch, source); attn_mask (target, source), or one for
    each batch and head."""
    padding, mask = b.tensor("key_padding_mask"), b.tensor("attn_mask")
    if padding is not None:
        if len(padding.shape) != len(query.shape) - 1:
            conflict = rank_conflict(
                "key_padding_mask",
                padding.pos,
                len(padding.shape),
                len(query.shape) - 1,
            )
            answer.conflicts.append(conflict)
        else:
            _equal(answer, "source_length", key, 0, padding, -1)
            if len(padding.shape) == 2:
                _equal(answer, "batch", query, 1, padding, 0)
    if mask is None:
        return
    if len(mask.shape) not in (2, 3):
        conflict = rank_conflict(
            "attn_mask", mask.pos, len(mask.shape), 2, "2-D or 3-D"
        )
        answer.conflicts.append(conflict)
        return
    _equal(answer, "target_length", query, 0, mask, -2)
    _equal(answer, "source_length", key, 0, mask, -1)
    if len(mask.shape) == 3 and len(query.shape) == 3:
        heads = query.shape[1] * b.integer("num_heads")
        answer.roles[mask.pos, 0] = HEADS_OF_SAMPLES
        if mask.shape[0] != heads:
            left = Side(query.pos, 1, heads, HEADS_OF_SAMPLES)
            right = Side(mask.pos, 0, mask.shape[0], "attn_mask")
            answer.conflicts.append(Conflict("size", "attn_mask", left, right))


def _mha_outputs(b: Bound, answer: Answer, query: Operand, key: Operand) -> None:
    """The attended values, and the weights."""
    out = b.tensor("out_proj_weight")
    if out is None:
        raise Unknown
    length = same(query.pos, 0, query.shape[0])
    batch: list[Dim] = []
    if len(query.shape) == 3:
        batch = [(DimOrigin("same", ((query.pos, 1), (key.pos, 1))), query.shape[1])]
    width = of("parameter", out.pos, 0, out.shape[0], "embed_dim")
    answer.outputs = [[length, *batch, width]]
    if not b.flag("need_weights", True):
        return
    added = (b.tensor("bias_k") is not None) + b.flag("add_zero_attn")
    source = same(key.pos, 0, key.shape[0])
    if added:
        note = f"{key.shape[0]} + {added}"
        source = of("window", key.pos, 0, key.shape[0] + added, note)
    heads: list[Dim] = []
    if not b.flag("average_attn_weights", True):
        count = b.integer("num_heads")
        heads = [(DimOrigin("argument", (), f"num_heads={count}"), count)]
    answer.outputs.append([*batch, *heads, length, source])
