"""Sizes that the code takes over from a tensor, parts of a sum, indices, and fixes that
fit and train nothing."""

import pytest
import torch
from failures import Runs, considered, failure, failure_of, first
from torch import nn
from torch.nn import functional as F


def sites(scored):
    return {(one.hypothesis.site.kind, one.hypothesis.site.name) for one in scored}


def by_attribute(self, x):
    return torch.zeros(x.shape[:2])


def by_method(self, x):
    return x.new_zeros(x.size(0), x.size(-2))


def by_names(self, x):
    batch, steps, _ = x.shape
    return torch.ones(batch, steps)


def by_likeness(self, x):
    return torch.zeros_like(x[..., 0])


def starred(self, x):
    return torch.zeros(*x.shape[:2], 1).squeeze(2)


@pytest.mark.parametrize(
    "weights", [by_attribute, by_method, by_names, by_likeness, starred]
)
def test_a_factory_leads_to_the_tensor_whose_size_it_takes(weights):
    """Nine steps of words, eight of characters: `pad_sequence` made the eight."""

    def summed(self, words, characters):
        characters = nn.utils.rnn.pad_sequence(characters, batch_first=True)
        return self.w(words).sum(-1) + self.weights(characters)

    model = Runs(summed, w=nn.Linear(4, 4), weights=Runs(weights))
    parts = [torch.rand(8, 3), torch.rand(6, 3)]
    scored = considered(model, lambda: model(torch.rand(2, 9, 4), parts))
    assert ("function", "pad_sequence") in sites(scored)


def helped(x):
    return torch.zeros(x.shape[0], x.shape[1])


def test_what_a_function_was_handed():
    def summed(self, words, characters):
        characters = nn.utils.rnn.pad_sequence(characters, batch_first=True)
        return self.w(words).sum(-1) + helped(characters)

    model = Runs(summed, w=nn.Linear(4, 4))
    parts = [torch.rand(8, 3), torch.rand(6, 3)]
    scored = considered(model, lambda: model(torch.rand(2, 9, 4), parts))
    assert ("function", "pad_sequence") in sites(scored)


def test_a_number_written_out_leads_nowhere():
    def summed(self, words, characters):
        characters = nn.utils.rnn.pad_sequence(characters, batch_first=True)
        return self.w(words).sum(-1) + torch.zeros(2, 8) * characters.mean()

    model = Runs(summed, w=nn.Linear(4, 4))
    parts = [torch.rand(8, 3), torch.rand(6, 3)]
    scored = considered(model, lambda: model(torch.rand(2, 9, 4), parts))
    assert ("function", "pad_sequence") not in sites(scored)


def test_a_part_of_a_cat_that_came_in_with_another_size():
    model = Runs(
        lambda self, x, speaker: self.out(torch.cat([self.embed(x), speaker], 1)),
        embed=nn.Linear(4, 32),
        out=nn.Linear(96, 2),
    )
    scored = considered(model, lambda: model(torch.rand(3, 4), torch.rand(3, 193)))
    data = [one.hypothesis for one in scored if one.hypothesis.form == "data"]
    assert (193, 64) in [(one.size, one.expected) for one in data]


def test_amounts_of_padding_that_a_line_adds_several_times():
    def padded(self, x):
        for conv in self.convs:
            x = conv(F.pad(x, self.amounts))
        return x + self.skip

    model = Runs(padded)
    model.convs = nn.ModuleList([nn.Conv1d(3, 3, 4), nn.Conv1d(3, 3, 4)])
    model.amounts, model.skip = (2, 2), torch.rand(2, 3, 16)
    lines = [fix.line for fix in failure(model, torch.rand(2, 3, 16)).fixes]
    assert (
        "x = conv(F.pad(x, (1, 2)))" in lines or "x = conv(F.pad(x, (2, 1)))" in lines
    )


def test_bytes_that_torch_reads_as_a_mask():
    def written(self, x, actions):
        table = self.net(x).detach()
        table[torch.arange(6), actions] = 0.0
        return self.net(x) - table

    actions = torch.tensor([0, 1, 2, 3, 0, 1], dtype=torch.uint8)
    found = failure(Runs(written, net=nn.Linear(5, 4)), torch.rand(6, 5), actions)
    fix = found.fixes[0]
    assert fix.line == "table[torch.arange(6), actions.long()] = 0.0"


def test_one_index_for_all_members_of_an_ensemble():
    def chosen(self, x, actions):
        values = torch.stack([self.a(x), self.b(x)])
        return values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    model = Runs(chosen, a=nn.Linear(5, 4), b=nn.Linear(5, 4))
    found = failure(model, torch.rand(6, 5), torch.randint(0, 4, (6,)))
    line = "actions.unsqueeze(-1).expand(values.size(0), -1, -1)"
    assert line in found.fixes[0].line
    # a dimension of one would pick from the first sample alone
    assert not any("[..., None]" in fix.line for fix in found.fixes)


