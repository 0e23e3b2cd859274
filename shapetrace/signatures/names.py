"""A function's home and name from its qualified name."""

from __future__ import annotations

#: where the functions of torch.linalg and its like are really defined
_BUILT_IN = {
    "torch._C._linalg": ("torch.linalg", "linalg_"),
    "torch._C._fft": ("torch.fft", "fft_"),
    "torch._C._special": ("torch.special", "special_"),
    "torch._C.TensorBase": ("torch.Tensor", ""),
    "torch._tensor.Tensor": ("torch.Tensor", ""),
    "torch._C._VariableFunctions": ("torch", ""),
    "torch._C._VariableFunctionsClass": ("torch", ""),
}


def home_and_name(qualname: str) -> tuple[str, str]:
    """The public home and name: `torch.linalg`, `norm`.

    >>> home_and_name("torch._C._linalg.linalg_norm")
    ('torch.linalg', 'norm')
    """
    home, _, name = qualname.rpartition(".")
    if name == "__get__":
        home, _, name = home.rpartition(".")
    known = _BUILT_IN.get(home)
    if known is None:
        return home, name
    return known[0], name.removeprefix(known[1])
