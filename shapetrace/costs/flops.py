"""FLOPs of operations, by torch's own formulas, and ours where it has none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

import shapetrace.torch_internals as torch_internals
from shapetrace.costs.formulas import formulas
from shapetrace.costs.traffic import tensors_in, traffic
from shapetrace.costs.workspace import Workspace
from shapetrace.errors import costs_an_answer
from shapetrace.signatures.refusal import Refused

#: under another name in torch.ops.aten
_ATEN = {"getitem": "index", "setitem": "index_put_", "eq": "eq", "T": "t"}
#: operations made of products, for which no torch so far has a formula, or not each
_PRODUCTS = {
    *("_int_mm", "_grouped_mm", "_scaled_grouped_mm"),
    *("_sparse_mm", "_sparse_addmm", "_cdist_forward", "_cdist_backward"),
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    *("_linalg_det", "_linalg_svd", "_linalg_eigh", "_linalg_solve_ex"),
    *("linalg_eig", "linalg_lstsq", "linalg_qr", "linalg_lu", "linalg_inv_ex"),
    *("linalg_lu_factor_ex", "linalg_lu_solve", "linalg_ldl_factor_ex"),
    *("linalg_cholesky_ex", "linalg_solve_triangular", "triangular_solve"),
    *("cholesky", "cholesky_solve", "cholesky_inverse", "geqrf", "ormqr"),
    *("linalg_householder_product", "linalg_matrix_exp"),
}


#: nodes that go another way where a value is 0
_BY_VALUES = "ProdBackward"


class Count(NamedTuple):
    """FLOPs, None where they are unknown; not `whole` where some are left out."""

    flops: int | None
    whole: bool = True


@contextmanager
def counting() -> Iterator[Operations]:
    """The operations that run inside."""
    made = Operations()
    with made, made.counter:  # off in turn, also after a Ctrl-C
        yield made
    made.most, made.left = made.workspace.most, made.workspace.now


class Operations(torch_internals.DispatchMode):  # type: ignore[misc]
    """Counts operations, and notes whether products were among them that no formula
    counts; see `counting`."""

    def __init__(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode, flop_registry

        super().__init__()
        own = formulas()
        self.counter = FlopCounterMode(display=False, custom_mapping=own)
        self._formulas = {*flop_registry, *own}
        self._whole = True
        #: bytes read and written
        self.moved = 0
        self.workspace = Workspace()
        #: bytes of what was made inside: the most at a time, and what is left of them
        self.most = self.left = 0
        #: of the nodes of a backward that have this name, how many bytes one of them
        #: had beside what it gives and was given, where there were some
        self.nodes: dict[str, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        try:
            self._note(func, args, kwargs or {}, output)
        except Refused:
            raise  # how much is written depends on values
        except Exception as fault:
            # of any kind: who repeats a call takes what is raised here for torch's, and
            # goes on as if nothing could be known of it
            costs_an_answer("some FLOPs and bytes", fault)
            self._whole = False
        return output

    def _note(self, func: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        packet = torch_internals.packet_of(func)
        if packet.__name__ in _PRODUCTS and packet not in self._formulas:
            self._whole = False
        self.moved += traffic(func, args, kwargs, output)
        operands = tensors_in([*args, *kwargs.values()])
        self.workspace.made(packet.__name__, tensors_in([output]), operands)

    def follow(self, ends: Sequence[Tensor]) -> None:
        """Note what each node of the backward behind these works with."""
        open_, known = [end.grad_fn for end in ends], set()
        while open_:
            node: Any = open_.pop()
            if node is not None and node not in known:
                known.add(node)
                node.register_prehook(self.workspace.begin)
                node.register_hook(partial(self._ended, node.name()))
                open_ += [following for following, _ in node.next_functions]

    def _ended(self, name: str, *_: object) -> None:
        if name.startswith(_BY_VALUES) or _is_one_operation(name):
            return
        beside = self.workspace.most - self.workspace.now
        if beside > self.nodes.get(name, 0):
            self.nodes[name] = beside

    @property
    def count(self) -> Count:
        flops = self.counter.get_total_flops()
        return Count(flops if flops or self._whole else None, self._whole)


@cache
def _is_one_operation(node: str) -> bool:
    """Whether a node of this name, `SiluBackward0`, is an operation that devices have
    a kernel for, and the meta device makes of others."""
    name = node.rstrip("0123456789").removesuffix("Backward").lower() + "_backward"
    packet = getattr(torch.ops.aten, name, None)
    return packet is not None and any(
        torch_internals.can_decompose(getattr(packet, overload))
        for overload in packet.overloads()
    )


def is_free(name: str) -> bool:
    """Whether torch has the function as one operation and no formula for it, so that
    `FlopCounterMode` counts none; else it is made of others, or of products."""
    from torch.utils.flop_counter import flop_registry

    try:
        packet = getattr(torch.ops.aten, _ATEN.get(name, name), None)
    except TypeError:  # of a damaged report: a name that torch cannot even look up
        return False
    counted = packet in flop_registry or packet in formulas()
    if packet is None or counted or name in _PRODUCTS:
        return False
    for overload in packet.overloads():
        try:
            if torch_internals.can_decompose(getattr(packet, overload)):
                return False
        except RuntimeError:  # an overload of TorchScript alone
            continue
    return True
