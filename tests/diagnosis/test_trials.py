"""Trials that go through what has no rule, and who is told of what an assignment or the
values of a mask have made."""

import torch
from failures import Runs, considered, failure, failure_of, first
from torch import nn
from torch.nn import functional as F


def spectral(self, x):
    modes = torch.fft.rfft(self.lift(x), dim=1)
    return self.head(modes.abs())


def test_a_repair_is_tried_through_a_function_that_has_no_rule():
    model = Runs(spectral, lift=nn.Linear(3, 7), head=nn.Linear(8, 2))
    found = failure(model, torch.rand(4, 10, 3))
    assert {"lift", "head"} >= {found.culprits[0].name}
    assert found.fixes[0].status == "verified"


def filled(self, x):
    table = self.lift(x)
    table[:, 0] = 0.0
    return self.head(table)


def test_a_repair_is_tried_through_an_assignment():
    model = Runs(filled, lift=nn.Linear(3, 7), head=nn.Linear(8, 2))
    found = failure(model, torch.rand(4, 3))
    assert found.fixes[0].status == "verified"
    assert "setitem" not in [one.name for one in found.culprits]


def padded(count):
    out = torch.zeros(1, 7, dtype=torch.long)
    out[0, :count] = torch.arange(count)
    return out


def test_what_is_written_into_data_does_not_shape_it():
    """Nor has an assignment a result that could be edited."""
    model = Runs(lambda self, x: self.embed(x).permute(1, 0, 2))
    model.embed = nn.Embedding(9, 4)
    found = considered(model, lambda: model(torch.stack([padded(3), padded(5)])))
    edits = [one.hypothesis for one in found if one.hypothesis.edit is not None]
    assert edits and "setitem" not in [one.site.name for one in edits]
    assert not any(").squeeze" in one.line.partition(" = ")[0] for one in edits)
    assert not any("].squeeze" in one.line.partition(" = ")[0] for one in edits)


def test_a_tensor_that_was_written_into_is_the_data_that_it_began_as():
    model = nn.Linear(6, 3)

    def step():
        y = torch.zeros(5)
        y[1:] = torch.ones(4)
        return F.mse_loss(model(torch.rand(4, 6)).mean(1), y)

    found = considered(model, step)
    assert "setitem" not in [one.hypothesis.site.name for one in found]


def test_labels_of_another_resolution_are_told_with_both_sizes():
    model = nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.LogSoftmax(1))
    images, labels = torch.rand(2, 3, 40, 48), torch.zeros(2, 5, 6, dtype=torch.long)
    found = failure_of(model, lambda: F.nll_loss(model(images), labels))
    told = next(one for one in found.culprits if one.kind == "target")
    assert (told.dim, told.size, told.expected) == (1, 5, 10)


def kept(self, x, seen):
    tokens = self.embed(x)
    return tokens[seen].reshape(x.size(0), -1, 6)


def test_how_many_a_mask_keeps_is_said_of_who_picks_by_it():
    seen = torch.ones(3, 5, dtype=torch.bool)
    seen[1, 2] = False
    found = failure(Runs(kept, embed=nn.Linear(4, 6)), torch.rand(3, 5, 4), seen)
    assert "getitem" in [one.name for one in found.culprits]


def test_several_dims_of_one_call_are_one_thought():
    """Each other dimension of the `cat` breaks it: three of them are no more likely."""
    model = Runs(
        lambda self, a, b: self.head(torch.cat([a, b], dim=2)),
        head=nn.Linear(8, 2),
    )
    found = failure(model, torch.rand(2, 3, 4), torch.rand(2, 3, 5))
    assert first(found) == ("module", "head")


def test_an_order_written_for_one_sample_is_one_thought():
    """Where the samples stand is certain, though any order of such images would do."""
    model = Runs(lambda self, x: self.conv(x.permute(2, 0, 1)), conv=nn.Conv2d(3, 4, 3))
    found = considered(model, lambda: model(torch.rand(5, 3, 3, 3)))
    forms = [one.hypothesis.form for one in found]
    assert forms.count("dim") == 1
