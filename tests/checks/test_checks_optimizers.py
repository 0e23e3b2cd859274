"""What a step of an optimizer changes, and in which mode it is made."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent


class Net(nn.Module):
    """A body of two layers, a norm, dropout and a head, all of one width."""

    def __init__(self, drop=0.5):
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm, self.drop = nn.LayerNorm(8), nn.Dropout(drop)
        self.head = nn.Linear(8, 8)

    def forward(self, x):
        return self.head(self.drop(self.norm(self.two(self.one(x).relu()))))


def loss_of(model):
    return F.cross_entropy(model(torch.randn(8, 8)), torch.randint(8, (8,)))


def parameters(*modules):
    return [p for module in modules for p in module.parameters()]


def step(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


# -- steps that change nothing -------------------------------------------------------

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "fused": lambda p: torch.optim.Adam(p, fused=True),
    "foreach": lambda p: torch.optim.AdamW(p, foreach=True),
}


def cleared(make):
    model = Net()
    optimizer = make(model.parameters())
    loss_of(model).backward()
    optimizer.zero_grad()
    optimizer.step()


def of_another_model(make):
    optimizer, model = make(Net().parameters()), Net()
    step(optimizer, loss_of(model))


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize(
    ("program", "who"), [(cleared, "zero_grad"), (of_another_model, "step")]
)
def test_a_step_that_changes_nothing(program, who, make):
    assert findings(program, make) == [("step-without-effect", who)]


def test_the_two_lines_are_exchanged():
    torch.manual_seed(0)
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace() as t:
            cleared(torch.optim.SGD)
    (fix,) = t.findings[0].fixes
    assert fix.line == "optimizer.zero_grad()\nloss_of(model).backward()"
    assert fix.where.end_line == fix.where.line + 1


def accumulated():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters())
    for _ in range(2):
        for _ in range(4):
            loss_of(model).backward()
        optimizer.step()
        optimizer.zero_grad()


def one_of_two():
    """Both optimizers step after each loss; one has nothing to do then."""
    one, two = Net(), Net()
    optimizers = [torch.optim.SGD(net.parameters()) for net in (one, two)]
    for net in (one, two):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss_of(net).backward()
        for optimizer in optimizers:
            optimizer.step()


def closures():
    model = Net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    optimizer.step(closure)


def before_any_gradient():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters())
    optimizer.step()
    loss_of(model).backward()


def of_the_input():
    model, x = Net().eval(), torch.zeros(8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([x])
    step(optimizer, F.cross_entropy(model(x), torch.randint(8, (8,))))


def no_learning_rate():
    model = Net()
    step(torch.optim.SGD(model.parameters(), lr=0.0), loss_of(model))


class Own(torch.optim.Optimizer):
    """An optimizer that writes to `data`."""

    def __init__(self, params):
        super().__init__(params, {})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.data.add_(p.grad, alpha=-0.1)


def own_optimizer():
    model = Net()
    step(Own(model.parameters()), loss_of(model))


# -- layers that no optimizer holds --------------------------------------------------


def without(*names):
    def program(make):
        model = Net()
        left = {id(p) for name in names for p in getattr(model, name).parameters()}
        optimizer = make([p for p in model.parameters() if id(p) not in left])
        step(optimizer, loss_of(model))

    return program


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("name", ["head", "norm", "two"])
def test_a_layer_that_no_optimizer_holds(name, make):
    assert findings(without(name), make) == [("layer-never-trained", f"Net.{name}")]


def test_layers_that_were_replaced_after_the_optimizer_was_made():
    def program():
        model = Net()
        optimizer = torch.optim.SGD(model.parameters())
        model.norm = nn.GroupNorm(2, 8)
        step(optimizer, loss_of(model))

    assert findings(program) == [("layer-never-trained", "Net.norm")]


def only_the_head():
    model = Net()
    step(torch.optim.SGD(model.head.parameters()), loss_of(model))


def without_the_first():
    model = Net()
    step(torch.optim.SGD(parameters(model.two, model.norm, model.head)), loss_of(model))


def frozen():
    model = Net()
    model.two.requires_grad_(False)
    model.head.requires_grad_(False)
    step(torch.optim.SGD(parameters(model.one, model.norm)), loss_of(model))


def frozen_by_attribute():
    """Frozen when the recording knows them already: the model was called before."""
    model = Net()
    with torch.no_grad():
        loss_of(model)
    for parameter in parameters(model.two, model.head):
        parameter.requires_grad = False
    step(torch.optim.SGD(parameters(model.one, model.norm)), loss_of(model))


def only_the_norm():
    """As adapters are trained: most layers are left as they were."""
    model = Net()
    step(torch.optim.SGD(model.norm.parameters()), loss_of(model))


def in_two_groups():
    model = Net()
    groups = [parameters(model.one, model.two, model.norm), parameters(model.head)]
    optimizer = torch.optim.SGD(
        [{"params": g, "lr": 0.1 * i} for i, g in enumerate(groups)]
    )
    step(optimizer, loss_of(model))


def two_optimizers():
    model = Net()
    optimizers = [
        torch.optim.SGD(parameters(model.one, model.two)),
        torch.optim.Adam(parameters(model.norm, model.head)),
    ]
    loss_of(model).backward()
    for optimizer in optimizers:
        optimizer.step()


def one_of_them_own():
    model = Net()
    optimizers = [
        torch.optim.SGD(parameters(model.one, model.two)),
        Own(parameters(model.norm, model.head)),
    ]
    loss_of(model).backward()
    for optimizer in optimizers:
        optimizer.step()


def in_turns():
    """One half is trained in one step, the other one in the next."""
    model = Net()
    halves = [
        torch.optim.SGD(parameters(model.one, model.two)),
        torch.optim.SGD(parameters(model.norm, model.head)),
    ]
    for optimizer in halves:
        step(optimizer, loss_of(model))


def generator():
    """A step of a generator alone, through its critic."""
    make, critic = Net(), Net()
    scores = critic(make(torch.randn(8, 8)))[:, 0]
    loss = F.binary_cross_entropy_with_logits(scores, torch.ones(8))
    step(torch.optim.Adam(make.parameters()), loss)


class Pair(nn.Module):
    """A generator and its critic in one model."""

    def __init__(self):
        super().__init__()
        self.make, self.critic = Net(), nn.Linear(8, 1)

    def forward(self, z):
        return self.critic(self.make(z))


def generator_in_one_model():
    pair = Pair()
    loss = F.binary_cross_entropy_with_logits(pair(torch.randn(8, 8)), torch.ones(8, 1))
    step(torch.optim.Adam(pair.make.parameters()), loss)


def against_a_classifier():
    """What is made is to be taken for something by a network that stays as it is."""
    make, classify = Net(), Net()
    loss = F.cross_entropy(classify(make(torch.randn(8, 8))), torch.randint(8, (8,)))
    step(torch.optim.Adam(make.parameters()), loss)


def perceptual():
    make, features, x = Net(), Net(), torch.randn(8, 8)
    loss = F.mse_loss(features(make(x)), features(x))
    step(torch.optim.Adam(make.parameters()), loss)


def by_hand():
    model = Net()
    optimizer = torch.optim.SGD(parameters(model.one, model.two, model.norm))
    loss_of(model).backward()
    optimizer.step()
    with torch.no_grad():
        for p in model.head.parameters():
            p.sub_(p.grad, alpha=0.1)


# -- training in evaluation mode -----------------------------------------------------


def epochs(again, checked=True):
    def program():
        model = Net()
        optimizer = torch.optim.SGD(model.parameters())
        for _ in range(2):
            for _ in range(2):
                step(optimizer, loss_of(model))
            model.eval()
            if checked:
                with torch.no_grad():
                    loss_of(model)
            again(model)

    return program


@pytest.mark.parametrize("checked", [True, False])
def test_nobody_called_train_again(checked):
    program = epochs(lambda model: None, checked)
    assert findings(program) == [("trained-in-eval", "Net.drop")]


def in_eval_from_the_beginning():
    model = Net().eval()
    optimizer = torch.optim.SGD(model.parameters())
    for _ in range(3):
        step(optimizer, loss_of(model))


def adversarial_in_eval():
    """Examples are found in evaluation mode, and trained on in training mode."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters())
    for _ in range(2):
        model.eval()
        x, y = torch.randn(8, 8, requires_grad=True), torch.randint(8, (8,))
        F.cross_entropy(model(x), y).backward()
        model.train()
        harder = (x + 0.1 * x.grad.sign()).detach()
        step(optimizer, F.cross_entropy(model(harder), y))


