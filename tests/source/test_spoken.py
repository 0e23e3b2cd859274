"""Texts and tables call a root what the script calls it; the data keep their names."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import checkpoint

import shapetrace
from shapetrace.records import ScriptName
from shapetrace.source.spoken import spoken


class Agent:
    def __init__(self) -> None:
        self.actor = nn.Linear(8, 10)
        self.critic = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 1))


def first_column(t):
    table = str(t).split("\n\n")[1].splitlines()[2:]
    return [row.split("  ")[0] for row in table]


def test_roots_of_a_script_have_their_names_in_tables_and_explanations():
    agent = Agent()
    with shapetrace.trace() as t:
        agent.critic(torch.randn(2, 8))
        with pytest.raises(IndexError):
            F.cross_entropy(agent.actor(torch.randn(12, 8)), torch.arange(12))
    assert first_column(t)[:3] == ["agent.critic", "├─0", "└─1"]
    assert "agent.actor" in first_column(t)
    text = str(t.failure)
    assert "from agent.actor at" in text and "`agent.actor` makes the 10" in text
    # what a program reads is as ever
    assert [call.name for call in t.calls if call.parent is None] == [
        "Sequential",
        "Linear",
    ]
    assert t.failure.culprits[0].name == "Linear"


def test_the_one_module_of_a_trace_has_its_name_too(tmp_path):
    net = nn.Sequential(nn.Linear(4, 3))
    with shapetrace.trace(net) as t:
        net(torch.ones(2, 4))
    assert first_column(t)[0] == "net"
    assert str(t.explain(t.calls[0])).startswith("module:net: (2, 4) -> (2, 3)")
    t.to_json(tmp_path / "t.json")
    assert str(shapetrace.load(tmp_path / "t.json")) == str(t)
    assert ">net<" in t._repr_html_()


def test_what_a_summary_calls_for_the_user_has_the_name_that_it_was_given():
    net = nn.Sequential(nn.Linear(4, 3))
    for text in (
        shapetrace.summary(net, input_size=(2, 4)),
        shapetrace.summary(model=net, input_data=torch.ones(2, 4)),
    ):
        assert first_column(text)[0] == "net"
    unnamed = shapetrace.summary(nn.Sequential(nn.Linear(4, 3)), input_size=(2, 4))
    assert first_column(unnamed)[0] == "(root)"


def test_a_module_that_raises_is_named_wherever_it_is_told():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    broken = Broken()
    with shapetrace.trace(broken) as t, pytest.raises(ValueError):
        broken(torch.ones(2))
    assert t.failure.where == "module:"
    assert "failed at module:broken" in str(t)
    assert "`broken` raised ValueError" in str(t.failure).replace(" (Broken)", "")
    assert "<code>broken</code>" in t.failure._repr_html_()


def test_names_that_two_roots_share_are_none():
    layers = [nn.Linear(4, 4), nn.Linear(4, 4)]
    with shapetrace.trace() as t:
        x = torch.ones(2, 4)
        for layer in layers:
            x = layer(x)
    assert t.recording.called == ()
    assert first_column(t)[0].startswith("Linear")


def test_what_no_line_names_stays_as_it_was():
    model = nn.Linear(4, 4)
    with shapetrace.trace(model) as t:
        list(map(model, [torch.ones(2, 4)]))
    assert t.recording.called == ()
    assert first_column(t)[0] == "(root)"


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_calls_a_module_for_the_user_is_not_taken_for_it(reentrant):
    model = nn.Linear(4, 4)
    x = torch.ones(2, 4, requires_grad=True)
    with shapetrace.trace(model) as t:
        checkpoint.checkpoint(model, x, use_reentrant=reentrant).sum().backward()
    assert t.recording.called == ()


def test_a_child_stands_below_its_root_s_name():
    named = (ScriptName("Net", "self.net"),)
    assert spoken(named, "Net.fc") == "self.net.fc"
    assert spoken(named, "Network.fc") == "Network.fc"
    only = (ScriptName("", "model"),)
    assert (
        spoken(only, "") == "model" and spoken(only, "fc.weight") == "model.fc.weight"
    )
    assert spoken((), "fc") == "fc"


def test_the_children_of_the_one_module_of_a_trace_have_its_name_in_texts():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(5, 2))
    with shapetrace.trace(net) as t, pytest.raises(RuntimeError):
        net(torch.ones(2, 4))
    text = str(t.failure)
    assert text.startswith("`net.2` (Linear) failed: dim 1 of the input is 3")
    assert "`net.2.weight`" in text and "net.0" in text
    # what is typed is the script's, what a program reads is as ever
    assert t.failure.where == "module:2" and t.failure.culprits[0].name == "2"
    assert first_column(t)[:2] == ["net", "├─0"]
