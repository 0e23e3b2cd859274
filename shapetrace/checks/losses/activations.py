"""Losses that expect logits, probabilities or log-probabilities, given another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shapetrace.checks.facts.arguments import softmax_dim
from shapetrace.checks.facts.by_hand import activation, normalised, normalises
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import built, first_name, instead, operand, renamed
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import gives, kind
from shapetrace.signatures import loss as facts_of
from shapetrace.signatures import losses_that, named

_SOFTMAX = named("softmax")
#: activations that, made of what one of these has made, leave nearly nothing of it
_SQUASHING = ("sigmoid", "softmax")
#: activations that leave nothing below 0
_CUTTING = ("relu", "relu6", "threshold", "softplus")


def _given(
    context: CheckContext, names: Iterable[str]
) -> Iterator[tuple[FunctionCall, TensorRef, FunctionCall]]:
    """The calls of some losses, each with its prediction and what computed that."""
    for loss in context.calls(*names):
        if loss.index in context.sides:
            given, _ = context.sides[loss.index]
            for made in context.sources_of_values(given.id):
                yield loss, given, made


def _how(context: CheckContext, call: FunctionCall) -> str:
    """A call in words: the layer's name and type, or the function's."""
    layer = context.layer(call)
    if layer is None:
        does = activation(context, call)
        hand = does != plain(call.name)
        return f"a {does} by hand at {call.source}" if hand else f"{call.name}()"
    return f"{context.graph.spoken(layer)} ({layer.type})"


@check(
    "softmax-before-cross-entropy",
    "warning",
    "cross_entropy takes logits and applies log_softmax itself: after a softmax the "
    "gradients are small and the loss cannot come near 0",
)
def softmax_before_cross_entropy(context: CheckContext) -> Iterator[Diagnosis]:
    losses = losses_that(takes="logits", activation="softmax")
    for loss, given, made in _given(context, losses):
        if gives(activation(context, made)) == "probabilities":
            yield _twice(context, loss, made, given.id)
    for loss in context.calls("log_softmax"):
        for made in context.sources_of_values(loss.inputs[0].id):
            if activation(context, made) in _SOFTMAX:
                yield _twice(context, loss, made, loss.inputs[0].id)


def _twice(
    context: CheckContext, call: FunctionCall, made: FunctionCall, given: int
) -> Diagnosis:
    ref = next(ref for ref in call.inputs if ref.id == given)
    note = f"{call.name} takes logits"
    fix = (
        _argument(context, call, ref, made)
        or _without(context, made, note)
        or f"give {call.name} the logits, which go into {_how(context, made)}"
    )
    name = activation(context, made)
    again = " again" if name in _SOFTMAX else ""
    return finding(
        context,
        call,
        f"{call.name} is given probabilities: {_how(context, made)} has applied {name} "
        f"already, and {call.name} applies softmax to them{again}.",
        culprits=[culprit(context, made, "gives probabilities, not logits")],
        fixes=[fix],
        shapes=[("input", ref, None)],
        way=(given, None),
    )


def _argument(
    context: CheckContext, loss: FunctionCall, given: TensorRef, made: FunctionCall
) -> Fix | None:
    """Where others take the probabilities too, the loss alone is given what they were
    made of, by its name."""
    users = [user for ref in made.outputs or () for user, _ in context.follow(ref.id)]
    if len({user.index for user in users}) < 2 or not made.direct:
        return None
    here, there = loss.source, made.source
    name = first_name(made)
    if name is None or here is None or there is None:
        return None
    if (here.file, here.function) != (there.file, there.function):
        return None
    return operand(loss, given, name)


def _without(context: CheckContext, made: FunctionCall, note: str) -> Fix | None:
    """The line without the softmax or sigmoid in it."""
    layer = context.layer(made)
    if layer is not None:
        return built(context, layer.name, "nn.Identity()", note)
    if activation(context, made) != plain(made.name):
        return None  # what it is given stands on other lines
    return instead(made, "{}", note=note) if made.direct else None


def _in_logarithms(context: CheckContext, made: FunctionCall) -> Fix | None:
    """The line with the logarithm of the softmax or sigmoid in its place."""
    layer = context.layer(made)
    if layer is None and made.direct and made.name == "sigmoid":
        return instead(made, "F.logsigmoid({})")
    if layer is None:
        short = made.direct and made.name == "softmax"
        return renamed(made, "log_softmax") if short else None
    if layer.type not in ("Softmax", "Sigmoid"):
        return None
    dim = f"dim={softmax_dim(made)}" if layer.type == "Softmax" else ""
    name = "LogSoftmax" if layer.type == "Softmax" else "LogSigmoid"
    return built(context, layer.name, f"nn.{name}({dim})")


@check(
    "relu-before-loss",
    "warning",
    "a ReLU leaves the loss no score below 0: no class can be ruled out, and of one "
    "whose score falls below 0 nothing is learned any more",
)
def relu_before_loss(context: CheckContext) -> Iterator[Diagnosis]:
    given = _given(context, losses_that(takes="logits"))
    for call, ref, made in (*given, *_by_log_softmax(context)):
        if plain(made.name) not in _CUTTING:
            continue
        before = context.sources_of_values(made.inputs[0].id)
        if not before or any(gives(one.name) != "scores" for one in before):
            continue
        name = _how(context, made)
        yield finding(
            context,
            call,
            f"{call.name} takes scores of any sign, and {name} at {made.source} has "
            "set all that were below 0 to 0.",
            culprits=[culprit(context, made, "cuts off the scores below 0")],
            fixes=[
                None if _is_shared(context, made) else _without(context, made, ""),
                f"give {call.name} what goes into {plain(made.name)}",
            ],
            shapes=[("input", ref, None)],
            way=(ref.id, None),
        )


def _by_log_softmax(
    context: CheckContext,
) -> Iterator[tuple[FunctionCall, TensorRef, FunctionCall]]:
    """A log_softmax that goes into a loss by itself, with what computed its scores."""
    wanted = losses_that(takes="log_probabilities", class_dim=1)
    for _, _, made in _given(context, wanted):
        if made.name == "log_softmax":
            for one in context.sources_of_values(made.inputs[0].id):
                yield made, made.inputs[0], one


def _is_shared(context: CheckContext, call: FunctionCall) -> bool:
    """Whether a layer is called on another line as well."""
    layer = context.layer(call)
    if layer is None:
        return False
    calls = (one for one in context.graph.rec.calls if one.name == layer.name)
    return len({one.source for one in calls}) > 1


@check(
    "log-softmax-missing-before-nll",
    "warning",
    "nll_loss and ctc_loss take log-probabilities: on logits or probabilities they are "
    "unbounded and train towards nonsense",
)
def log_softmax_missing(context: CheckContext) -> Iterator[Diagnosis]:
    for loss in context.calls(*losses_that(takes="log_probabilities")):
        known = facts_of(loss.name)
        if known is not None and known.class_dim is not None:
            yield from _not_logs(context, loss, known.class_dim)


@check(
    "log-softmax-missing-before-kl-div",
    "warning",
    "kl_div takes log-probabilities as its first argument: of logits or probabilities "
    "it is no divergence and may be negative",
)
def log_softmax_missing_kl(context: CheckContext) -> Iterator[Diagnosis]:
    for loss in context.calls(*losses_that(takes="log_probabilities", class_dim=None)):
        yield from _not_logs(context, loss, dim=-1)


def _not_logs(
    context: CheckContext, loss: FunctionCall, dim: int
) -> Iterator[Diagnosis]:
    """`dim` is the classes', where no softmax tells which they are."""
    if loss.index not in context.sides:
        return
    given, _ = context.sides[loss.index]
    for made in context.sources_of_values(given.id):
        name = activation(context, made)
        fixes: list[Fix | str | None] = []
        if gives(name) == "probabilities":
            what = f"probabilities ({_how(context, made)})"
            new = "log_softmax" if name in _SOFTMAX else "logsigmoid"
            fixes.append(
                _in_logarithms(context, made)
                or f"take {new} of the logits, in the place of {name}"
            )
        elif gives(name) == "scores" and not _computed_table(context, made):
            what = f"raw scores (logits of {_how(context, made)}), with no log_softmax"
            if loss.name == "nll_loss":
                fixes.append(renamed(loss, "cross_entropy"))
            ref = next(ref for ref in loss.inputs if ref.id == given.id)
            fixes.append(operand(loss, ref, f"{{}}.log_softmax({dim})"))
            if not any(fixes):
                fixes = [f"give {loss.name} the log_softmax of the scores"]
        else:
            continue
        yield finding(
            context,
            loss,
            f"{loss.name} takes log-probabilities and is given {what}.",
            culprits=[culprit(context, made, "gives no log-probabilities")],
            fixes=fixes,
            shapes=[("input", given, None)],
            way=(given.id, None),
        )
        return


