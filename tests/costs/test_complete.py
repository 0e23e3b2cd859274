"""What is not in the FLOPs is named: what torch.func hides, backwards of Functions; and
what has none is not missed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace


def traced(run, module=None):
    with shapetrace.trace(module or nn.Linear(8, 8), checks=False) as t:
        run()
    return t.costs


LAYER = nn.Linear(8, 8)
BATCHES = torch.randn(5, 4, 8)


class Mapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8))
        self.head = nn.Linear(8, 8)

    def forward(self, x):
        return self.head(torch.vmap(self.layers)(x))


def test_a_module_under_vmap_runs_for_a_batch_that_nobody_sees():
    model = Mapped()
    costs = traced(lambda: model(BATCHES), model)
    # of the mapped layer one of five was counted; of the head all
    assert costs.flops < 2 * (2 * 5 * 4 * 8 * 8)
    assert not costs.complete and "vmap" in costs.uncounted
    whole, layers, inner, head = costs.calls
    assert "vmap" in whole.uncounted and "vmap" in layers.uncounted
    assert "vmap" in inner.uncounted and "vmap" not in head.uncounted


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")  # torch's own, for jvp
@pytest.mark.parametrize(
    ("run", "named"),
    [
        (lambda: torch.vmap(lambda row: row.exp() * 2)(BATCHES[0]), "vmap"),
        (lambda: torch.func.jvp(LAYER, (BATCHES[0],), (BATCHES[0],)), "jvp"),
        (lambda: torch.func.jacrev(LAYER)(BATCHES[0, 0]), "vmap"),
    ],
)
def test_functions_that_torch_func_maps_are_named(run, named):
    assert named in traced(run, LAYER).uncounted


def test_gradients_of_torch_func_are_counted():
    parameters = dict(LAYER.named_parameters())

    def loss(parameters):
        return torch.func.functional_call(LAYER, parameters, BATCHES[0]).sum()

    costs = traced(lambda: torch.func.grad(loss)(parameters), LAYER)
    assert costs.complete
    assert (costs.flops, costs.backward_flops) == (512, 512)


class Doubled(torch.autograd.Function):
    """Runs a product in its backward that its forward does not have."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * gradient + 0 * (x.T @ x).sum()


@pytest.mark.parametrize(
    "backward",
    [
        lambda y: y.sum().backward(),
        lambda y: torch.autograd.backward([y.sum()]),
        lambda y: torch.autograd.grad(y.sum(), list(LAYER.parameters())),
    ],
)
def test_the_backward_of_a_function_of_the_users_is_named(backward):
    costs = traced(lambda: backward(Doubled.apply(LAYER(BATCHES[0]))), LAYER)
    assert costs.uncounted == ("backward of Doubled",)


def test_a_backward_through_gradients_is_named():
    """Of the layer 2 x 4 x 8 x 8 towards its input and its weight each, and towards the
    input in the first backward; what the second one does in that is not known."""

    def run():
        x = BATCHES[0].clone().requires_grad_()
        y = LAYER(x)
        (slope,) = torch.autograd.grad(y.pow(2).sum(), x, create_graph=True)
        (y.sum() + slope.pow(2).sum()).backward()

    costs = traced(run, LAYER)
    assert costs.backward_flops == 3 * 2 * 4 * 8 * 8
    assert costs.uncounted == ("grad",)


@pytest.mark.parametrize("runs", [True, False])
def test_what_a_hook_does_in_a_backward_is_not_known(runs):
    def run():
        y = LAYER(BATCHES[0])
        y.register_hook(lambda gradient: gradient @ torch.eye(8))
        if runs:
            y.sum().backward()

    assert traced(run, LAYER).uncounted == (("register_hook",) if runs else ())


def test_a_function_through_which_no_backward_runs_is_not_named():
    assert traced(lambda: Doubled.apply(LAYER(BATCHES[0])), LAYER).complete

    def run():
        Doubled.apply(LAYER(BATCHES[0]))
        LAYER(BATCHES[0]).sum().backward()

    assert traced(run, LAYER).complete


def test_what_asks_for_a_gradient_by_its_attribute_gets_one():
    def run():
        x = torch.zeros(4, 8)
        x.requires_grad = True
        LAYER(x).sum().backward()

    assert traced(run, LAYER).backward_flops == 2 * 512


def test_what_is_named_is_kept_in_a_file(tmp_path):
    model = Mapped()
    with shapetrace.trace(model) as t:
        model(BATCHES)
    t.to_json(tmp_path / "t.json")
    assert shapetrace.load(tmp_path / "t.json").costs == t.costs


def test_functions_that_depend_on_values_have_no_formula_and_are_complete():
    model = nn.Linear(3, 3)
    with shapetrace.trace(model) as t:
        y = model(torch.randn(2, 3))
        y[y > 0], torch.nonzero(y), torch.unique_consecutive(y).tolist()
        scores, ones = y.view(2, 1, 3).log_softmax(-1), torch.tensor([1])
        loss = F.ctc_loss(scores, torch.tensor([[1]]), ones + 1, ones)
        y.repeat_interleave(torch.tensor([1, 2]), 0), loss
    assert t.costs.complete and t.costs.flops == 36


def test_a_size_that_is_in_a_tensor_leaves_the_count_complete():
    model, size = nn.Linear(4, 3), torch.tensor(2)
    with shapetrace.trace(model) as t:
        model(torch.randn(6, 4)).reshape(size, 3, 3).narrow(1, size, 1)
    assert t.costs.complete and t.costs.flops == 2 * 6 * 4 * 3


def test_a_model_built_in_the_block_leaves_the_count_complete():
    with shapetrace.trace() as t:
        layer = nn.Linear(4, 3)
        nn.init.trunc_normal_(layer.weight)
        layer(torch.ones(2, 4))
    assert t.costs.flops == 2 * 2 * 4 * 3 and t.costs.uncounted == ()
