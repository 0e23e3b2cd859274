"""Who is not to be changed: what another call needs as it is, what both sides went
through, what went well for two of three; and what a batch happens to hold."""

import pytest
import torch
import torch.nn.functional as F
from failures import considered, failure_of, first
from torch import nn
from torch.nn.utils.rnn import pad_sequence


class Positions(nn.Module):
    """Sines and cosines of a width that may be odd."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, x):
        steps = x.shape[1]
        table = torch.zeros(steps, self.width)
        place = torch.arange(steps).reshape(-1, 1)
        angle = place / 100 ** (torch.arange(0, self.width, 2) / self.width)
        table[:, 0::2] = torch.sin(angle)
        table[:, 1::2] = torch.cos(angle)
        return x + table


@pytest.mark.parametrize("width, steps", [(7, 10), (5, 5), (9, 4)])
def test_what_another_call_needs_is_not_to_be_changed(width, steps):
    model = nn.Sequential(nn.Linear(3, width), Positions(width))
    found = failure_of(model, lambda: model(torch.randn(2, steps, 3)))
    assert first(found) == ("function", "setitem")
    assert all("arange" != one.name for one in found.culprits[:1])


class Spoken(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(40, 6)
        self.up = nn.ConvTranspose1d(6, 1, 8, 4, 2)

    def forward(self, letters):
        return self.up(self.embed(letters).transpose(1, 2)).squeeze(1)


@pytest.mark.parametrize("lengths", [(5, 9, 7), (5, 9, 5), (3, 8)])
def test_pieces_of_a_loop_are_joined_along_what_differs(lengths):
    model = Spoken()

    def step():
        pieces = []
        for length in lengths:
            pieces.append(model(torch.randint(0, 40, (1, length))))
        return torch.stack(pieces).mean()

    found = failure_of(model, step)
    assert (
        first(found)[0] in ("function", "input") and "up" not in found.culprits[0].name
    )
    lines = [fix.line for fix in found.fixes]
    assert any("torch.cat(pieces, dim=1)" in line for line in lines), lines
    assert all("all others are alike" not in one.reason for one in found.culprits)


def test_pieces_of_one_dimension_are_joined_as_they_are():
    model = Spoken()

    def step():
        pieces = []
        for length in (5, 9, 7):
            pieces.append(model(torch.randint(0, 40, (1, length)))[0])
        return torch.stack(pieces).mean()

    lines = [fix.line for fix in failure_of(model, step).fixes]
    assert any("torch.cat(pieces)" in line for line in lines), lines
    assert all("dim=0" not in line for line in lines)


class Energies(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(30, 8)

    def forward(self, head, tail, wrong):
        head = self.table(head).unsqueeze(1)
        good = (head - self.table(tail).unsqueeze(1)).norm(dim=-1)
        bad = (head - self.table(wrong)).norm(dim=-1).mean(dim=1)
        sign = torch.tensor([-1.0])
        return F.margin_ranking_loss(good, bad, sign)


@pytest.mark.parametrize("batch, wrong", [(20, 4), (4, 4)])
def test_of_three_the_one_with_another_number_of_dimensions(batch, wrong):
    model = Energies()

    def draw(*size):
        return torch.randint(0, 30, size)

    found = failure_of(
        model, lambda: model(draw(batch), draw(batch), draw(batch, wrong))
    )
    assert first(found) == ("function", "norm")


GENRES = [[0], [1, 4], [2], [3, 2, 0], [4]]


def test_labels_as_long_as_the_longest_are_no_width_of_a_layer():
    model = nn.Linear(12, 5)

    def step():
        rows = [torch.tensor(one) for one in GENRES]
        labels = pad_sequence(rows, batch_first=True, padding_value=-1)
        return F.multilabel_margin_loss(model(torch.randn(5, 12)), labels)

    found = failure_of(model, step)
    assert first(found)[0] in ("target", "function")


def test_what_takes_a_part_of_a_result_is_not_left_over():
    """`x.max(dim=1).values` without its `max` is `x.values`, which no tensor has."""
    model = nn.Linear(6, 5)

    def step():
        pooled = model(torch.randn(4, 7, 6)).max(dim=1).values
        return F.mse_loss(pooled, torch.randn(4, 7, 5))

    lines = [entry.hypothesis.line for entry in considered(model, step)]
    assert lines and all(".max(" in line for line in lines if ".values" in line)


def test_a_prediction_has_a_part_in_what_its_target_lacks():
    model = nn.Linear(3, 5)

    def step():
        return F.cross_entropy(model(torch.randn(6, 3)), torch.ones(6, 1).long())

    found = [entry.hypothesis for entry in considered(model, step)]
    assert any(one.form == "unknown" and one.site.kind == "module" for one in found)


class Fingerprint(nn.Module):
    """Features of the user's are joined to those that the network makes, if given."""

    def __init__(self, width, extra):
        super().__init__()
        self.make, self.head = nn.Linear(5, width), nn.Linear(width + extra, 2)

    def forward(self, x, more=None):
        x = self.make(x).relu()
        if more is not None:
            x = torch.cat([x, more], dim=1)
        return self.head(x)


