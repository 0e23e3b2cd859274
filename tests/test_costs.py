"""FLOPs are those of FlopCounterMode; bytes and corrected times follow the records."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import shapetrace
from shapetrace.calibration import calibrate
from shapetrace.costs import costs, statistics
from shapetrace.records import (
    FunctionCall,
    ModuleCall,
    Overhead,
    Recording,
    TensorRef,
)


def counted(run):
    """FLOPs forward and backward of `run() -> loss`, by torch."""
    with FlopCounterMode(display=False) as forward:
        loss = run()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return forward.get_total_flops(), backward.get_total_flops()


def traced(model, run):
    with shapetrace.trace(model, checks=False) as t:
        run().backward()
    return t.costs


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(16, 48)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return F.scaled_dot_product_attention(q[None], k[None], v[None])


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(8, 5), nn.ReLU(True)), (3, 8)),
    "conv": (lambda: nn.Conv2d(4, 6, 3, groups=2, stride=2), (2, 4, 9, 9)),
    "transposed": (lambda: nn.ConvTranspose1d(3, 4, 3), (2, 3, 7)),
    "attention": (Attention, (2, 5, 16)),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16), (5, 2, 8)),
}

FAMILIES = {
    *("resnet18", "vgg11", "mobilenet_v3_small", "densenet121", "efficientnet_b0"),
    *("vit_b_32", "convnext_tiny", "swin_t", "swin_v2_t", "maxvit_t", "googlenet"),
    *("shufflenet_v2_x0_5", "mnasnet0_5", "regnet_x_400mf", "squeezenet1_0", "alexnet"),
}


@pytest.mark.parametrize("name", MODELS)
def test_flops_are_those_of_torchs_own_counter(name):
    make, shape = MODELS[name]
    model, x = make(), torch.randn(shape, requires_grad=True)
    found = traced(model, lambda: model(x).sum())
    assert (found.flops, found.backward_flops) == counted(lambda: model(x).sum())
    assert found.complete


@pytest.mark.zoo
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_flops_of_torchvisions_families_are_those_of_torchs_own_counter(name):
    models = pytest.importorskip("torchvision.models")
    extra = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = getattr(models, name)(weights=None, **extra)
    x = torch.randn(2, 3, 224, 224)
    found = traced(model, lambda: model(x).sum())
    assert (found.flops, found.backward_flops) == counted(lambda: model(x).sum())
    assert found.complete


@pytest.mark.zoo
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_flops_of_gpt2_are_those_of_torchs_own_counter(dropout):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_embd=48, n_head=4, vocab_size=99)
    config.attn_pdrop = dropout
    model, x = transformers.GPT2LMHeadModel(config), torch.randint(99, (2, 8))
    found = traced(model, lambda: model(x).logits.sum())
    assert (found.flops, found.backward_flops) == counted(lambda: model(x).logits.sum())
    assert found.complete


def test_frozen_layers_and_no_grad_cost_no_backward():
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), torch.randn(2, 4)
    model[0].requires_grad_(False)

    def run():
        with torch.no_grad():
            seen = model[1](x)
        return model(seen).sum()

    found = traced(model, run)
    assert (found.flops, found.backward_flops) == counted(run)


def test_a_gradient_towards_one_tensor_costs_only_the_way_there():
    model, x = nn.Linear(4, 3), torch.randn(2, 4, requires_grad=True)
    with shapetrace.trace(model) as t:
        torch.autograd.grad(model(x).sum(), x)
    out = model(x).sum()
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(out, x)
    assert t.costs.backward_flops == counter.get_total_flops()


def test_a_call_has_the_flops_of_all_that_is_inside_it():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with shapetrace.trace(model) as t:
        model(torch.randn(5, 4))
    assert [cost.flops for cost in t.costs.calls] == [180, 120, 60]
    assert t.costs.backward_flops is None


def test_what_cannot_be_counted_is_named_and_the_rest_is_counted():
    ran = []

    @torch.library.custom_op("shapetrace_tests::own", mutates_args=())
    def own(x: torch.Tensor) -> torch.Tensor:
        ran.append(x)
        return x.clone()

    model = nn.Linear(3, 3)
    with shapetrace.trace(model, checks=False) as t:
        own(torch.ops.aten.mm.default(model(torch.randn(2, 3)), torch.randn(3, 5)))
    assert t.costs.flops == 36 + 60
    assert not t.costs.complete and any("own" in name for name in t.costs.uncounted)
    assert len(ran) == 1, "the user's own code is not run again"


def test_functions_that_depend_on_values_have_no_formula_and_are_complete():
    model = nn.Linear(3, 3)
    with shapetrace.trace(model) as t:
        y = model(torch.randn(2, 3))
        y[y > 0], torch.nonzero(y), torch.unique_consecutive(y).tolist()
    assert t.costs.complete and t.costs.flops == 36


def test_hooks_alone_know_no_flops():
    model = nn.Linear(3, 3)
    with shapetrace.trace(model, functions=False) as t:
        model(torch.randn(2, 3))
    assert t.costs.flops is None
    assert not t.costs.complete


def test_recomputation_under_checkpointing_costs_what_the_layer_cost_before():
    model, x = nn.Linear(4, 3), torch.randn(2, 4, requires_grad=True)
    with shapetrace.trace(model) as t:
        checkpoint(model, x, use_reentrant=True).sum().backward()
    first, again = t.costs.calls
    assert again.flops == first.flops == 48
    assert t.costs.flops == 96
    assert "backward of a recomputation" in t.costs.uncounted


def test_a_backward_that_the_records_do_not_lead_to_is_not_called_complete():
    model = nn.ModuleList([nn.Linear(4, 3), nn.Linear(3, 2)])
    x = torch.randn(5, 4, requires_grad=True)
    with shapetrace.trace(model, checks=False) as t:
        model[1](checkpoint(model[0], x, use_reentrant=True)).sum().backward()
    assert not t.costs.complete and "backward" in t.costs.uncounted


def test_a_custom_function_in_between_does_not_end_the_backward():
    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g

    model, x = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), torch.randn(5, 4)

    def run():
        return model[1](Same.apply(model[0](x))).sum()

    found = traced(model, run)
    assert (found.flops, found.backward_flops) == counted(run)


def test_checkpointing_that_stops_early_is_no_failure_of_the_layer():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Tanh()), torch.randn(2, 4)
    with shapetrace.trace(model, checks=False) as t:
        checkpoint(model, x, use_reentrant=False).sum().backward()
    assert t.failure is None
    assert [call.error for call in t.calls] == [None] * 6


def test_counting_leaves_the_random_state_and_the_grad_mode_alone():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    with shapetrace.trace(model) as t:
        model(torch.randn(2, 3)).sum().backward()
    before = torch.get_rng_state()
    with torch.no_grad():
        assert t.costs.backward_flops == 36
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_bytes_of_inputs_outputs_parameters_and_buffers():
    model = nn.BatchNorm1d(3)
    with shapetrace.trace(model) as t:
        model(torch.randn(5, 3))
    cost = t.costs.calls[0]
    assert (cost.input_bytes, cost.output_bytes) == (60, 60)
    assert (cost.parameter_bytes, cost.buffer_bytes) == (24, 32)


def test_views_move_no_bytes():
    model = nn.Flatten()
    with shapetrace.trace(model) as t:
        model(torch.randn(5, 3, 2))
    assert t.costs.calls[0].moved_bytes == 0


def call(index, parent, start, duration, own, **more):
    return ModuleCall(
        index, parent, 0 if parent is None else 1, f"m{index}", "M", (), (),
        start_ns=start, duration_ns=duration, self_ns=own, **more,
    )


def test_the_tracers_own_cost_is_taken_off_the_parents():
    children = [call(at, 0, 100 * at, 60, 60) for at in range(1, 11)]
    cost = Overhead(module=50, module_inside=10, function=0, function_inside=0)
    rec = Recording(
        (call(0, None, 0, 1200, 600), *children), (), {}, {}, overhead=cost
    )
    found = costs(rec)
    assert found.calls[1].corrected_ns == 50
    assert found.calls[0].corrected_ns == 1200 - 10 - 10 * 50
    assert found.calls[0].corrected_self_ns == 600 - 10 - 10 * 40
    assert found.distortion == pytest.approx(510 / 1200)


@pytest.mark.parametrize(
    ("name", "size", "outer", "inner"),
    [("mul", 1 << 20, 890, 450), ("mul", 8, 930, 470), ("view", 1 << 20, 930, 470)],
)
def test_the_tracer_costs_more_around_a_kernel_that_empties_the_cache(
    name, size, outer, inner
):
    def tensor(at):
        return (TensorRef("", at, (size,), torch.float32, torch.device("cpu")),)

    kernel = FunctionCall(0, 1, name, name, tensor(1), tensor(2), duration_ns=400)
    cost = Overhead(
        module=40, module_inside=10, function=20, function_inside=0,
        module_cold=20, function_cold=20,
    )  # fmt: skip
    calls = (call(0, None, 0, 1000, 500), call(1, 0, 100, 500, 500))
    found = costs(Recording(calls, (kernel,), {}, {}, overhead=cost))
    assert found.calls[1].corrected_ns == inner
    assert found.calls[0].corrected_ns == outer


def test_calibration_leaves_no_hook_and_touches_no_random_state():
    before = torch.get_rng_state()
    found = calibrate()
    assert found is not None and found.module >= found.module_inside > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_calibration_does_not_run_under_the_users_global_hooks():
    seen = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, output: seen.append(module)
    )
    try:
        assert calibrate() is None and not seen
    finally:
        handle.remove()


def test_statistics_put_the_first_call_apart():
    calls = [
        replace(call(at, None, 0, time, time), name="")
        for at, time in enumerate([900, 30, 10, 20])
    ]
    found = statistics(Recording(tuple(calls), (), {}, {}))[""]
    assert (found.calls, found.first_ns, found.min_ns) == (4, 900, 10)
    assert (found.median_ns, found.p95_ns, found.max_ns) == (20, 30, 30)


def test_dimensions_that_vary_between_batches_are_listed():
    model = nn.Linear(4, 3)
    with shapetrace.trace(model) as t:
        for batch in (32, 32, 7):
            model(torch.randn(batch, 4))
    assert statistics(t.recording)[""].varying == {"args[0] dim 0": (32, 7)}
    frame = t.to_dataframe(by="module")
    assert frame["varying"].tolist() == ["args[0] dim 0: 32, 7"]


def test_max_calls_keeps_the_newest_and_says_what_was_dropped():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with shapetrace.trace(model, max_calls=12) as t:
        for batch in range(1, 41):
            last = model(torch.randn(batch, 4))
    assert 6 <= len(t.calls) <= 18
    assert len(t.calls) + t.recording.dropped_calls == 120
    assert t.calls[-3].inputs[0].shape == (40, 4)
    assert any("dropped" in note for note in t.recording.notes)
    assert t.lineage(last)[0].name == "1"


def test_after_a_drop_parameters_are_still_known_as_such():
    model = nn.Linear(2, 2)
    with shapetrace.trace(model, max_calls=2) as t:
        for _ in range(9):
            model(torch.randn(1, 2))
    names = {origin.name for origin in t.recording.origins.values()}
    assert {"weight", "bias"} <= names


def test_the_summary_fits_the_width_and_sorts_by_own_time():
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    with shapetrace.trace(model, memory=True, backward=True) as t:
        for _ in range(3):
            model(torch.randn(16, 64)).sum().backward()
    text = t.summary(80)
    assert max(map(len, text.splitlines())) <= 80
    assert "without the tracer's own cost" in text and "FLOPs" in text


def test_costs_survive_json(tmp_path):
    model = nn.Linear(4, 3)
    with shapetrace.trace(model, memory=True, backward=True) as t:
        model(torch.randn(2, 4)).sum().backward()
    t.to_json(tmp_path / "t.json")
    again = shapetrace.load(tmp_path / "t.json")
    assert again == t
    assert again.costs == t.costs
