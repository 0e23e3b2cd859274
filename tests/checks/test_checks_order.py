"""Pairs that come apart, shifted labels, reductions that meet another dimension."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

# -- pairs-apart ---------------------------------------------------------------------


def repeated(x, y, count=4):
    F.mse_loss(nn.Linear(5, 5)(x(torch.randn(3, 5))), y(torch.randn(3, 5))).backward()


def whole(x):
    return x.repeat(4, 1)


def tiled(x):
    return torch.tile(x, (4, 1))


def joined(x):
    return torch.cat([x, x, x, x])


def each(x):
    return x.repeat_interleave(4, dim=0)


def expanded(x):
    return x[:, None].expand(-1, 4, -1).flatten(0, 1)


def expanded_whole(x):
    return x[None].expand(4, -1, -1).flatten(0, 1)


@pytest.mark.parametrize("one", [whole, tiled])
def test_the_whole_beside_each_row(one):
    assert findings(repeated, one, each)[0][0] == "pairs-apart"
    assert findings(repeated, each, one)[0][0] == "pairs-apart"


@pytest.mark.parametrize("one", [whole, tiled, joined, expanded_whole])
@pytest.mark.parametrize("two", [whole, tiled, joined, expanded_whole])
def test_both_as_a_whole(one, two):
    assert silent(repeated, one, two)


@pytest.mark.parametrize("one", [each, expanded])
@pytest.mark.parametrize("two", [each, expanded])
def test_both_row_by_row(one, two):
    assert silent(repeated, one, two)


@pytest.mark.parametrize("rows", [(3, 4), (4, 4), (4, 3)])
def test_every_row_with_every_row(rows):
    def program():
        x, y = (torch.randn(count, 5) for count in rows)
        every = [x.repeat_interleave(len(y), 0), y.repeat(len(x), 1)]
        nn.Linear(10, 1)(torch.cat(every, 1)).mean().backward()

    assert silent(program)


# -- label-shift ---------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM, **options):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.rnn = kind(8, 8, batch_first=True, **options)
        self.head = nn.Linear(16 if options else 8, 20)

    def forward(self, ids):
        return self.head(self.rnn(self.embed(ids))[0])


class Attention(nn.Module):
    def __init__(self, causal):
        super().__init__()
        self.embed, self.q = nn.Embedding(20, 8), nn.Linear(8, 8)
        self.head, self.causal = nn.Linear(8, 20), causal

    def forward(self, ids):
        h = self.embed(ids)
        if self.causal == "flag":
            out = F.scaled_dot_product_attention(self.q(h), h, h, is_causal=True)
        else:
            scores = self.q(h) @ h.mT
            if self.causal == "mask":
                size = ids.shape[1]
                later = torch.triu(torch.ones(size, size, dtype=torch.bool), 1)
                scores = scores.masked_fill(later, float("-inf"))
            out = scores.softmax(-1) @ h
        return self.head(out)


CAUSAL = {
    "lstm": Recurrent,
    "gru": lambda: Recurrent(nn.GRU),
    "flag": lambda: Attention("flag"),
    "mask": lambda: Attention("mask"),
}


def step(model, cut):
    ids = torch.randint(0, 20, (4, 9))
    given, labels, after = cut(ids)
    logits = model()(given)
    logits = logits[:, :-1] if after else logits
    F.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()


def unshifted(ids):
    return ids, ids, False


def by_the_loader(ids):
    return ids[:, :-1], ids[:, 1:], False


def by_the_loss(ids):
    return ids, ids[:, 1:], True


def twice(ids):
    given, labels = ids[:, :-1], ids[:, 1:]
    return given, labels[:, 1:], True


@pytest.mark.parametrize("model", CAUSAL)
@pytest.mark.parametrize("cut", [unshifted, twice])
def test_labels_that_are_not_the_next_token(model, cut):
    assert [code for code, _ in findings(step, CAUSAL[model], cut)] == ["label-shift"]


@pytest.mark.parametrize("model", CAUSAL)
@pytest.mark.parametrize("cut", [by_the_loader, by_the_loss])
def test_labels_that_are_the_next_token(model, cut):
    assert silent(step, CAUSAL[model], cut)


@pytest.mark.parametrize(
    "model",
    [lambda: Attention(None), lambda: Recurrent(bidirectional=True)],
)
def test_a_model_that_sees_later_tokens_may_be_given_its_labels(model):
    assert silent(step, model, unshifted)


def test_an_autoencoder_reads_what_it_writes():
    def program():
        ids, embed = torch.randint(0, 20, (4, 9)), nn.Embedding(20, 8)
        read, write = (nn.GRU(8, 8, batch_first=True) for _ in range(2))
        state = read(embed(ids))[1]
        start = torch.zeros(4, 1, dtype=torch.long)
        out = write(embed(torch.cat([start, ids[:, :-1]], 1)), state)[0]
        F.cross_entropy(nn.Linear(8, 20)(out).transpose(1, 2), ids).backward()

    assert silent(program)


def test_a_head_for_the_token_after_the_next():
    def program():
        ids, model, further = (
            torch.randint(0, 20, (4, 9)),
            Recurrent(),
            nn.Linear(8, 20),
        )
        hidden = model.rnn(model.embed(ids[:, :-2]))[0]
        first = F.cross_entropy(model.head(hidden).mT, ids[:, 1:-1])
        (first + F.cross_entropy(further(hidden).mT, ids[:, 2:])).backward()

    assert silent(program)


# -- what is left of a reduction, and a parameter's own dimension --------------------

REDUCED = {
    "mean": lambda h, **kept: h - h.mean(1, **kept),
    "sum": lambda h, **kept: h / h.sum(1, **kept),
    "norm": lambda h, **kept: h / h.norm(dim=1, **kept),
    "amax": lambda h, **kept: h - h.amax(1, **kept),
}


@pytest.mark.parametrize("name", REDUCED)
def test_a_reduction_that_meets_another_dimension(name):
    def program(**kept):
        h = REDUCED[name](nn.Linear(5, 8)(torch.randn(8, 5)), **kept)
        F.mse_loss(h, torch.randn(8, 8)).backward()

    assert [code for code, _ in findings(program)] == ["silent-broadcast"]
    assert silent(lambda: program(keepdim=True))


def test_raw_data_that_is_freed_from_the_wrong_mean():
    def program(dim):
        x = torch.randn(8, 8)
        F.mse_loss(nn.Linear(8, 4)(x - x.mean(dim)), torch.randn(8, 4)).backward()

    assert [code for code, _ in findings(program, 1)] == ["silent-broadcast"]
    assert silent(program, 0)


@pytest.mark.parametrize(
    "change",
    [lambda a: a / a.sum(1), lambda a: a - a.mean(0) - a.mean(1) + a.mean()],
)
def test_a_matrix_of_the_data_that_is_the_same_both_ways(change):
    assert silent(lambda: nn.Linear(8, 4)(change(torch.rand(8, 8))).mean().backward())


def modulated(count, batch, place):
    table = nn.Module()
    table.weight = nn.Parameter(torch.randn(1, count, 8))
    x, embed = torch.randn(batch, 8), nn.Linear(8, 8)
    shift, scale = (table.weight + place(embed(x))).chunk(2, dim=1)
    F.mse_loss(torch.randn(batch, 9, 8) * scale + shift, torch.randn(batch, 9, 8))


def test_a_batch_of_two_taken_for_shift_and_scale():
    found = findings(modulated, 2, 2, lambda x: x)
    assert [code for code, _ in found] == ["silent-broadcast"]
    assert silent(modulated, 2, 2, lambda x: x.unsqueeze(1))


def test_positions_are_added_to_one_sequence():
    def program():
        positions = nn.Parameter(torch.randn(1, 6, 8))
        out = nn.Linear(8, 8)(positions + nn.Linear(8, 8)(torch.randn(6, 8)))
        F.mse_loss(out, torch.randn(1, 6, 8)).backward()

    assert silent(program)


# -- view-as-permute: the pieces of an image -----------------------------------------


class Pieces(nn.Module):
    """An image in pieces of 4 by 4, each of which a layer makes anew."""

    def __init__(self, permuted, channels=3):
        super().__init__()
        self.cut, self.make = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 16 * channels)
        self.permuted, self.channels = permuted, channels

    def forward(self, x):
        pieces, (high, wide) = self.make(self.cut(x).flatten(2).mT), x.shape[2:]
        if not self.permuted:
            return pieces.view(len(x), self.channels, high, wide)
        pieces = pieces.view(-1, high // 4, wide // 4, self.channels, 4, 4)
        pieces = pieces.permute(0, 3, 1, 4, 2, 5)
        return pieces.reshape(-1, self.channels, high, wide)


def painted(permuted, side):
    x = torch.rand(5, 3, side, side)
    F.mse_loss(Pieces(permuted)(x), x).backward()


def seen(permuted, side):
    x = torch.rand(5, 3, side, side)
    out = nn.Conv2d(3, 4, 3)(Pieces(permuted)(x).sigmoid()).mean((2, 3))
    F.cross_entropy(out, torch.randint(0, 4, (5,))).backward()


@pytest.mark.parametrize("side", [16, 20])
@pytest.mark.parametrize("program", [painted, seen])
def test_pieces_of_an_image_that_are_not_put_side_by_side(program, side):
    assert findings(program, False, side) == [("view-as-permute", "view")]
    assert silent(program, True, side)


@pytest.mark.parametrize("batch", [6, 8])
@pytest.mark.parametrize("join", [torch.cat, torch.stack])
def test_two_towers_that_are_joined_before_the_batch(join, batch):
    def program(dim):
        users, items = (nn.Linear(8, 8)(torch.randn(batch, 8)) for _ in range(2))
        both = join([users, items], dim).view(batch, 16)
        F.mse_loss(nn.Linear(16, 1)(both).squeeze(1), torch.rand(batch)).backward()

    assert findings(program, 0) == [("view-as-permute", "view")]
    assert silent(program, 1)


def test_features_of_places_that_are_cut_for_no_image():
    def program():
        made = Pieces(True).make(torch.randn(5, 16, 8))
        made.view(5, 12, -1).logsumexp(1).square().mean().backward()

    assert silent(program)


def two_classes(places, change):
    """Scores of two classes for each place, channels first, in rows of two."""
    conv = nn.Conv1d if len(places) == 1 else nn.Conv2d
    scores = conv(3, 2, 3, padding=1)(torch.randn(5, 3, *places))
    y = torch.randint(0, 2, (5, *places)).flatten()
    F.nll_loss(change(scores), y).backward()


VIEWED = {
    "view": lambda s: s.log_softmax(1).view(-1, 2),
    "before": lambda s: s.reshape(-1, 2).log_softmax(1),
}
PERMUTED = {
    "movedim": lambda s: s.log_softmax(1).movedim(1, -1).reshape(-1, 2),
    "before": lambda s: s.movedim(1, -1).reshape(-1, 2).log_softmax(1),
    "flattened": lambda s: s.log_softmax(1).flatten(2).mT.reshape(-1, 2),
}


@pytest.mark.parametrize("places", [(32,), (6, 8), (2,)])
@pytest.mark.parametrize("name", VIEWED)
def test_two_classes_that_a_view_takes_from_the_places(name, places):
    found = findings(two_classes, places, VIEWED[name])
    assert ("view-as-permute", "view" if name == "view" else "reshape") in found


@pytest.mark.parametrize("places", [(32,), (6, 8), (2,)])
@pytest.mark.parametrize("name", PERMUTED)
def test_two_classes_that_were_permuted(name, places):
    assert silent(two_classes, places, PERMUTED[name])


def test_two_classes_of_a_linear_layer():
    def program():
        scores = nn.Linear(4, 2)(torch.randn(5, 2, 4))
        y = torch.randint(0, 2, (10,))
        F.cross_entropy(scores.view(-1, 2), y).backward()

    assert silent(program)
