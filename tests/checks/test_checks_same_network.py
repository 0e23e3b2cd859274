"""Target networks that are the learning network itself, and those that are none."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

SIZES = [(6, 5, 3), (4, 4, 4)]
PROGRAM = """
import copy, torch
from torch import nn
from torch.nn import functional as F

class Agent:
    def __init__(self, rows, width, actions, double=False):
        self.rows, self.width, self.actions = rows, width, actions
        self.q_net, self.target_net = self.network(), self.network()
        BUILT
        self.optimizer = torch.optim.SGD(self.q_net.parameters(), lr=0.1)

    def network(self):
        hidden = nn.Linear(self.width, self.width)
        return nn.Sequential(hidden, nn.Tanh(), nn.Linear(self.width, self.actions))

    def step(self):
        s, then = torch.randn(2, self.rows, self.width)
        a = torch.randint(0, self.actions, (self.rows, 1))
        value = self.q_net(s).gather(1, a)
        best = self.target_net(then).max(1, keepdim=True)[0].detach()
        self.learn(F.mse_loss(value, torch.randn(self.rows, 1) + 0.9 * best))

    def learn(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def update(self, number, tau=0.1):
        UPDATE

def train(sizes):
    agent = Agent(*sizes)
    for number in range(3):
        agent.step()
        agent.update(number)
"""
SAME = "self.target_net = self.q_net"
HIDDEN = "setattr(self, 'target_net', self.q_net)"
COPY = "self.target_net.load_state_dict(self.q_net.state_dict())"
ZIP = "for target, own in zip(self.target_net.parameters(), self.q_net.parameters()): "
AVERAGE = f"{ZIP}target.data.copy_(tau * own.data + (1 - tau) * target.data)"
LERP = f"""with torch.no_grad():
            {ZIP}target.lerp_(own, tau)"""
ONE_BY_ONE = f"{ZIP}target.data.copy_(own.data)"
COPIES = [COPY, AVERAGE, LERP, ONE_BY_ONE]


@pytest.fixture
def program(tmp_path):
    """The training of an agent, whose class is written into a file of its own."""

    def built(made="pass", update="pass"):
        text = PROGRAM.replace("BUILT", made).replace("UPDATE", update)
        (tmp_path / "agent.py").write_text(text)
        names = {"__name__": "agent"}
        exec(compile(text, str(tmp_path / "agent.py"), "exec"), names)
        return names["train"]

    return built


SET = {
    (SAME, "pass"): "self.target_net = copy.deepcopy(self.q_net)",
    ("pass", SAME): COPY,
    ("pass", f"{COPY}; {SAME}"): COPY,
    ("pass", f"if number % 2 == 0: {SAME}"): COPY,
}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("lines", SET)
def test_a_target_network_that_is_set_to_the_learner(program, lines, sizes):
    train = program(*lines)
    with pytest.warns(shapetrace.ShapeTraceWarning), shapetrace.trace() as t:
        train(sizes)
    (found,) = t.findings
    assert found.code == "target-is-learner"
    assert t.recording.modules[found.culprits[0].name].type == "Sequential"
    assert [SET[lines] in fix.line for fix in found.fixes] == [True]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("update", COPIES)
def test_parameters_that_are_copied_onto_themselves(program, update, sizes):
    """No statement sets one to the other: the copies alone tell."""
    found = findings(program(HIDDEN, update), sizes)
    assert [code for code, _ in found] == ["target-is-learner"]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("update", ["pass", *COPIES])
def test_two_networks(program, update, sizes):
    assert silent(program(update=update), sizes)


CHOICES = [
    *(HIDDEN, f"if not double: {SAME}"),
    f"{SAME} if not double else self.target_net",
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("made", CHOICES)
def test_one_network_by_choice(program, made, sizes):
    assert silent(program(made), sizes)


class Agent:
    """A learner of values, with a network that its targets are from."""

    def __init__(self, rows, width, actions):
        self.rows, self.width, self.actions = rows, width, actions
        self.q_net, self.target_net = self.network(), self.network()
        self.optimizer = torch.optim.SGD(self.q_net.parameters(), lr=0.1)

    def network(self):
        hidden = nn.Linear(self.width, self.width)
        return nn.Sequential(hidden, nn.Tanh(), nn.Linear(self.width, self.actions))

    def learn(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def step(self):
        s, then = torch.randn(2, self.rows, self.width)
        self.learn(F.mse_loss(self.q_net(s), self.target_net(then).detach()))

    def copied(self):
        self.target_net.load_state_dict(self.q_net.state_dict())


class Correct(Agent):
    def one_name(self):
        s, then = torch.randn(2, self.rows, self.width)
        a = torch.randint(0, self.actions, (self.rows, 1))
        best = self.q_net(then).max(1, keepdim=True)[0].detach()
        self.learn(F.mse_loss(self.q_net(s).gather(1, a), 0.9 * best))

    def a_local_name_for_both(self):
        target_net = net = self.q_net  # as one is set to both
        s = torch.randn(self.rows, self.width)
        self.learn(F.mse_loss(net(s), target_net(s * 2).detach()))

    def both_learn(self):
        """Words of two languages that share a layer."""
        source = self.q_net
        target = source
        x, y = torch.randn(2, self.rows, self.width)
        self.learn(F.mse_loss(source(x), target(y)))

    def only_looked_at(self):
        model = self.q_net
        ema = model
        x = torch.randn(self.rows, self.width)
        self.learn(model(x).square().mean())
        with torch.no_grad():
            ema(x).mean().item()

    def a_copy(self):
        self.target_net = copy.deepcopy(self.q_net)
        self.step()

    def restored(self):
        """Its own values, by one name."""
        self.q_net.load_state_dict(self.q_net.state_dict())
        self.step()

    def restored_by_its_own_name(self):
        self.target_net.load_state_dict(self.target_net.state_dict())
        self.step()

    def written_back_from_a_wrapper(self):
        wrapped = nn.ModuleDict({"module": self.q_net})
        self.q_net.load_state_dict(wrapped["module"].state_dict())
        self.step()

    def restored_from_what_was_saved(self):
        saved = self.target_net.state_dict()
        self.target_net.load_state_dict(saved)
        self.step()

    def one_layer_shared(self):
        self.target_net[0] = self.q_net[0]
        self.copied()
        self.step()

    def decayed_by_hand(self):
        for own, target in zip(self.q_net.parameters(), self.target_net.parameters()):
            own.data.copy_(own.data * 0.99)
        self.step()

    def kept_and_put_back(self):
        kept = copy.deepcopy(self.q_net.state_dict())
        self.step()
        self.q_net.load_state_dict(kept)


CORRECT = [
    *(Correct.one_name, Correct.a_local_name_for_both, Correct.both_learn),
    *(Correct.only_looked_at, Correct.a_copy, Correct.restored),
    *(Correct.written_back_from_a_wrapper, Correct.one_layer_shared),
    *(Correct.decayed_by_hand, Correct.kept_and_put_back),
    *(Correct.restored_by_its_own_name, Correct.restored_from_what_was_saved),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("step", CORRECT)
def test_networks_that_are_what_they_are_called(step, sizes):
    def program(agent):
        for _ in range(2):
            step(agent)

    assert silent(program, Correct(*sizes))


def test_one_parameter_that_two_networks_share():
    agent = Correct(6, 5, 3)
    agent.target_net[2].bias = agent.q_net[2].bias

    def program():
        agent.step()
        agent.copied()

    assert silent(program)
