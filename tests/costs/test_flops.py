"""FLOPs are those of FlopCounterMode, and what it cannot count is named."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode, flop_registry

import shapetrace


def counted(run):
    """FLOPs forward and backward of `run() -> loss`, by torch."""
    with FlopCounterMode(display=False) as forward:
        loss = run()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return forward.get_total_flops(), backward.get_total_flops()


def too_many_of_torch(model, run):
    """What torch's formula counts too many in the backward of `run()`: of the gradient
    of a grouped convolution's weight it takes every group for the whole."""
    probe, x = nn.Conv1d(2, 2, 1, groups=2), torch.randn(1, 2, 1)
    if counted(lambda: probe(x).sum())[1] == counted(lambda: probe(x).sum())[0]:
        return 0
    found = 0

    def add(layer, args, output):
        nonlocal found
        pixels = output[:, 0].numel()
        found += 2 * pixels * layer.weight.numel() * (layer.groups - 1)

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = [one for one in model.modules() if isinstance(one, kinds)]
    handles = [one.register_forward_hook(add) for one in layers]
    run()
    for handle in handles:
        handle.remove()
    return found


def traced(model, run):
    with shapetrace.trace(model, checks=False) as t:
        run().backward()
    return t.costs


ATTENTION_HAS_A_FORMULA = (
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu in flop_registry
)
UNCOUNTED = set() if ATTENTION_HAS_A_FORMULA else {
    *("scaled_dot_product_attention", "multi_head_attention_forward"),
}  # fmt: skip


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(16, 48)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return F.scaled_dot_product_attention(q[None], k[None], v[None])


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(8, 5), nn.ReLU(True)), (3, 8)),
    "conv": (lambda: nn.Conv2d(4, 6, 3, stride=2), (2, 4, 9, 9)),
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
    assert found.complete or name == "attention" and not ATTENTION_HAS_A_FORMULA


@pytest.mark.parametrize(
    ("layer", "shape", "forward"),
    [
        # each of 8 x 8 places of 2 images meets 3 x 3 weights in each of 16 channels
        (nn.Conv2d(16, 16, 3, groups=16, padding=1), (2, 16, 8, 8), 2 * 128 * 9 * 16),
        # 4 x 4 places, 6 outputs, each of 2 channels of its group
        (nn.Conv2d(4, 6, 3, groups=2, stride=2), (2, 4, 9, 9), 2 * 32 * 9 * 6 * 2),
        # each of 9 inputs of 6 channels meets 3 weights of 2 outputs of its group
        (nn.ConvTranspose1d(6, 4, 3, groups=2, stride=2), (2, 6, 9), 2 * 18 * 36),
    ],
)
def test_each_gradient_of_a_grouped_convolution_costs_what_the_forward_does(
    layer, shape, forward
):
    x = torch.randn(shape, requires_grad=True)
    found = traced(layer, lambda: layer(x).sum())
    assert (found.flops, found.backward_flops) == (forward, 2 * forward)
    found = traced(layer, lambda: layer(x.detach()).sum())
    assert found.backward_flops == forward


