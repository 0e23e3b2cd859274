"""Models of torchvision, timm and transformers in which one layer has another size.

The change is one line behind the model's construction, as people adapt a model:
`model.layer1[0].conv1 = nn.Conv2d(64, 48, ...)`. The culprit is that layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from .case import Case, held_out, place

VISION = """\
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision


def build():
    model = torchvision.models.{name}(weights=None, num_classes=10{more})
    return model


def step(model):
    y = torch.randint(0, 10, (2,))
    return F.cross_entropy(model(torch.randn(2, 3, {size}, {size})), y)
"""
TIMM = """\
import timm
import torch
import torch.nn as nn
import torch.nn.functional as F


def build():
    model = timm.create_model("{name}", num_classes=10)
    return model


def step(model):
    y = torch.randint(0, 10, (2,))
    return F.cross_entropy(model(torch.randn(2, 3, {size}, {size})), y)
"""
WORDS = """\
import torch
import torch.nn as nn
import torch.nn.functional as F
import transformers


def build():
    config = transformers.{config}({sizes})
    model = transformers.{name}(config)
    return model


def step(model):
    ids = torch.randint(0, 90, (2, 11))
    return model(input_ids=ids, labels=ids).loss
"""
BERT = (
    "vocab_size=100, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, "
    "intermediate_size=40"
)
LLAMA = BERT + ", num_key_value_heads=3"
PROGRAMS: dict[str, tuple[str, str]] = {
    **{
        name: ("torchvision", VISION.format(name=name, size=size, more=more))
        for name, size, more in (
            ("resnet18", 64, ""),
            ("densenet121", 64, ""),
            ("squeezenet1_1", 64, ""),
            ("shufflenet_v2_x0_5", 64, ""),
            ("mobilenet_v3_small", 64, ""),
            ("efficientnet_b0", 64, ""),
            ("regnet_y_400mf", 64, ""),
            ("convnext_tiny", 64, ""),
            ("swin_t", 64, ""),
        )
    },
    **{
        name: ("timm", TIMM.format(name=name, size=size))
        for name, size in (
            ("vit_tiny_patch16_224", 224),
            ("levit_128s", 224),
            ("mobilevit_xxs", 64),
            ("xcit_nano_12_p16_224", 224),
            ("mixer_s32_224", 224),
            ("repghostnet_050", 64),
        )
    },
    **{
        name: ("transformers", WORDS.format(name=name, config=config, sizes=sizes))
        for name, config, sizes in (
            ("BertForMaskedLM", "BertConfig", BERT),
            ("LlamaForCausalLM", "LlamaConfig", LLAMA),
            ("MistralForCausalLM", "MistralConfig", LLAMA),
            (
                "T5ForConditionalGeneration",
                "T5Config",
                "vocab_size=100, d_model=24, d_kv=8, d_ff=40, num_layers=2, "
                "num_heads=3, decoder_start_token_id=0",
            ),
            (
                "ElectraForMaskedLM",
                "ElectraConfig",
                BERT + ", embedding_size=20",
            ),
            (
                "DistilBertForMaskedLM",
                "DistilBertConfig",
                "vocab_size=100, dim=24, n_layers=2, n_heads=3, hidden_dim=40",
            ),
        )
    },
}
#: what a layer's size is changed to: a slip of a factor or of a few
CHANGES = (lambda n: n * 2, lambda n: n + 8, lambda n: n - n // 4, lambda n: n // 2)
WIDTHS = {
    nn.Linear: ("in_features", "out_features"),
    nn.Conv2d: ("in_channels", "out_channels"),
    nn.BatchNorm2d: ("num_features",),
    nn.LayerNorm: ("normalized_shape",),
    nn.Embedding: ("embedding_dim",),
}
MUTANTS = 10  # of each model


def reached(name: str) -> str:
    """`layer1.0.conv1` as the code after the model's construction writes it."""
    code = "model"
    for part in name.split("."):
        if part.isdigit():
            code += f"[{part}]"
        elif part.isidentifier():
            code += f".{part}"
        else:
            code = f'getattr({code}, "{part}")'
    return code


def changed(layer: nn.Module, attribute: str, salt: str) -> str | None:
    """The constructor of a like layer with one other size."""
    sizes = {name: getattr(layer, name) for name in WIDTHS[type(layer)]}
    if isinstance(layer, nn.LayerNorm):
        sizes[attribute] = sizes[attribute][-1]
    old = sizes[attribute]
    new = CHANGES[int(place(salt) * len(CHANGES))](old)
    if new == old or new < 2:
        return None
    sizes[attribute] = new
    if isinstance(layer, nn.Linear):
        bias = "" if layer.bias is not None else ", bias=False"
        return f"nn.Linear({sizes['in_features']}, {sizes['out_features']}{bias})"
    if isinstance(layer, nn.Conv2d):
        if layer.groups != 1 or isinstance(layer.padding, str):
            return None
        words = [str(sizes["in_channels"]), str(sizes["out_channels"])]
        words.append(plain(layer.kernel_size))
        for name in ("stride", "padding", "dilation"):
            value = plain(getattr(layer, name))
            if value != plain((0, 0) if name == "padding" else (1, 1)):
                words.append(f"{name}={value}")
        if layer.bias is None:
            words.append("bias=False")
        return f"nn.Conv2d({', '.join(words)})"
    if isinstance(layer, nn.Embedding):
        return f"nn.Embedding({layer.num_embeddings}, {new})"
    return f"nn.{type(layer).__name__}({new})"


def plain(pair: Any) -> str:
    return str(pair[0]) if pair[0] == pair[1] else str(tuple(pair))


def shared_weights(model: nn.Module) -> set[int]:
    """Weights of several layers: a layer with a new size is not tied any more."""
    seen: set[int] = set()
    shared: set[int] = set()
    for _, weight in model.named_parameters(remove_duplicate=False):
        (shared if id(weight) in seen else seen).add(id(weight))
    return shared


def zoo() -> Iterator[Case]:
    for name, (package, text) in PROGRAMS.items():
        if find_spec(package) is None:
            continue
        with torch.random.fork_rng(devices=[]):
            names: dict[str, Any] = {}
            exec(text, names)
            model = names["build"]()
        tied = shared_weights(model)
        layers = [
            (path, layer, attribute)
            for path, layer in model.named_modules()
            if type(layer) in WIDTHS and id(layer.weight) not in tied
            for attribute in WIDTHS[type(layer)]
        ]
        layers.sort(key=lambda one: place(name, one[0], one[2]))
        for path, layer, attribute in layers[:MUTANTS]:
            new = changed(layer, attribute, f"{name}/{path}/{attribute}")
            if new is None:
                continue
            broken = text.replace(
                "    return model\n", f"    {reached(path)} = {new}\n    return model\n"
            )
            title = f"{name} {path} {attribute}"
            yield Case(
                "zoo",
                name,
                title,
                "layer",
                broken,
                not held_out(name),
                frozenset([path]),
                text,
                kind=f"{type(layer).__name__} {attribute}",
            )