@pytest.mark.parametrize("batch, width, extra", [(6, 9, 4), (4, 4, 4), (3, 8, 5)])
def test_what_earlier_batches_had_besides_is_named(batch, width, extra):
    model = Fingerprint(width, extra)

    def step():
        for _ in range(2):
            model(torch.randn(batch, 5), torch.randn(batch, extra)).sum().backward()
        return model(torch.randn(batch, 5))

    found = failure_of(model, step)
    assert first(found) == ("input", found.culprits[0].name)
    assert "is missing: an earlier batch had" in found.culprits[0].reason


class Projected(Fingerprint):
    """What is left out this time is a layer, or a branch of the network's own."""

    def __init__(self):
        super().__init__(9, 4)
        self.project, self.aside = nn.Linear(9, 13), nn.Linear(5, 4)

    def forward(self, x, how=None):
        made = self.make(x).relu()
        if how == "project":
            made = self.project(made)
        if how == "aside":
            made = torch.cat([made, self.aside(x)], dim=1)
        return self.head(made)


@pytest.mark.parametrize("how", ["project", "aside"])
def test_what_the_network_left_out_is_no_missing_data(how):
    model = Projected()

    def step():
        model(torch.randn(6, 5), how).sum().backward()
        return model(torch.randn(6, 5))

    found = failure_of(model, step)
    assert all("is missing" not in one.reason for one in found.culprits)


def test_nothing_is_missing_where_other_data_came():
    model = Fingerprint(9, 4)

    def step():
        model(torch.randn(6, 5), torch.randn(6, 4)).sum().backward()
        return model(torch.randn(6, 5), torch.randn(6, 3))

    found = failure_of(model, step)
    assert all("is missing" not in one.reason for one in found.culprits)


class Spectrum(nn.Module):
    def forward(self, audio):
        audio = audio.unsqueeze(0)
        return audio.view(audio.shape[0], 1, audio.shape[1]).abs()


@pytest.mark.parametrize("samples, channels", [(120, 2), (6, 6)])
def test_a_dimension_that_only_passed_is_of_the_data(samples, channels):
    """Stereo where mono is meant: neither the cast nor the scale made the channels."""
    model = Spectrum()

    def step():
        sound = torch.randint(-99, 99, (samples, channels)).float()
        return model(sound / 128.0)

    found = failure_of(model, step)
    assert first(found)[0] == "input"
    assert all(one.name not in ("div", "float", "unsqueeze") for one in found.culprits)


def marks(found, text):
    return [fix.status for fix in found.fixes if text in fix.line]


