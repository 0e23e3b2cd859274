"""A module's qualified name as Python reaches it."""

from __future__ import annotations


def reached(model: str, inner: str) -> str:
    """`model.out[2].fc` for `out.2.fc` inside what the code calls `model`.

    Example:
        >>> reached("net", "stages.0.block1-2.fc")
        'net.stages[0]._modules["block1-2"].fc'
    """
    text = model
    for part in inner.split(".") if inner else ():
        if part.isdigit():
            text += f"[{part}]"
        elif part.isidentifier():
            text += f".{part}"
        else:  # named by add_module(): no attribute that can be written out
            text += f'._modules["{part}"]'
    return text
