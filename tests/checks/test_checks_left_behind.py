"""Copies of networks that follow them, and those that stay behind."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

CODE = "copy-left-behind"


class Agent(nn.Module):
    """Networks of as many features as samples, and copies of them by other names."""

    def __init__(self, pattern="target_{}", other=None):
        super().__init__()
        self.actor, self.critic = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4))
        self.names = {"actor": (other or pattern).format("actor")}
        self.names["critic"] = pattern.format("critic")
        for name, of in self.names.items():
            setattr(self, of, copy.deepcopy(getattr(self, name)))

    def copy_of(self, name):
        return getattr(self, self.names[name])

    def loss(self, used=("actor", "critic")):
        state, value = torch.randn(4, 4), torch.randn(4, 4)
        with torch.no_grad():
            for name in used:
                value = self.copy_of(name)(value)
        return F.mse_loss(self.critic(self.actor(state)), value)


def by_lerp(agent, name):
    with torch.no_grad():
        pairs = zip(agent.copy_of(name).parameters(), getattr(agent, name).parameters())
        for old, new in pairs:
            old.lerp_(new, 0.1)


def by_data(agent, name):
    pairs = zip(agent.copy_of(name).parameters(), getattr(agent, name).parameters())
    for old, new in pairs:
        old.data.copy_(0.9 * old.data + 0.1 * new.data)


def by_state(agent, name):
    agent.copy_of(name).load_state_dict(getattr(agent, name).state_dict())


def all_at_once(agent, *names):
    old = [p for name in names for p in agent.copy_of(name).parameters()]
    new = [p for name in names for p in getattr(agent, name).parameters()]
    with torch.no_grad():
        torch._foreach_lerp_(old, new, 0.1)


def found(agent, follow, train=("actor", "critic"), used=("actor", "critic")):
    torch.manual_seed(0)
    held = [p for name in train for p in getattr(agent, name).parameters()]
    optimizer = torch.optim.SGD(held, 0.1)
    with shapetrace.trace(agent) as t:
        for _ in range(2):
            optimizer.zero_grad()
            agent.loss(used).backward()
            optimizer.step()
            follow(agent)
    return [one.culprits[0].name for one in t.findings if one.code == CODE]


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("update", [by_lerp, by_data, by_state, all_at_once])
@pytest.mark.parametrize("pattern", ["target_{}", "{}_target", "slow_moving_{}"])
def test_the_copy_that_is_forgotten(pattern, update):
    agent = Agent(pattern)
    told = found(agent, lambda agent: update(agent, "critic"))
    assert told == [pattern.format("actor")]


@pytest.mark.parametrize("update", [by_lerp, by_data, by_state])
def test_all_follow(update):
    both = lambda agent: [update(agent, name) for name in agent.names]  # noqa: E731
    assert found(Agent(), both) == []


def test_all_follow_at_once():
    assert found(Agent(), lambda agent: all_at_once(agent, "critic", "actor")) == []


def test_none_follows_yet():
    assert found(Agent(), lambda agent: None) == []


def test_names_that_differ_otherwise():
    """The policy that the other one is held to stays as it was."""
    agent = Agent(other="ref_{}")
    assert found(agent, lambda agent: by_lerp(agent, "critic")) == []


def test_a_copy_that_is_not_called():
    follow = lambda agent: by_lerp(agent, "critic")  # noqa: E731
    assert found(Agent(), follow, used=("critic",)) == []


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_a_network_that_is_not_trained():
    follow = lambda agent: by_lerp(agent, "critic")  # noqa: E731
    assert found(Agent(), follow, train=("critic",)) == []


def test_what_is_called_so_and_is_no_copy():
    agent = Agent()
    agent.target_actor = nn.Bilinear(4, 4, 4)
    agent.target_actor.forward = lambda x: x
    assert found(agent, lambda agent: by_lerp(agent, "critic")) == []


def test_a_copy_of_other_sizes():
    agent = Agent()
    agent.target_actor = nn.Linear(4, 4, bias=False)
    assert found(agent, lambda agent: by_lerp(agent, "critic")) == []


def test_one_copy_alone():
    agent = Agent()
    agent.target_actor = nn.Identity()
    assert found(agent, lambda agent: by_lerp(agent, "critic")) == []
