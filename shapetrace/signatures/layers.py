"""torch.nn layers as their functions, for traces that recorded modules alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from shapetrace.records import FunctionCall, ModuleCall, ModuleInfo, TensorRef
from shapetrace.signatures.engine import relate
from shapetrace.signatures.guess import guess
from shapetrace.signatures.relation import DimOrigin, Relation


class _Layer(NamedTuple):
    """The function behind a layer, and where its arguments come from."""

    function: str
    #: the layer's own tensors that the function takes, by the parameter's name
    tensors: tuple[str, ...] = ()
    #: parameter=attribute, or one word where they are called the same
    attributes: tuple[str, ...] = ()


_ATTENTION = "torch.nn.modules.activation.MultiheadAttention"
#: what its forward takes, by place
_ATTENDED = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
_WB = ("weight", "bias")
_CONV = ("stride", "padding", "dilation", "groups")
_POOL = ("kernel_size", "stride", "padding", "ceil_mode")
_LOSS = ("reduction",)
_NORM = ("running_mean", "running_var", "weight", "bias")

LAYERS: dict[str, _Layer] = {
    "Linear": _Layer("linear", _WB),
    "Bilinear": _Layer("bilinear", _WB),
    "Embedding": _Layer("embedding", ("weight",)),
    "Flatten": _Layer("flatten", (), ("start_dim", "end_dim")),
    "Unflatten": _Layer("unflatten", (), ("dim", "sizes=unflattened_size")),
    "LayerNorm": _Layer("layer_norm", _WB, ("normalized_shape",)),
    "RMSNorm": _Layer("rms_norm", ("weight",), ("normalized_shape",)),
    "GroupNorm": _Layer("group_norm", _WB, ("num_groups",)),
    "PReLU": _Layer("prelu", ("weight",)),
    "GLU": _Layer("glu", (), ("dim",)),
    "PixelShuffle": _Layer("pixel_shuffle", (), ("upscale_factor",)),
    "PixelUnshuffle": _Layer("pixel_unshuffle", (), ("downscale_factor",)),
    "ChannelShuffle": _Layer("channel_shuffle", (), ("groups",)),
    "Upsample": _Layer("interpolate", (), ("size", "scale_factor")),
    "UpsamplingNearest2d": _Layer("interpolate", (), ("size", "scale_factor")),
    "UpsamplingBilinear2d": _Layer("interpolate", (), ("size", "scale_factor")),
    "Unfold": _Layer("unfold", (), ("kernel_size", "dilation", "padding", "stride")),
    "Fold": _Layer(
        "fold", (), ("output_size", "kernel_size", "dilation", "padding", "stride")
    ),
    "CosineSimilarity": _Layer("cosine_similarity", (), ("dim",)),
    "PairwiseDistance": _Layer("pairwise_distance", (), ("keepdim",)),
    **{f"Conv{n}d": _Layer(f"conv{n}d", _WB, _CONV) for n in (1, 2, 3)},
    **{
        f"ConvTranspose{n}d": _Layer(
            f"conv_transpose{n}d", _WB, (*_CONV, "output_padding")
        )
        for n in (1, 2, 3)
    },
    **{f"BatchNorm{n}d": _Layer("batch_norm", _NORM) for n in (1, 2, 3)},
    "SyncBatchNorm": _Layer("batch_norm", _NORM),
    **{f"InstanceNorm{n}d": _Layer("instance_norm", _NORM) for n in (1, 2, 3)},
    **{
        f"MaxPool{n}d": _Layer(
            f"max_pool{n}d", (), (*_POOL, "dilation", "return_indices")
        )
        for n in (1, 2, 3)
    },
    **{f"AvgPool{n}d": _Layer(f"avg_pool{n}d", (), _POOL) for n in (1, 2, 3)},
    **{
        f"LPPool{n}d": _Layer(
            f"lp_pool{n}d", (), ("norm_type", "kernel_size", "stride", "ceil_mode")
        )
        for n in (1, 2, 3)
    },
    **{
        f"Adaptive{kind}Pool{n}d": _Layer(
            f"adaptive_{kind.lower()}_pool{n}d", (), ("output_size",)
        )
        for kind in ("Max", "Avg")
        for n in (1, 2, 3)
    },
    **{
        f"{kind}Pad{n}d": _Layer("pad", (), ("pad=padding",))
        for kind in ("Constant", "Zero", "Reflection", "Replication", "Circular")
        for n in (1, 2, 3)
    },
    **{
        name: _Layer("clone")
        for name in (
            "Identity ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Sigmoid Tanh "
            "Softplus Softshrink Hardshrink Hardsigmoid Hardswish Hardtanh LogSigmoid "
            "Softsign Tanhshrink Threshold RReLU Dropout Dropout1d Dropout2d Dropout3d "
            "AlphaDropout FeatureAlphaDropout Softmax LogSoftmax Softmin Softmax2d "
            "LocalResponseNorm"
        ).split()
    },
    "MSELoss": _Layer("mse_loss", (), _LOSS),
    "L1Loss": _Layer("l1_loss", (), _LOSS),
    "SmoothL1Loss": _Layer("smooth_l1_loss", (), _LOSS),
    "HuberLoss": _Layer("huber_loss", (), _LOSS),
    "KLDivLoss": _Layer("kl_div", (), _LOSS),
    "BCELoss": _Layer("binary_cross_entropy", (), _LOSS),
    "BCEWithLogitsLoss": _Layer("binary_cross_entropy_with_logits", (), _LOSS),
    "CrossEntropyLoss": _Layer("cross_entropy", ("weight",), _LOSS),
    "NLLLoss": _Layer("nll_loss", ("weight",), _LOSS),
    **{
        f"{name}Loss": _Layer(function, (), _LOSS)
        for name, function in {
            "CosineEmbedding": "cosine_embedding_loss",
            "HingeEmbedding": "hinge_embedding_loss",
            "MarginRanking": "margin_ranking_loss",
            "MultiLabelMargin": "multilabel_margin_loss",
            "MultiMargin": "multi_margin_loss",
            "PoissonNLL": "poisson_nll_loss",
            "SoftMargin": "soft_margin_loss",
            "TripletMargin": "triplet_margin_loss",
        }.items()
    },
}


#: layers that pass on more than their own tensors, by the function that they call
_OTHERS = {
    "lstm": "LSTM",
    "gru": "GRU",
    "rnn_tanh": "RNN",
    "rnn_relu": "RNN",
    "multi_head_attention_forward": "MultiheadAttention",
}


def layers_of(function: str) -> frozenset[str]:
    """The layers of torch whose forward calls a function.

    >>> sorted(layers_of("group_norm")), sorted(layers_of("gru"))
    (['GroupNorm'], ['GRU'])
    """
    found = {name for name, layer in LAYERS.items() if layer.function == function}
    return frozenset(found | {_OTHERS.get(function, "")} - {""})


def relate_module(call: ModuleCall, info: ModuleInfo | None) -> Relation:
    """The dimensions of one layer's call, from its type and its parameters.

    Of the sources only those among `call.inputs` are given; a parameter's dimension
    is told by the note. A module that is none of torch's layers is guessed by equal
    sizes, never as a fact.
    """
    if info is not None and info.qualname == _ATTENTION:
        attended = _attention(call, info)
        if attended is not None:
            return attended
    function = None if info is None else module_function(call, info)
    if function is None:
        shapes = tuple(ref.shape for ref in call.inputs)
        outputs = tuple(guess(shapes, ref.shape) for ref in call.outputs or ())
        return Relation(outputs, {}, True)
    found = relate(function)
    count = len(call.inputs)
    return Relation(
        tuple(tuple(_own(dim, count) for dim in dims) for dims in found.outputs),
        {place: name for place, name in found.roles.items() if place[0] < count},
        found.guessed,
    )


def _own(origin: DimOrigin, count: int) -> DimOrigin:
    """The origin with the module's inputs alone as sources."""
    if all(pos < count for pos, _ in origin.sources):
        return origin
    sources = tuple(place for place in origin.sources if place[0] < count)
    return DimOrigin(origin.how, sources, origin.note, origin.sure)


