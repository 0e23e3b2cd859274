"""The shape signatures, a line a function; several lines are alternatives.

The language is described in `language.py`. A function is added by adding its line; a
shape that the language cannot say is a rule in Python, in one of the files beside.
"""

from __future__ import annotations

import functools
import re

from shapetrace.signatures.language import Signature, SignatureError, parse

_CONV = "input, weight, bias, stride, padding, dilation, groups"
_CONV_T = "input, weight, bias, stride, padding, output_padding, groups, dilation"
_MAX_POOL = "input, kernel_size, stride, padding, dilation, ceil_mode, return_indices"
_AVG_POOL = "input, kernel_size, stride, padding, ceil_mode"
_LP_POOL = "input, norm_type, kernel_size, stride, ceil_mode"
_UNPOOL = "input, indices, kernel_size, stride, padding, output_size"
_FRACTIONAL = "input, kernel_size, output_size, output_ratio, return_indices"
_OLD = "size_average, reduce, reduction"
_CE = "input, target, weight, size_average, ignore_index, reduce, reduction"

TABLE = f"""
# linear algebra
linear(input, weight, bias)  *batch in_features, out_features in_features, out_features -> *batch out_features
linear(input, weight, bias)  *batch in_features, in_features -> *batch
bilinear(input1, input2, weight, bias)  *batch in1_features, *batch in2_features, out_features in1_features in2_features, out_features -> *batch out_features
matmul(input, other)  k, k ->
matmul(input, other)  k, ... k m -> ... m
matmul(input, other)  ... n k, k -> ... n
matmul(input, other)  ... n k, ... k m -> ... n m
mm(input, mat2)  n k, k m -> n m
bmm(input, mat2)  batch n k, batch k m -> batch n m
mv(input, vec)  n k, k -> n
dot(input, other)  n, n ->
vdot(input, other)  n, n ->
inner(input, other)  *left k, *right k -> *left *right
outer(input, vec2)  n, m -> n m
ger(input, vec2)  n, m -> n m
addmm(input, mat1, mat2)  _, n k, k m -> n m
addbmm(input, batch1, batch2)  _, batch n k, batch k m -> n m
baddbmm(input, batch1, batch2)  _, batch n k, batch k m -> batch n m
addmv(input, mat, vec)  _, n k, k -> n
addr(input, vec1, vec2)  _, n, m -> n m
cdist(x1, x2)  ... n features, ... m features -> ... n m
# convolution
conv1d({_CONV})  [batch] in_channels length, out_channels in_channels/groups kernel, out_channels -> [batch] out_channels length'
conv2d({_CONV})  [batch] in_channels height width, out_channels in_channels/groups kernel_height kernel_width, out_channels -> [batch] out_channels height' width'
conv3d({_CONV})  [batch] in_channels depth height width, out_channels in_channels/groups kernel_depth kernel_height kernel_width, out_channels -> [batch] out_channels depth' height' width'
conv_transpose1d({_CONV_T})  [batch] in_channels length, in_channels out_channels/groups kernel, out_channels -> [batch] out_channels length'
conv_transpose2d({_CONV_T})  [batch] in_channels height width, in_channels out_channels/groups kernel_height kernel_width, out_channels -> [batch] out_channels height' width'
conv_transpose3d({_CONV_T})  [batch] in_channels depth height width, in_channels out_channels/groups kernel_depth kernel_height kernel_width, out_channels -> [batch] out_channels depth' height' width'
# pooling
max_pool1d({_MAX_POOL})  [batch] channels length -> [batch] channels length'
max_pool2d({_MAX_POOL})  [batch] channels height width -> [batch] channels height' width'
max_pool3d({_MAX_POOL})  [batch] channels depth height width -> [batch] channels depth' height' width'
avg_pool1d({_AVG_POOL})  [batch] channels length -> [batch] channels length'
avg_pool2d({_AVG_POOL})  [batch] channels height width -> [batch] channels height' width'
avg_pool3d({_AVG_POOL})  [batch] channels depth height width -> [batch] channels depth' height' width'
lp_pool1d({_LP_POOL})  [batch] channels length -> [batch] channels length'
lp_pool2d({_LP_POOL})  [batch] channels height width -> [batch] channels height' width'
lp_pool3d({_LP_POOL})  [batch] channels depth height width -> [batch] channels depth' height' width'
adaptive_max_pool1d(input, output_size, return_indices)  [batch] channels length -> [batch] channels length'
adaptive_max_pool2d(input, output_size, return_indices)  [batch] channels height width -> [batch] channels height' width'
adaptive_max_pool3d(input, output_size, return_indices)  [batch] channels depth height width -> [batch] channels depth' height' width'
adaptive_avg_pool1d(input, output_size)  [batch] channels length -> [batch] channels length'
adaptive_avg_pool2d(input, output_size)  [batch] channels height width -> [batch] channels height' width'
adaptive_avg_pool3d(input, output_size)  [batch] channels depth height width -> [batch] channels depth' height' width'
fractional_max_pool2d({_FRACTIONAL})  [batch] channels height width -> [batch] channels height' width'
fractional_max_pool3d({_FRACTIONAL})  [batch] channels depth height width -> [batch] channels depth' height' width'
max_unpool1d({_UNPOOL})  [batch] channels length, [batch] channels length -> [batch] channels length'
max_unpool2d({_UNPOOL})  [batch] channels height width, [batch] channels height width -> [batch] channels height' width'
max_unpool3d({_UNPOOL})  [batch] channels depth height width, [batch] channels depth height width -> [batch] channels depth' height' width'
# normalisation
batch_norm(input, running_mean, running_var, weight, bias)  batch num_features *space, num_features, num_features, num_features, num_features -> batch num_features *space
group_norm(input, num_groups, weight, bias)  batch num_channels *space, _, num_channels, num_channels -> batch num_channels *space
layer_norm(input, normalized_shape, weight, bias)  *batch *normalized_shape, (*normalized_shape), *normalized_shape, *normalized_shape -> *batch *normalized_shape
rms_norm(input, normalized_shape, weight)  *batch *normalized_shape, (*normalized_shape), *normalized_shape -> *batch *normalized_shape
local_response_norm(input, size)  batch channels *space -> batch channels *space
# embedding
embedding(input, weight)  *index, num_embeddings embedding_dim -> *index embedding_dim
# distances
# losses: behind the bar what the prediction is, how it is made, and what the target is
l1_loss(input, target, {_OLD}, weight)  ..., ... => ...  | values | values
mse_loss(input, target, {_OLD}, weight)  ..., ... => ...  | values | values
smooth_l1_loss(input, target, {_OLD}, beta)  ..., ... => ...  | values | values
huber_loss(input, target, reduction, delta, weight)  ..., ... => ...  | values | values
kl_div(input, target, {_OLD})  ..., ... => ...  | log_probabilities log_softmax | probabilities
poisson_nll_loss(input, target, log_input, full, size_average, eps, reduce, reduction)  ..., ... => ...  | values | counts
gaussian_nll_loss(input, target, var, full, eps, reduction)  ..., ..., ... => ...  | values | values
hinge_embedding_loss(input, target, margin, {_OLD})  ..., ... => ...  | values | signs
soft_margin_loss(input, target, {_OLD})  ..., ... => ...  | values | signs
binary_cross_entropy(input, target, weight, {_OLD})  *shape, *shape => *shape  | probabilities sigmoid | probabilities
binary_cross_entropy_with_logits(input, target, weight, {_OLD}, pos_weight)  *shape, *shape => *shape  | logits sigmoid | probabilities
cosine_embedding_loss(input1, input2, target, margin, {_OLD})  features, features, =>  | embeddings | signs
cosine_embedding_loss(input1, input2, target, margin, {_OLD})  batch features, batch features, batch => batch
margin_ranking_loss(input1, input2, target, margin, {_OLD})  ..., ..., ... => ...  | ranked | signs
multi_margin_loss(input, target, p, margin, weight, {_OLD})  batch classes, batch, _, _, classes => batch  | values | indices
multi_margin_loss(input, target, p, margin, weight, {_OLD})  classes, , _, _, classes =>
multi_margin_loss(input, target, p, margin, weight, {_OLD})  classes, 1, _, _, classes =>
multilabel_margin_loss(input, target, {_OLD})  batch classes, batch classes => batch  | values | index_sets
multilabel_margin_loss(input, target, {_OLD})  classes, classes =>
multilabel_soft_margin_loss(input, target, weight, {_OLD})  ... classes, ... classes => ...  | logits sigmoid | probabilities
triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, {_OLD})  ... features, ... features, ... features => ...  | embeddings
triplet_margin_with_distance_loss(anchor, positive, negative)  ... features, ... features, ... features => ...  | embeddings
cross_entropy({_CE}, label_smoothing)  batch classes *space, batch *space, classes => batch *space  | logits softmax | indices probabilities
cross_entropy({_CE}, label_smoothing)  classes, , classes =>
cross_entropy({_CE}, label_smoothing)  batch classes *space, batch classes *space, classes => batch *space
cross_entropy({_CE}, label_smoothing)  classes, classes, classes =>
nll_loss({_CE})  batch classes *space, batch *space, classes => batch *space  | log_probabilities log_softmax | indices
nll_loss({_CE})  classes, , classes =>
ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, reduction)  time batch classes, batch target_length, batch, batch => batch  | log_probabilities log_softmax | index_sets
ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, reduction)  time batch classes, total_length, batch, batch => batch
ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, reduction)  time classes, target_length, , =>
linear_cross_entropy(input, linear_weight, target, linear_bias, weight, reduction)  *batch in_features, classes in_features, *batch, classes, classes => *batch  | values | indices
"""  # noqa: E501 - a table: a line a function

_NAME = re.compile(r"\s*([\w.]+)\s*\(")


@functools.cache
def lines() -> dict[str, tuple[str, ...]]:
    """The table's lines by function, not yet parsed."""
    found: dict[str, list[str]] = {}
    for line in TABLE.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        head = _NAME.match(line)
        if head is None:
            raise SignatureError(f"{line!r} does not begin with name(parameters)")
        found.setdefault(head[1], []).append(line.partition("|")[0])
    return {name: tuple(rows) for name, rows in found.items()}


@functools.cache
def facts() -> dict[str, tuple[tuple[str, ...], ...]]:
    """What stands behind the bars of a function's first line, as words."""
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    for line in TABLE.splitlines():
        head = _NAME.match(line)
        if head is not None and "|" in line:
            parts = line.split("|")[1:]
            found.setdefault(head[1], tuple(tuple(part.split()) for part in parts))
    return found


@functools.cache
def signatures(name: str) -> tuple[Signature, ...]:
    """The alternatives of one function, parsed on first use; () for none."""
    return tuple(parse(line) for line in lines().get(name, ()))
