"""Elementwise functions: of one tensor, and of several that broadcast."""

from __future__ import annotations

from shapetrace.signatures.answer import Answer, all_same, made, out_of_range
from shapetrace.signatures.binding import Bound, Operand
from shapetrace.signatures.broadcasting import spread
from shapetrace.signatures.registry import rule

#: the result has the shape of the first tensor, whatever else is passed
UNARY = """
abs absolute acos acosh angle arccos arccosh arcsin arcsinh arctan arctanh asin asinh
atan atanh bernoulli bitwise_not bfloat16 bool byte cdouble ceil celu cfloat chalf char
clone conj conj_physical contiguous coalesce cos cosh cpu cuda data deg2rad dequantize
detach digamma double dropout gumbel_softmax normalize dropout1d dropout2d dropout3d
alpha_dropout feature_dropout feature_alpha_dropout elu erf erfc erfinv exp exp2 expm1
expit fix flip fliplr flipud float floor frac frexp gelu half hardshrink hardsigmoid
hardswish hardtanh i0 i0e i1 i1e imag int int_repr invert ipu isfinite isinf isnan
isneginf isposinf isreal leaky_relu lgamma gammaln log log10 log1p log2 logical_not
logit logsigmoid log_sigmoid long matrix_exp matrix_power mish msort argsort
mvlgamma
multigammaln nan_to_num ndtr ndtri neg negative pin_memory polygamma pos positive psi
rad2deg real reciprocal relu relu6 renorm requires_grad_ resolve_conj resolve_neg roll
round rrelu rsqrt selu sgn share_memory_ short sigmoid sign signbit silu sin sinc sinh
softplus softshrink softsign sort sqrt square tan tanh tanhshrink threshold to to_dense
to_mkldnn to_sparse tril triu trunc type type_as xpu zero_ fill_ normal_ uniform_
random_ exponential_ geometric_ cauchy_ log_normal_ zeros_like ones_like empty_like
rand_like randn_like full_like randint_like index_fill index_put index_reduce
masked_scatter select_scatter slice_scatter diagonal_scatter as_strided_scatter
fill_diagonal_ put mtia cholesky cholesky_inverse as_subclass apply_ map_ map2_ erfcx
entr log_ndtr poisson _standard_gamma _sample_dirichlet standard_gamma
"""

#: values and their indices, mantissa and exponent
_PAIRS = frozenset({"sort", "cummax", "cummin", "frexp"})

#: all tensor arguments broadcast against each other
BROADCAST = """
add addcdiv addcmul and arctan2 atan2 bitwise_and bitwise_left_shift bitwise_or
bitwise_right_shift bitwise_xor clamp clamp_max clamp_min clip copysign div divide eq
float_power floor_divide floordiv fmax fmin fmod gcd ge greater greater_equal gt
heaviside hypot igamma igammac gammainc gammaincc isclose lcm ldexp le lerp less
less_equal lshift lt logaddexp logaddexp2 logical_and logical_or logical_xor
masked_fill copy_
binomial maximum minimum mod mul multiply ne nextafter not_equal or pow remainder
rshift rsub sub subtract true_divide truediv where xlogy xlog1py xor zeta complex polar
"""

_BROADCAST = frozenset(BROADCAST.split())


def is_elementwise(name: str) -> bool:
    """Whether a function works element by element on tensors that broadcast.

    >>> is_elementwise("sub_"), is_elementwise("conv2d")
    (True, False)
    """
    return name.rstrip("_") in _BROADCAST


@rule(UNARY)
def first_shape(b: Bound) -> Answer:
    """The first tensor's shape."""
    pos, shape, _ = b.first()
    dims = all_same(pos, shape)
    return Answer([dims, dims] if b.name in _PAIRS else [dims])


@rule(
    "softmax log_softmax softmin cumsum cumprod logcumsumexp cummax cummin", "input dim"
)
def along_dimension(b: Bound) -> Answer:
    """The input's shape, if it has that dimension."""
    pos, shape, _ = b.first()
    dim = b.value("dim")
    span = max(len(shape), 1)
    if isinstance(dim, int) and not -span <= dim < span:
        return Answer(conflicts=[out_of_range("input", pos, dim, len(shape))])
    dims = all_same(pos, shape)
    return Answer([dims, dims] if b.name in _PAIRS else [dims])


@rule("normal", "mean std size")
def normal(b: Bound) -> Answer:
    """A sample for each mean and deviation, where these are tensors."""
    operands = [op for name in ("mean", "std") if (op := b.tensor(name)) is not None]
    if not operands:
        sizes = b.ints("size")
        return Answer([[made("argument", size, "normal(size)") for size in sizes]])
    return spread(b, operands)


@rule(BROADCAST, "input other value")
def broadcasting(b: Bound) -> Answer:
    """All tensors broadcast; in place, to the first."""
    call = b.call
    operands = [
        Operand(pos, shape, ref)
        for pos, (shape, ref) in enumerate(zip(b.shapes, call.inputs))
        if not ref.path.startswith("kwargs['out']")
    ]
    if not operands:
        return Answer()
    if b.name == "where" and len(call.args) + len(call.kwargs) == 1:
        return Answer([[made("values", None)]] * max(len(b.shapes[0]), 1))
    if len(operands) == 1:
        return Answer([all_same(operands[0].pos, operands[0].shape)])
    return spread(b, operands, b.inplace)
