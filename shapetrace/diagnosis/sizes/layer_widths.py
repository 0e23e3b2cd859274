"""How many features or channels a layer takes, by its attributes or its weight."""

from __future__ import annotations

from shapetrace.records import ModuleInfo

#: layers whose width is that of what goes in and comes out
_NORMS = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm", "SyncBatch")
#: what the layers of torch.nn, timm and transformers call the width that they take
_TAKES = ("in_features", "in_channels", "num_features", "input_size", "embed_dim")


def takes(info: ModuleInfo) -> int | None:
    """How many features or channels a layer takes; None where it takes any."""
    for key in _TAKES:
        value = info.attributes.get(key)
        if isinstance(value, int):
            return value
    weight = next((p for p in info.parameters if p.path == "weight"), None)
    if weight is None or info.type.startswith("Embedding"):
        return None
    if len(weight.shape) == 1 and not info.type.startswith(_NORMS):
        return None  # nn.PReLU, a scale
    return weight.shape[1] if len(weight.shape) > 1 else weight.shape[0]