def test_a_window_that_is_given_up_is_not_verified():
    model, data = nn.Linear(3, 3), torch.randn(24, 3)

    def step():
        later = data[6:12]
        return F.mse_loss(model(data), later)

    assert marks(failure_of(model, step), "data[:]") == ["untried"]


class Halves(nn.Module):
    """A table of another type than the layers that take what it gives."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 8).to(torch.bfloat16)
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, tokens):
        x = self.table(tokens)
        query = self.query(x).view(4, 5, 2, 4)
        key = self.key(x).view(4, 5, 2, 4)
        return (query * key).sum()


def test_a_cast_of_one_of_several_uses_is_not_verified():
    model = Halves()
    found = failure_of(model, lambda: model(torch.randint(10, (4, 5))))
    assert marks(found, "self.query(x.float())") == ["untried"]


def test_one_number_of_all_samples_is_not_verified():
    model = nn.Linear(5, 4)

    def step():
        weights = torch.rand(6, 4)
        scores = torch.sum(model(torch.randn(6, 5)) * weights, dim=1)
        return F.mse_loss(scores, torch.randn(4))

    assert "verified" not in marks(failure_of(model, step), "dim=0")


@pytest.mark.parametrize("classes, batch", [(19, 30), (6, 6)])
def test_weights_with_a_dimension_too_many_are_the_matter_of_their_loss(classes, batch):
    model = nn.Linear(8, classes)
    loss = nn.CrossEntropyLoss(weight=torch.rand(1, classes))

    def step():
        labels = torch.randint(classes, (batch,))
        return loss(model(torch.randn(batch, 8))[labels >= 0], labels)

    found = failure_of(nn.ModuleList([model, loss]), step)
    assert "weight" in found.message and first(found) == ("module", "1")


@pytest.mark.parametrize("weights, classes, batch", [(19, 6, 30), (4, 6, 6)])
def test_weights_of_other_classes_are_told_from_the_labels(weights, classes, batch):
    model = nn.Linear(8, classes)
    loss = nn.CrossEntropyLoss(weight=torch.rand(weights))

    def step():
        return loss(model(torch.randn(batch, 8)), torch.randint(classes, (batch,)))

    found = failure_of(nn.ModuleList([model, loss]), step)
    assert first(found) == ("module", "1")
    assert all(one.kind != "target" for one in found.culprits)


class Pictures(nn.Module):
    def __init__(self, width, side):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.head = nn.Linear(width * side * side, 2)

    def forward(self, x):
        return self.head(torch.flatten(self.conv(x).relu(), 1))


@pytest.mark.parametrize("width, side", [(5, 8), (6, 6), (3, 3)])
def test_a_picture_without_a_batch_is_given_one(width, side):
    model = Pictures(width, side)

    def step():
        mean = torch.tensor([0.5, 0.4, 0.4])[:, None, None]
        picture = torch.randint(0, 255, (3, side, side)) / 255.0 - mean
        return model(picture).softmax(-1)

    found = failure_of(model, step)
    assert first(found)[0] == "input"
    assert "picture.unsqueeze(0)" in found.fixes[0].line


def test_one_picture_is_given_its_batch_however_deep_the_network():
    """No dimension is put before samples: there are none."""
    layers = [
        part
        for a, b in ((3, 16), (16, 32), (32, 64))
        for part in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    ]
    head = nn.AdaptiveAvgPool2d(4), nn.Flatten(1), nn.Dropout(), nn.Linear(1024, 8)
    model = nn.Sequential(*layers, *head, nn.ReLU(), nn.Linear(8, 2)).eval()

    def step():
        picture = torch.rand(3, 64, 64)
        return labels[int(model(picture).argmax())]

    labels = ["cat", "fish"]
    facts = [
        fact.name
        for entry in considered(model, step)
        if "picture.unsqueeze(0)" in entry.hypothesis.line
        for fact in entry.facts
    ]
    assert "gives one sample its batch" in facts
    assert "puts a dimension before the samples" not in facts
