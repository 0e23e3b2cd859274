"""What a function does to the order of numbers: which of them it picks, whether it
keeps or turns round what is larger, and whether it writes one number into some places.

A function is added by writing its name behind what it does.
"""

from __future__ import annotations

import functools

ORDER = """
# a larger number gives a larger one; a larger number gives a smaller one
rises      exp exp2 expm1 log log2 log10 log1p sqrt sigmoid expit logit tanh softplus
rises      logsigmoid softsign erf atan nan_to_num
falls      neg negative rsqrt
# numbers far below 0 become large as well
even       abs absolute square
# takes the largest, the smallest, and the largest unless told otherwise
highest    max amax argmax logsumexp softmax log_softmax cummax
lowest     min amin argmin softmin cummin
best       topk
"""

#: the argument that is written into some places of a tensor, and where it stands
FILLED = {
    "masked_fill": ("value", 2),
    "index_fill": ("value", 3),
    "fill_diagonal": ("fill_value", 1),
    "fill": ("value", 1),
    "setitem": ("value", 2),
}

#: what makes a tensor of one number, which is the last argument
CONSTANTS = ("tensor", "new_tensor", "full", "full_like", "new_full")


@functools.cache
def _orders() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in ORDER.splitlines():
        first, *names = line.split() or ["#"]
        if not first.startswith("#"):
            found.update(dict.fromkeys(names, first))
    return found


def order(name: str) -> str:
    """What a function does to the order of numbers; "" where that is not known.

    >>> order("exp_"), order("neg"), order("amin"), order("mul")
    ('rises', 'falls', 'lowest', '')
    """
    return _orders().get(name.rstrip("_"), "")