def _computed_table(context: CheckContext, made: FunctionCall) -> bool:
    """Whether a call looks rows up in a table that is itself a result, perhaps of
    log_softmax."""
    return made.name == "embedding" and context.made_by(made.inputs[1].id) is not None


@check(
    "sigmoid-before-bce-with-logits",
    "warning",
    "binary_cross_entropy_with_logits applies sigmoid itself: after another one all "
    "probabilities lie between 0.5 and 0.73",
)
def sigmoid_before_logits(context: CheckContext) -> Iterator[Diagnosis]:
    losses = losses_that(takes="logits", activation="sigmoid")
    for loss, given, made in _given(context, losses):
        name = activation(context, made)
        if gives(name) == "probabilities":
            drop = _argument(context, loss, given, made)
            drop = drop or _without(context, made, f"{loss.name} takes logits")
            short = loss.name == "binary_cross_entropy_with_logits"
            other = renamed(loss, "binary_cross_entropy") if short else None
            again = " again" if name == "sigmoid" else ""
            yield finding(
                context,
                loss,
                f"{loss.name} is given probabilities: {_how(context, made)} has "
                f"applied {name} already, and {loss.name} applies sigmoid{again}.",
                culprits=[culprit(context, made, "gives probabilities, not logits")],
                fixes=[drop, other, f"give {loss.name} the logits"],
                shapes=[("input", given, None)],
                way=(given.id, None),
            )


