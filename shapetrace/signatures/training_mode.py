"""Which functions do something else in training than in evaluation, and in which a call
was."""

from __future__ import annotations

from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures.kinds import kind

#: where a function takes the rate of its dropout, and whether it is in training
_DROPS = {
    "dropout": (("p", 1), ("training", 2)),
    "multi_head_attention_forward": (("dropout_p", 10), ("training", 13)),
}
#: the same of a recurrent layer, which takes no names: (input, hx, weights, has_biases,
#: num_layers, dropout, train, bidirectional), and one more in front where it is packed
_RECURRENT = {"num_layers": 4, "dropout": 5, "train": 6, "bidirectional": 7}


def recurrent_setting(call: FunctionCall, name: str) -> object:
    """What a recurrent layer is told: `num_layers`, `dropout`, `train`,
    `bidirectional`; None where that is not known."""
    args = call.args
    packed = len(args) > 3 and isinstance(args[1], TensorRef)
    packed = packed and isinstance(args[3], (tuple, list))
    place = _RECURRENT[name] + packed
    return args[place] if len(args) > place else None


def drops(call: FunctionCall) -> bool | None:
    """Whether a call drops values, as in training; None where it never does.

    >>> drops(FunctionCall(0, None, "dropout", "torch.dropout", (), (),
    ...                    args=(None, 0.5, False)))
    False
    """
    if kind(call.name) == "recurrent":
        layers = recurrent_setting(call, "num_layers")
        several = isinstance(layers, int) and layers > 1
        rate = recurrent_setting(call, "dropout") if several else None
        training = recurrent_setting(call, "train")
    else:
        name = "dropout" if kind(call.name) == "dropout" else call.name
        if name not in _DROPS:
            return None
        rate, training = (_given(call, *each) for each in _DROPS[name])
    return training if rate and isinstance(training, bool) else None


def takes_statistics(call: FunctionCall) -> bool | None:
    """Whether a batch norm normalises by its batch, as in training, and not by what it
    has seen; None where it could not, or another call."""
    if call.name != "batch_norm":
        return None
    training = _given(call, "training", 5)
    running = _given(call, "running_mean", 1)
    return training if running is not None and isinstance(training, bool) else None


def _given(call: FunctionCall, name: str, place: int) -> object:
    if name in call.kwargs:
        return call.kwargs[name]
    return call.args[place] if len(call.args) > place else None