def test_one_prediction_is_not_repeated_for_all_labels():
    model = Runs(lambda self, x: self.out(x).max(0, keepdim=True)[0])
    model.out = nn.Linear(5, 3)
    step = F.cross_entropy, torch.tensor([0, 1, 2, 1])
    found = failure_of(model, lambda: step[0](model(torch.rand(7, 5)), step[1]))
    repeated = [fix for fix in found.fixes if ".expand(4, -1)" in fix.line]
    assert all(fix.status != "verified" for fix in repeated)


def test_dimensions_joined_to_have_fewer_are_not_verified():
    def masked(self, x, labels):
        scores = self.out(x)
        return torch.zeros_like(scores).scatter(1, labels.view(-1, 1), 1.0) + scores

    model, labels = Runs(masked, out=nn.Linear(5, 3)), torch.tensor([0, 1, 2, 1])
    scored = considered(model, lambda: model(torch.rand(4, 2, 5), labels))
    joined = [one for one in scored if ".flatten(1)" in one.hypothesis.line]
    said = {fact.name for one in joined for fact in one.facts}
    assert joined and "makes a size that nobody asks for" in said


@pytest.mark.parametrize("turned", [False, True])
def test_a_loss_with_the_data_for_its_prediction_is_not_verified(turned):
    """With one shape it would go through, and learn to make of the data what it was."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Sigmoid())
    images = torch.rand(5, 3, 4)

    def step():
        out = model(images)
        if turned:
            return F.binary_cross_entropy(images, out)
        return F.binary_cross_entropy(out, images)

    fixes = failure_of(model, step).fixes
    assert ("verified" in {fix.status for fix in fixes}) is not turned


def critics():
    net = nn.Module()
    net.critic = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 1))
    net.target = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 1))
    return net


def test_a_twin_that_was_given_what_both_expect():
    model, x, ids = critics(), torch.rand(6, 7), torch.rand(6, 2)

    def step():
        wanted = model.target(torch.cat([x, ids], 1))
        return F.mse_loss(model.critic(x), wanted)

    scored = considered(model, step)
    facts = {fact.name for one in scored for fact in one.facts}
    assert "its twin took what it expects" in facts


def test_without_such_a_call_there_is_no_twin():
    model = critics()
    scored = considered(model, lambda: model.critic(torch.rand(6, 7)))
    facts = {fact.name for one in scored for fact in one.facts}
    assert "its twin took what it expects" not in facts


def test_batches_that_began_equal_are_not_called_unequal():
    """`repeat` made them so."""

    def marked(self, x, marks):
        return self.x(x) + self.m(marks.repeat(x.size(1), 1))

    model = Runs(marked, x=nn.Linear(3, 4), m=nn.Linear(2, 4))
    found = failure(model, torch.rand(6, 3), torch.rand(6, 2))
    assert first(found) == ("function", "repeat")


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(5, 5)

    def forward(self, **given):
        return self.net(given["x"])


@pytest.mark.parametrize("named", [False, True])
def test_arguments_under_their_own_names_are_not_exchanged(named):
    """Though the layer would take the other one."""
    if named:
        model = Runs(lambda self, x, y: self.inner(x=x, y=y), inner=Inner())
    else:
        model = Runs(lambda self, a, b: self.inner(x=a, y=b), inner=Inner())
    scored = considered(model, lambda: model(torch.rand(4, 7), torch.rand(4, 5)))
    found = [one.hypothesis for one in scored if one.hypothesis.site.name == "inner"]
    assert ("exchange" in {one.form for one in found}) is not named


def test_data_of_other_sizes_from_one_line_is_not_changed_with_it():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 6))

    def encoded(length):
        return torch.randint(0, 6, (length,))

    def step():
        tokens = torch.stack([torch.cat([encoded(7), encoded(2)]) for _ in range(2)])
        labels = torch.stack([encoded(5), encoded(5)])
        return F.cross_entropy(model(tokens).flatten(0, 1), labels.flatten())

    scored = considered(model, step)
    data = [one.hypothesis for one in scored if one.hypothesis.form == "data"]
    assert (5, 9) in [(one.size, one.expected) for one in data]


def test_a_size_that_passes_through_a_layer_is_not_its_making():
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    scored = considered(
        model, lambda: F.mse_loss(model(torch.rand(6, 5)), torch.rand(7, 3))
    )
    of_layer = [
        {fact.name for fact in one.facts}
        for one in scored
        if one.hypothesis.form == "unknown" and one.hypothesis.site.kind == "module"
    ]
    assert of_layer and all("only passed the size on" in facts for facts in of_layer)


def test_a_number_equal_to_a_size_that_stays_did_not_stay_behind():
    """Two batches, of 12 and of 6 steps: 2·12 is 24, as the width is."""

    def routed(self, x, mask):
        rows = self.gate(x.view(-1, x.size(-1)))
        return rows * mask.reshape(-1, 1)

    model = Runs(routed, gate=nn.Linear(24, 4))

    def step():
        model(torch.rand(2, 12, 24), torch.ones(2, 12))
        model(torch.rand(2, 6, 24), torch.ones(2, 18))

    scored = considered(model, step)
    facts = {
        fact.name
        for one in scored
        if one.hypothesis.site.name == "view"
        for fact in one.facts
    }
    assert "stayed when the data changed" not in facts