@check(
    "sigmoid-missing-before-bce",
    "warning",
    "binary_cross_entropy takes probabilities: on logits it raises as soon as one is "
    "below 0 or above 1, and is wrong until then",
)
def sigmoid_missing(context: CheckContext) -> Iterator[Diagnosis]:
    for loss, given, made in _given(context, losses_that(takes="probabilities")):
        if gives(made.name) == "scores":
            yield finding(
                context,
                loss,
                f"{loss.name} takes probabilities and is given raw scores "
                f"of {_how(context, made)}, with no sigmoid.",
                culprits=[culprit(context, made, "gives no probabilities")],
                fixes=[
                    renamed(loss, "binary_cross_entropy_with_logits")
                    or operand(loss, given, "{}.sigmoid()")
                    or f"give {loss.name} the sigmoid of the scores"
                ],
                shapes=[("input", given, None)],
                way=(given.id, None),
            )


@check(
    "activation-twice",
    "warning",
    "a sigmoid or softmax of what one has made already: from 0 to 1 it gives 0.50 to "
    "0.73, or shares that are nearly equal, whatever the model says",
)
def activation_twice(context: CheckContext) -> Iterator[Diagnosis]:
    shares = normalised(context, "softmax", "log_softmax")
    # of a log_softmax of torch's own another check tells
    shares = [one for one in shares if plain(one.call.name) != "log_softmax"]
    for call in (*context.of_kind("sigmoid"), *(one.call for one in shares)):
        first = _squashed(context, call)
        if first is not None:
            given = call.inputs[0]
            culprits = [
                culprit(context, call, "takes values between 0 and 1"),
                culprit(context, first, "makes values between 0 and 1"),
            ]
            yield finding(
                context,
                call,
                f"{activation(context, call)} takes what "
                f"{activation(context, first)} at {first.source} made, {given.shape}, "
                "as if it were scores: both are between 0 and 1.",
                # of a distribution the user's own line is what it is given
                culprits=culprits[:: -1 if plain(call.name) == "sub" else 1],
                fixes=["leave one of the two out"],
                shapes=[("input", given, None)],
                way=(given.id, None),
            )


def _squashed(context: CheckContext, call: FunctionCall) -> FunctionCall | None:
    """The activation whose values, and no others, a call takes; a softmax along another
    dimension, as for both sides of a matching, is meant."""
    own = normalises(context, call)
    given = call.inputs[0] if own is None else own.given
    made = context.sources_of_values(given.id)
    kinds = [kind(activation(context, one)) for one in made]
    if not made or any(does not in _SQUASHING for does in kinds):
        return None
    first, before = made[0], normalises(context, made[0])
    if own is None:
        return first
    # a softmax of gates only makes it flatter
    if before is None or given.shape != before.given.shape:
        return None
    return first if own.dim == before.dim else None
