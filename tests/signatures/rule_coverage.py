"""Which functions of torch have a rule, and which have none."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import torch

from shapetrace.records import FunctionCall
from shapetrace.signatures.engine import rule_name

#: attributes of the two namespaces that are no functions from tensors to tensors
_NOT_FUNCTIONS = frozenset(
    """Callable DType Optional ScalingType SwizzleType Tensor assert_int_or_pair
    boolean_dispatch handle_torch_function has_torch_function has_torch_function_unary
    has_torch_function_variadic backward const_data_ptr data_ptr dense_dim device dim
    dim_order dtype element_size get_device grad grad_dtype grad_fn has_names
    is_coalesced is_complex is_conj is_contiguous is_cpu is_cuda is_distributed
    is_floating_point is_inference is_ipu is_leaf is_maia is_meta is_mkldnn is_mps
    is_mtia is_neg is_nested is_nonzero is_pinned is_quantized is_set_to is_shared
    is_signed is_sparse is_sparse_csr is_vulkan is_xla is_xpu item itemsize layout name
    names nbytes ndim ndimension nelement new numel numpy output_nr
    q_per_channel_axis q_scale q_zero_point qscheme record_stream register_hook
    register_post_accumulate_grad_hook reinforce requires_grad retain_grad retains_grad
    shape size sparse_dim storage storage_offset storage_type stride tolist type_ data
    untyped_storage volatile module_load indices values ccol_indices col_indices
    crow_indices row_indices q_per_channel_scales q_per_channel_zero_points
    reproducibility_notes sparse_support_notes tf32_notes BroadcastingList1
    BroadcastingList2 BroadcastingList3 GRID_SAMPLE_INTERPOLATION_MODES
    GRID_SAMPLE_PADDING_MODES TYPE_CHECKING hash_tensor""".split()
)


class Coverage(NamedTuple):
    """Names of torch.nn.functional (`F.x`) and torch.Tensor (`Tensor.x`)."""

    ruled: tuple[str, ...]
    missing: tuple[str, ...]


def coverage() -> Coverage:
    """What has a rule, and what is left to the probe and to guesses."""
    ruled: list[str] = []
    missing: list[str] = []
    for home, short, space in (
        ("torch.nn.functional", "F", torch.nn.functional),
        ("torch.Tensor", "Tensor", torch.Tensor),
    ):
        for name in dir(space):
            if name.startswith("_") or name in _NOT_FUNCTIONS:
                continue
            found = inspect.getattr_static(space, name)
            call = FunctionCall(0, None, name, f"{home}.{name}", (), ())
            if inspect.isclass(found) or inspect.ismodule(found):
                continue
            known = rule_name(call) is not None
            (ruled if known else missing).append(f"{short}.{name}")
    return Coverage(tuple(ruled), tuple(missing))
