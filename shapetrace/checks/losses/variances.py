"""Noise that is scaled by a variance, where its root was meant."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import instead
from shapetrace.checks.losses.unbounded import terms
from shapetrace.records import Diagnosis, FunctionCall, TensorRef

#: backwards that are looked at: a training loop makes the same in each step
_FIRST = 8
_NORMAL = ("randn", "randn_like", "normal", "normal_")


@check(
    "variance-as-deviation",
    "warning",
    "exp(x) is a variance in the loss and scales the noise as if it were the standard "
    "deviation: samples come from another distribution than the one that is fitted",
)
def variance_as_deviation(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    noisy = list(_noisy(context))
    if not noisy:
        return
    known = {
        context.undressed(given.id)
        for backward in context.by_name.get("backward", ())[:_FIRST]
        for given in _variances(context, backward)
    }
    for product, scale in noisy:
        given = scale.inputs[0]
        if context.undressed(given.id) not in known:
            continue
        yield finding(
            context,
            rule,
            product,
            f"the noise is scaled by exp of {given.shape}, made at {scale.source}, and "
            "the loss takes the same exponential for the variance: its root, "
            "exp(x / 2), is the deviation.",
            culprits=[
                culprit(context, scale, "is the variance"),
                culprit(context, product, "scales noise by a variance"),
            ],
            fixes=[
                instead(scale, "torch.exp(0.5 * {})")
                or "scale the noise by exp(0.5 * x)"
            ],
            shapes=[("logarithm", given, None)],
            way=(given.id, None),
        )


def _variances(context: CheckContext, backward: FunctionCall) -> Iterator[TensorRef]:
    """What a loss holds itself and, with the other sign, as an exponential: the
    logarithm of a variance, as in `1 + x - mean ** 2 - exp(x)`."""
    signs: dict[int, set[int]] = {}
    for ref in backward.inputs[:1]:
        for term in terms(context, ref):
            signs.setdefault(term.ref.id, set()).add(term.sign)
    for tensor, own in signs.items():
        made = context.made_by(tensor)
        if made is not None and made.name == "exp":
            if signs.get(made.inputs[0].id) == {-sign for sign in own}:
                yield made.inputs[0]


def _noisy(context: CheckContext) -> Iterator[tuple[FunctionCall, FunctionCall]]:
    """The products of noise and an exponential."""
    for call in context.calls("mul"):
        if len(call.inputs) != 2:
            continue
        for noise, other in (call.inputs, call.inputs[::-1]):
            drawn = context.made_by(context.undressed(noise.id))
            scale = context.made_by(context.undressed(other.id))
            if drawn is None or scale is None or scale.name != "exp":
                continue
            if drawn.name in _NORMAL:
                yield call, scale
