"""Texts and tables call a root what the script calls it; the data keep their names."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import checkpoint

import shapetrace
from shapetrace.records import ModuleInfo, Recording, ScriptName
from shapetrace.source.spoken import in_words, spoken


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


def test_only_names_of_modules_are_exchanged_in_words():
    modules = {name: ModuleInfo(name, "Net", "m.Net") for name in ("Net", "Net.fc")}
    rec = Recording((), (), modules, {}, called=(ScriptName("Net", "self.net"),))
    words = "`Net.fc` and Net.fc's, `Net`; Net, Net.forward, nn.Net.fc, `nn.Net`"
    assert in_words(rec, words) == (
        "`self.net.fc` and self.net.fc's, `self.net`; "
        "Net, Net.forward, nn.Net.fc, `nn.Net`"
    )
    assert spoken(rec.called, "Net.fc") == "self.net.fc"
    assert spoken(rec.called, "Network.fc") == "Network.fc"