@pytest.mark.parametrize(("layer", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_packed_sequences_cost_their_steps_and_no_padding(layer, gates):
    """Of 6, 3 and 1 steps: each multiplies 4 inputs and 5 states with 5 x `gates`, and
    so do the gradients of the weights. No gradient goes to the inputs, nor from the
    first step of each to the state that it began with."""
    model, x = layer(4, 5), torch.randn(6, 3, 4)

    def run():
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([6, 3, 1]))
        return model(packed)[0].data.sum()

    found = traced(model, run)
    forward = 2 * 10 * (4 + 5) * 5 * gates
    back = forward + 2 * (10 - 3) * 5 * 5 * gates
    assert (found.flops, found.backward_flops, found.complete) == (forward, back, True)
    assert (forward, back) == counted(run)


def test_fused_attention_without_a_formula_is_named_and_not_called_nothing():
    model, x = Attention(), torch.randn(2, 5, 16)
    with shapetrace.trace(model, checks=False) as t:
        model(x).sum().backward()
    at = [call.name for call in t.functions].index("scaled_dot_product_attention")
    if ATTENTION_HAS_A_FORMULA:
        assert t.costs.complete and t.costs.function_flops[at] > 0
    else:
        assert t.costs.uncounted == ("scaled_dot_product_attention",)
        assert t.costs.function_flops[at] is None
        assert t.costs.calls[0].uncounted == t.costs.uncounted


def test_attention_whose_mask_needs_a_gradient_is_counted_as_it_ran():
    class Biased(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(5, 5))

        def forward(self, x):
            return F.scaled_dot_product_attention(x, x, x, attn_mask=self.bias)

    model, x = Biased(), torch.randn(2, 3, 5, 8, requires_grad=True)
    found = traced(model, lambda: model(x).sum())
    assert (found.flops, found.backward_flops) == counted(lambda: model(x).sum())
    assert found.flops == 2 * 2 * (2 * 3 * 5 * 5 * 8) and found.complete


def test_a_backward_from_one_output_of_several_costs_that_output_alone():
    model, x = nn.Identity(), torch.randn(4, 4, requires_grad=True)

    def run():
        return torch.linalg.qr(model(x))[1].sum()

    found = traced(model, run)
    assert (found.flops, found.backward_flops) == counted(run)
    assert found.uncounted == ("linalg_qr",)


def test_reading_and_choosing_by_values_leaves_the_count_complete():
    model, x = nn.Linear(4, 3), torch.randn(2, 4)

    def run():
        y = model(x)
        keep = torch.where(y[:, 0] < 99)[0]
        assert bool(keep.any() or True) and float(x[0, 0]) < 99
        return y[y < 99].sum() + y[keep].sum()

    found = traced(model, run)
    assert (found.flops, found.backward_flops) == counted(run)
    assert found.complete


@pytest.mark.zoo
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_flops_of_torchvisions_families_are_those_of_torchs_own_counter(name):
    models = pytest.importorskip("torchvision.models")
    extra = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = getattr(models, name)(weights=None, **extra)
    x = torch.randn(2, 3, 224, 224)
    found = traced(model, lambda: model(x).sum())
    forward, backward = counted(lambda: model(x).sum())
    assert found.flops == forward
    too_many = too_many_of_torch(model, lambda: model(x))
    assert found.backward_flops == backward - too_many
    assert set(found.uncounted) <= UNCOUNTED


@pytest.mark.zoo
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_flops_of_gpt2_are_those_of_torchs_own_counter(dropout):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=2, n_embd=48, n_head=4, vocab_size=99)
    config.attn_pdrop = dropout
    model, x = transformers.GPT2LMHeadModel(config), torch.randint(99, (2, 8))
    found = traced(model, lambda: model(x).logits.sum())
    assert (found.flops, found.backward_flops) == counted(lambda: model(x).logits.sum())
    assert set(found.uncounted) <= UNCOUNTED


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


def test_a_scripted_part_is_named():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates it
        model[0] = torch.jit.script(model[0])
    with shapetrace.trace(model, checks=False) as t:
        model(torch.randn(5, 4)).sum().backward()
    assert not t.costs.complete
    assert t.costs.uncounted == t.costs.calls[0].uncounted == ("RecursiveScriptModule",)


def test_calls_in_other_threads_are_named():
    model, x, made = nn.Linear(4, 3), torch.randn(5, 4), []
    with shapetrace.trace(model, checks=False) as t:
        thread = threading.Thread(target=lambda: made.append(model(x)))
        thread.start()
        thread.join()
    assert not t.costs.complete and "Linear" in t.costs.uncounted


def test_a_factory_may_ask_for_a_gradient():
    model = nn.Linear(4, 3).requires_grad_(False)
    with shapetrace.trace(model, checks=False) as t:
        model(torch.randn(5, 4, requires_grad=True)).sum().backward()
    assert t.costs.complete
    assert t.costs.backward_flops == t.costs.flops == 2 * 5 * 4 * 3


def test_a_layer_that_hands_on_its_input_or_a_parameter_is_complete():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return x, self.table

    model = nn.Sequential(Odd())
    with shapetrace.trace(model, checks=False) as t:
        model(torch.randn(3))
    assert t.costs.complete


def test_what_is_counted_gives_no_warning_a_second_time():
    with pytest.warns(UserWarning):
        with shapetrace.trace() as t:
            torch.nn.functional.mse_loss(torch.ones(4, 1), torch.ones(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert t.costs.flops is not None
