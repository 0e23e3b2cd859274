"""Labels of a causal model that has other places before those of its tokens, and labels
that are put together by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

WORDS, PLACES = 20, 5


class Captioner(nn.Module):
    """Attends from each token to the places of an image and to the tokens before it."""

    def __init__(self, width=8, written=False, kept=True):
        super().__init__()
        self.see, self.embed = nn.Linear(6, width), nn.Embedding(WORDS, width)
        self.attend = nn.MultiheadAttention(width, 2, batch_first=True)
        self.head, self.written, self.kept = nn.Linear(width, WORDS), written, kept

    def mask(self, steps):
        if not self.written:
            return torch.ones(steps, steps).triu(1).bool()
        mask = torch.zeros(steps, steps, dtype=torch.bool)
        mask[:, PLACES:] = True
        text = steps - PLACES
        mask[PLACES:, PLACES:] = torch.ones(text, text).triu(1).bool()
        return mask

    def forward(self, image, ids):
        x = torch.cat([self.see(image), self.embed(ids)], dim=1)
        x = x + self.attend(x, x, x, attn_mask=self.mask(x.shape[1]))[0]
        return self.head(x if self.kept else x[:, PLACES:])


def loss(scores, labels):
    F.cross_entropy(scores.reshape(-1, WORDS), labels.reshape(-1)).backward()


def following(scores, ids):
    loss(scores[:, PLACES:-1], ids[:, 1:])


def from_the_last_place(scores, ids):
    loss(scores[:, PLACES - 1 : -1], ids)


def padded(scores, ids):
    loss(scores[:, PLACES:], F.pad(ids, (0, 1), value=-100)[:, 1:])


def ignored(scores, ids):
    blank = torch.full((len(ids), PLACES), -100)
    loss(scores[:, :-1], torch.cat([blank, ids], 1)[:, 1:])


def appended(scores, ids):
    blank = torch.full((len(ids), 1), -100)
    loss(scores[:, PLACES:], torch.cat([ids[:, 1:], blank], 1))


def copied(scores, ids):
    loss(scores[:, PLACES:], ids)


def twice(scores, ids):
    labels = ids[:, 1:].reshape(-1)
    scores = scores[:, PLACES:-1].reshape(-1, WORDS)
    loss(scores, F.pad(labels, (0, 1), value=-100)[1:])


def twice_appended(scores, ids):
    blank = torch.full((len(ids), 1), -100)
    labels = torch.cat([ids[:, 1:], blank], 1)
    loss(scores[:, PLACES:-1], labels[:, 1:])


def twice_written(scores, ids):
    labels = torch.full_like(ids, -100)
    labels[:, :-1] = ids[:, 1:]
    loss(scores[:, PLACES:-1], labels[:, 1:])


def twice_masked(scores, ids):
    labels = ids.clone()[:, 1:]
    labels = labels.masked_fill(labels == 0, -100)
    loss(scores[:, PLACES:-2], labels[:, 1:])


def captioned(judge, batch, steps, written):
    image, ids = torch.randn(batch, PLACES, 6), torch.randint(0, WORDS, (batch, steps))
    judge(Captioner(written=written)(image, ids), ids)


SIZES = [(2, 9, False), (5, 5, True)]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("judge", [twice, twice_appended, twice_written, twice_masked])
def test_labels_that_are_shifted_again(judge, sizes):
    assert [code for code, _ in findings(captioned, judge, *sizes)] == ["label-shift"]


@pytest.mark.parametrize("sizes", SIZES)
def test_tokens_behind_an_image_that_are_copied(sizes):
    assert [code for code, _ in findings(captioned, copied, *sizes)] == ["label-shift"]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "judge", [following, from_the_last_place, padded, ignored, appended]
)
def test_the_next_token_behind_an_image(judge, sizes):
    assert silent(captioned, judge, *sizes)


def test_places_that_the_model_takes_away_again():
    def program(shift):
        image, ids = torch.randn(2, PLACES, 6), torch.randint(0, WORDS, (2, 9))
        loss(Captioner(kept=False)(image, ids)[:, : 9 - shift], ids[:, shift:])

    assert silent(program, 1)
    assert [code for code, _ in findings(program, 2)] == ["label-shift"]


class Started(nn.Module):
    """A start symbol stands before the tokens: each place predicts its own token."""

    def __init__(self):
        super().__init__()
        self.embed, self.start = nn.Embedding(WORDS, 8), nn.Parameter(
            torch.zeros(1, 1, 8)
        )
        self.rnn, self.head = nn.GRU(8, 8, batch_first=True), nn.Linear(8, WORDS)

    def forward(self, ids):
        x = torch.cat([self.start.expand(len(ids), -1, -1), self.embed(ids)], 1)
        return self.head(self.rnn(x)[0])


def test_a_start_symbol_before_the_tokens():
    def program(cut):
        ids = torch.randint(0, WORDS, (3, 7))
        loss(Started()(ids)[:, cut], ids)

    assert silent(program, slice(None, -1))
    found = findings(program, slice(1, None))
    assert [code for code, _ in found] == ["label-shift"]


def test_tokens_around_an_image():
    """In two pieces: no place of the scores is that of a token in both."""

    def program():
        model, ids = Captioner(), torch.randint(0, WORDS, (3, 8))
        one, image = model.embed(ids[:, :1]), model.see(torch.randn(3, 1, 6))
        x = torch.cat([one, image, model.embed(ids[:, 1:])], 1)
        x = x + model.attend(x, x, x, attn_mask=model.mask(9))[0]
        loss(model.head(x)[:, 2:-1], ids[:, 2:])

    assert silent(program)


def test_tokens_that_were_shifted_to_the_right_by_writing():
    def program(cut):
        ids = torch.randint(0, WORDS, (3, 8))
        given = torch.zeros_like(ids)
        given[:, 1:] = ids[:, :-1]
        rnn = nn.GRU(8, 8, batch_first=True)
        scores = nn.Linear(8, WORDS)(rnn(nn.Embedding(WORDS, 8)(given))[0])
        loss(scores[:, : 8 - cut], ids[:, cut:])

    assert silent(program, 0)
    assert [code for code, _ in findings(program, 1)] == ["label-shift"]