def module_function(call: ModuleCall, info: ModuleInfo) -> FunctionCall | None:
    """The layer's call as that of its function; None for what is no torch layer."""
    if not info.qualname.startswith("torch.nn.modules."):
        return None
    if info.type in ("RNN", "LSTM", "GRU"):
        return _recurrent(call, info)
    layer = LAYERS.get(info.type)
    if layer is None:
        return None
    own = {ref.path: ref for ref in (*info.parameters, *info.buffers)}
    args = tuple(_placed(ref, f"args[{i}]") for i, ref in enumerate(call.inputs))
    kwargs: dict[str, Any] = {}
    for name in layer.tensors:
        if name in own:
            kwargs[name] = _placed(own[name], f"kwargs['{name}']")
    inputs = (*args, *kwargs.values())
    for entry in layer.attributes:
        name, _, attribute = entry.partition("=")
        if (attribute or name) in info.attributes:
            kwargs[name] = info.attributes[attribute or name]
    if layer.function == "pad" and isinstance(kwargs.get("pad"), int):
        kwargs["pad"] = (kwargs["pad"],) * (2 * int(info.type[-2]))
    return _function(call, layer.function, inputs, args, kwargs)


def inner_function(
    call: ModuleCall, info: ModuleInfo, modules: Mapping[str, ModuleInfo]
) -> FunctionCall | None:
    """The function that a layer's forward calls, for what that demands of the inputs;
    what it returns need not be in the order of the layer's output."""
    if info.qualname != _ATTENTION:
        return module_function(call, info)
    given = {ref.path: ref for ref in call.inputs}
    found: dict[str, TensorRef] = {}
    for place, name in enumerate(_ATTENDED):
        ref = given.get(f"args[{place}]") or given.get(f"kwargs['{name}']")
        if ref is not None:
            found[name] = ref
    if not {"query", "key", "value"} <= found.keys():
        return None
    if info.attributes.get("batch_first") and len(found["query"].shape) == 3:
        for name in _ATTENDED[:3]:
            shape = found[name].shape
            found[name] = replace(found[name], shape=(*shape[1::-1], *shape[2:]))
    out = modules.get(f"{info.name}.out_proj" if info.name else "out_proj")
    found |= {ref.path: ref for ref in (*info.parameters, *info.buffers)}
    if out is not None:
        found |= {f"out_proj_{ref.path}": ref for ref in out.parameters}
    width = info.attributes.get("embed_dim")
    own = modules.get(info.name, info).attributes.get("embed_dim")
    if isinstance(width, int) and width != own:
        # built with another width, and with it what is inside
        for name in found.keys() & {"out_proj_weight", "out_proj_bias"}:
            square = (width,) * len(found[name].shape)
            found[name] = replace(found[name], shape=square)
    kwargs: dict[str, Any] = {
        name: _placed(ref, f"kwargs['{name}']") for name, ref in found.items()
    }
    inputs = tuple(kwargs.values())
    kwargs["embed_dim_to_check"] = info.attributes.get("embed_dim")
    kwargs["num_heads"] = info.attributes.get("num_heads")
    kwargs |= {"add_zero_attn": False, "dropout_p": 0.0}
    kwargs["use_separate_proj_weight"] = "q_proj_weight" in found
    for name in ("in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "out_proj_bias"):
        kwargs.setdefault(name, None)
    return _function(call, "multi_head_attention_forward", inputs, (), kwargs)


def _attention(call: ModuleCall, info: ModuleInfo) -> Relation | None:
    """The query's dimensions with embed_dim last; then the weights."""
    outputs = call.outputs
    if not outputs or not call.inputs:
        return None
    query = call.inputs[0].shape
    keys = call.inputs[1].shape if len(call.inputs) > 1 else query
    batched = len(query) == 3
    first = bool(info.attributes.get("batch_first")) and batched
    if outputs[0].shape != query or len(keys) != len(query):
        return None
    length, batch = (1, 0) if first else (0, 1)
    out = [DimOrigin("same", ((0, d),)) for d in range(len(query) - 1)]
    related = [(*out, DimOrigin("parameter", (), "embed_dim"))]
    for ref in outputs[1:]:
        front = [out[batch]] if batched else []
        sizes = [query[batch]] if batched else []
        if len(ref.shape) == len(query) + 1:
            front.append(DimOrigin("argument", (), "num_heads"))
            sizes.append(info.attributes.get("num_heads", 0))
        at = 1 if len(call.inputs) > 1 else 0
        dims = (*front, out[length], DimOrigin("same", ((at, length),)))
        if ref.shape != (*sizes, query[length], keys[length]):
            return None
        related.append(dims)
    roles = {(0, length): "target_length", (0, len(query) - 1): "embed_dim"}
    return Relation(tuple(related), roles)


def _placed(ref: TensorRef, path: str) -> TensorRef:
    """The same tensor at another place."""
    return TensorRef(path, ref.id, ref.shape, ref.dtype, ref.device)


def _function(
    call: ModuleCall,
    name: str,
    inputs: tuple[TensorRef, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> FunctionCall:
    return FunctionCall(
        call.index,
        call.parent,
        name,
        f"torch.nn.functional.{name}",
        inputs,
        call.outputs,
        args=args,
        kwargs=kwargs,
    )


def _recurrent(call: ModuleCall, info: ModuleInfo) -> FunctionCall | None:
    """torch.lstm and kin; states that were not passed are zeros of the right shape."""
    if not call.inputs or len(call.inputs[0].shape) != 3:
        return None
    kind = info.type.lower()
    if kind == "rnn":
        kind = "rnn_tanh"
    known = info.attributes
    layers = known.get("num_layers", 1)
    both = bool(known.get("bidirectional"))
    first = bool(known.get("batch_first"))
    bias = bool(known.get("bias", True))
    data, *states = call.inputs
    wanted = 2 if kind == "lstm" else 1
    made = (layers * (2 if both else 1), data.shape[0 if first else 1])
    widths = (known.get("proj_size") or known.get("hidden_size"), known["hidden_size"])
    for width in widths[len(states) : wanted]:
        shape = (*made, int(width or 0))
        states.append(TensorRef("", 0, shape, torch.float32, data.device))
    inputs = (data, *states, *info.parameters)
    placed = tuple(_placed(ref, f"args[0][{i}]") for i, ref in enumerate(inputs))
    weights = list(placed[1 + wanted :])
    state: Any = placed[1 : 1 + wanted]
    args = (
        placed[0],
        state,
        weights,
        bias,
        layers,
        0.0,
        info.training,
        both,
        first,
    )
    return _function(call, kind, placed, args, {})