def critic_in_eval():
    """The critic is trained in training mode, and judges in evaluation mode."""
    make, critic = Net(0.0), Net()
    of_critic = torch.optim.Adam(critic.parameters())
    of_maker = torch.optim.Adam(make.parameters())
    for _ in range(2):
        critic.train()
        real, fake = torch.randn(8, 8), make(torch.randn(8, 8)).detach()
        step(of_critic, critic(fake).mean() - critic(real).mean())
        critic.eval()
        step(of_maker, -critic(make(torch.randn(8, 8))).mean())


def attributed():
    """After the training the gradients of the input are looked at."""
    model = Net()
    step(torch.optim.SGD(model.parameters()), loss_of(model))
    model.eval()
    x = torch.randn(8, 8, requires_grad=True)
    model(x)[:, 0].sum().backward()


def one_dropout_off():
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.Linear(8, 8), nn.Dropout())
    optimizer = torch.optim.SGD(model.parameters())
    step(optimizer, loss_of(model))
    model[1].eval()
    step(optimizer, loss_of(model))


CORRECT = [
    *(accumulated, one_of_two, closures, before_any_gradient, of_the_input),
    *(no_learning_rate, own_optimizer),
    *(only_the_head, without_the_first, frozen, frozen_by_attribute),
    *(only_the_norm, in_two_groups),
    *(two_optimizers, one_of_them_own, in_turns, generator, against_a_classifier),
    *(perceptual, by_hand, generator_in_one_model),
    *(in_eval_from_the_beginning, adversarial_in_eval, critic_in_eval, attributed),
    *(one_dropout_off, epochs(nn.Module.train)),
]


@pytest.mark.parametrize("program", CORRECT, ids=lambda program: program.__name__)
def test_training_that_looks_alike(program):
    assert silent(program)
