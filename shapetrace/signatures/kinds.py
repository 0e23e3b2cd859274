"""What a function is, whatever it does to shapes: one kind for each name.

`signatures.table` says what becomes of the dimensions; this says what becomes of the
numbers. A function is added by writing its name behind its kind.
"""

from __future__ import annotations

import functools

KINDS = """
# the same numbers: in their order, in another order, some of them, several together
view            view reshape flatten unflatten view_as reshape_as ravel
unit            squeeze unsqueeze atleast_1d atleast_2d atleast_3d
transpose       permute transpose t T mT H mH adjoint swapaxes swapdims movedim moveaxis
expand          expand expand_as broadcast_to
copy            contiguous clone
cast            float double half bfloat16 to type type_as cpu cuda float64 float32
detach          detach data
pick            getitem narrow select split split_with_sizes chunk tensor_split unbind
pick            index_select gather take take_along_dim masked_select diagonal
join            cat concat concatenate stack hstack vstack dstack column_stack
repeat          repeat tile repeat_interleave
flip            flip fliplr flipud roll rot90
pack            _pack_padded_sequence _pad_packed_sequence
write           setitem copy fill zero scatter scatter_add index_add index_copy
write           index_put masked_scatter index_fill
pad             pad
window          unfold fold
# made without numbers of others
fill            zeros ones full empty zeros_like ones_like full_like empty_like
fill            new_zeros new_ones new_full new_empty
count           arange linspace logspace eye tril_indices triu_indices meshgrid
random          rand randn randint randperm rand_like randn_like randint_like normal
random          uniform random exponential geometric cauchy log_normal bernoulli
random          multinomial poisson binomial
# each number for itself
activation      relu relu6 gelu silu elu selu celu leaky_relu prelu mish tanh softplus
activation      hardswish hardtanh hardsigmoid softsign tanhshrink threshold rrelu
sigmoid         sigmoid expit
log_sigmoid     logsigmoid
dropout         dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout
dropout         feature_alpha_dropout
sum             add sub rsub subtract
scale           mul div multiply divide true_divide
power           pow square abs absolute sqrt rsqrt
pointwise       neg negative exp log log1p expm1 sin cos clamp clip clamp_min clamp_max
pointwise       nan_to_num reciprocal sign round floor ceil erf lerp
mask            masked_fill where tril triu
compare         eq ne lt le gt ge isclose logical_and logical_or logical_not
# over a dimension
softmax         softmax gumbel_softmax
softmin         softmin
log_softmax     log_softmax
norm            batch_norm layer_norm group_norm instance_norm rms_norm
unit_length     normalize renorm
reduce          mean nansum nanmean logsumexp prod norm std var all any std_mean
reduce          var_mean linalg_norm linalg_vector_norm count_nonzero
total           sum
choose          min max amin amax argmin argmax topk kthvalue sort argsort median mode
choose          minimum maximum cummax cummin
running         cumsum cumprod logcumsumexp diff
# of two tensors, or of one and its weights
linear          linear bilinear
convolution     conv1d conv2d conv3d
convolution     conv_transpose1d conv_transpose2d conv_transpose3d
embedding       embedding embedding_bag
one_hot         one_hot
recurrent       lstm gru rnn_tanh rnn_relu
attention       multi_head_attention_forward scaled_dot_product_attention
product         matmul mm einsum tensordot inner outer ger mv dot vdot addmv
product         addmm
batch_product   bmm baddbmm
distance        cdist dist pairwise_distance cosine_similarity
pool            max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d
pool            adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
pool            adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
pool            lp_pool1d lp_pool2d lp_pool3d
"""

#: what hands the same numbers on, in another order, shape or type
SAME_NUMBERS = "view unit transpose expand copy cast detach pick pack join".split()
#: what of these changes neither their number nor their order by itself
RESHAPING = "view unit transpose copy detach expand".split()
#: what the results of a kind are, where it is known
_GIVES = {
    **dict.fromkeys(("softmax", "softmin", "sigmoid"), "probabilities"),
    **dict.fromkeys(("log_softmax", "log_sigmoid"), "log_probabilities"),
    **dict.fromkeys(("linear", "convolution", "norm", "embedding"), "scores"),
}


@functools.cache
def _kinds() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in KINDS.splitlines():
        first, *names = line.split() or ["#"]
        if not first.startswith("#"):
            found.update(dict.fromkeys(names, first))
    return found


def kind(name: str) -> str:
    """What a function is; "" where that is not known. In-place forms are the same.

    >>> kind("reshape"), kind("masked_fill_"), kind("fft")
    ('view', 'mask', '')
    """
    return _kinds().get(name.rstrip("_"), "")


@functools.cache
def named(*kinds: str) -> frozenset[str]:
    """The names of all functions of these kinds."""
    return frozenset(name for name, one in _kinds().items() if one in kinds)


def gives(name: str) -> str:
    """`scores` of any size, `probabilities`, `log_probabilities`; "" where unknown.

    >>> gives("log_softmax"), gives("linear"), gives("view")
    ('log_probabilities', 'scores', '')
    """
    return _GIVES.get(kind(name), "")


def takes_no_numbers(name: str) -> bool:
    """`weight.new_zeros(…)`, `zeros_like(x)`: they take a shape and a dtype alone."""
    return name == "new" or name.startswith("new_") or name.endswith("_like")
