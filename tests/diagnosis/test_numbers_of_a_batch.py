"""A number that was right for an earlier batch alone, wherever it was given."""

from __future__ import annotations

import runpy
from pathlib import Path

import torch
import torch.nn.functional as F
from failures import considered, failure_of, first
from torch import nn

REBUILT = Path(__file__).parents[2] / "benchmarks" / "corpora" / "rebuilt"


class Tagger(nn.Module):
    """Its state is made anew for each batch, outside of its forward."""

    def __init__(self, batch, hidden=6):
        super().__init__()
        self.batch, self.hidden = batch, hidden
        self.rnn = nn.GRU(5, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 3)

    def begin(self):
        self.state = torch.zeros(1, self.batch, self.hidden)

    def forward(self, x):
        out, self.state = self.rnn(x, self.state)
        return self.head(out[:, -1])


def batches(*sizes, steps=7):
    return [torch.rand(size, steps, 5) for size in sizes]


def in_turn(model, data):
    for x in data:
        model.begin()
        model(x)


def test_a_state_made_for_the_batches_before():
    model = Tagger(8)
    found = failure_of(model, lambda: in_turn(model, batches(8, 8, 3)))
    assert "made by zeros" in found.culprits[0].name
    assert "still gets 8" in " ".join(str(found).split())


def test_its_size_is_tried_for_the_last_batch_alone():
    model = Tagger(8)
    scored = considered(model, lambda: in_turn(model, batches(8, 8, 3)))
    number = [one.hypothesis for one in scored if one.hypothesis.form == "number"]
    made = [one for one in number if "made by zeros" in one.site.name]
    assert [(one.size, one.expected, one.outcome.goes) for one in made] == [
        (8, 3, True)
    ]


class Voxels(nn.Module):
    """Rows of points, put into a grid of a batch whose number is handed on."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 6)
        self.head = nn.Conv1d(6, 4, 1)

    def forward(self, points, at, batch):
        rows = self.embed(points)
        grid = rows.new_zeros(batch, 6, 9)
        grid[at[:, 0], :, at[:, 1]] = rows
        return self.head(grid)


def test_a_grid_made_for_the_batch_before():
    model = Voxels()

    def step():
        for size in (8, 3):
            at = torch.stack([torch.arange(size), torch.arange(size)], 1)
            labels = torch.randint(0, 4, (size, 9))
            F.cross_entropy(model(torch.rand(size, 3), at, 8), labels)

    assert first(failure_of(model, step)) == ("function", "new_zeros")
    told = facts_of(considered(model, step), kind="function", name="new_zeros")
    assert "stayed when the data changed" in told


def facts_of(scored, *, kind, name):
    """What speaks for and against whoever has this name in the hypotheses."""
    return {
        fact.name
        for one in scored
        if one.hypothesis.site.kind == kind and name in one.hypothesis.site.name
        for fact in one.facts
    }


class Contrast(nn.Module):
    """Each sample against all others, for batches of one size."""

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def forward(self, a, b):
        both = torch.cat([a, b])
        others = ~torch.eye(2 * self.batch, dtype=torch.bool)
        return ((both @ both.T).exp() * others).sum(-1).log().mean()


def test_a_number_for_the_batch_is_held_against_the_samples():
    encoder, loss = nn.Linear(5, 7), Contrast(4)

    def step():
        loss(encoder(torch.rand(3, 5)), encoder(torch.rand(3, 5)))

    scored = considered(encoder, step)
    assert "a number meets the samples" in facts_of(scored, kind="function", name="eye")
    told = facts_of(scored, kind="function", name="cat")
    assert "a number meets the samples" not in told


def test_two_numbers_of_samples_meet_no_number():
    layer = nn.Linear(5, 7)
    scored = considered(layer, lambda: layer(torch.rand(3, 5)) + torch.rand(4, 7))
    names = {fact.name for one in scored for fact in one.facts}
    assert "a number meets the samples" not in names


def test_steps_of_songs_are_no_samples():
    """Each sample was made of its own length, and all were put together."""
    songs = [torch.rand(24) for _ in range(3)]
    words = [torch.rand(20) for _ in range(3)]
    hear, read = nn.Conv1d(1, 4, 1), nn.Conv1d(1, 4, 1)

    def step():
        whole, said = torch.stack(songs)[:, None], torch.stack(words)[:, None]
        return hear(whole) + read(said)

    scored = considered(nn.ModuleList([hear, read]), step)
    assert not any(
        fact.name.startswith("unequal batches") for one in scored for fact in one.facts
    )


def test_a_reading_that_fails_before_the_failure_drops_no_repair(tmp_path):
    """Sizes that hang on values are not read right: a repair is not tried then."""
    path = REBUILT / "z01_cylinder_val_batch_size.py"
    program = runpy.run_path(str(path))
    model = program["build"]()
    scored = considered(model, lambda: program["step"](model))
    tried = [
        one.hypothesis.outcome.status
        for one in scored
        if one.hypothesis.reason == "makes 4 in dim 0"
    ]
    assert tried == ["untried"]
