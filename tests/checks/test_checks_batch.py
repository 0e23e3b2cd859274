"""Which dimension is the batch: losses and layers say it by their signatures."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

BATCH, TIME, FEATURES = 5, 20, 6
SIZES = [(BATCH, TIME, FEATURES), (8, 8, 8)]


class Speech(nn.Module):
    """Frames to characters, by a recurrent layer; CTC takes (time, batch, classes)."""

    def __init__(self, features, batch_first):
        super().__init__()
        self.rnn = nn.LSTM(features, 8, batch_first=batch_first)
        self.fc = nn.Linear(8, 7)

    def forward(self, x):
        return self.fc(self.rnn(x)[0])


def ctc(scores, dim=-1):
    time, batch = scores.shape[:2]
    targets = torch.randint(1, 7, (batch, 3))
    lengths = torch.full((batch,), time), torch.full((batch,), 3)
    F.ctc_loss(scores.log_softmax(dim), targets, *lengths).backward()


def batch_major(sizes, batch_first):
    ctc(Speech(sizes[2], batch_first)(torch.randn(sizes)).transpose(0, 1))


def time_major(sizes, batch_first):
    batch, time, features = sizes
    ctc(Speech(features, batch_first)(torch.randn(time, batch, features)))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("program, right", [(batch_major, True), (time_major, False)])
def test_the_batch_of_ctc_is_its_second_dimension(program, right, sizes):
    assert findings(program, sizes, not right) == [("batch-dim", "Speech.rnn")]
    assert silent(program, sizes, right)


@pytest.mark.parametrize("sizes", SIZES)
def test_a_softmax_over_the_batch_of_ctc(sizes):
    batch, time, features = sizes

    def program(dim):
        ctc(nn.Linear(features, 7)(torch.randn(time, batch, features)), dim)

    assert findings(program, 1) == [("softmax-over-batch", "log_softmax")]
    assert silent(program, 2)


def test_ctc_of_one_sample_has_no_batch():
    def program():
        scores = nn.Linear(6, 7)(nn.LSTM(6, 6)(torch.randn(20, 6))[0])
        lengths = torch.tensor(20), torch.tensor(3)
        F.ctc_loss(scores.log_softmax(1), torch.randint(1, 7, (3,)), *lengths)

    assert silent(program)


class Rows(nn.Module):
    """Encodes each row of several by itself: the rows are merged into the batch."""

    def __init__(self, batch_first, join):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.join, self.fc = join, nn.Linear(8, 3)

    def forward(self, x):
        batch, rows = x.shape[:2]
        x = self.encoder(x.flatten(0, 1))
        x = self.join(x.view(batch, rows, -1, 8))
        return self.fc(x.mean(1))


class Flat(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.fc = nn.Linear(words * 8, 8)

    def forward(self, x):
        return self.fc(x.flatten(2))


def encoded(batch_first, flat, sizes):
    batch, rows, words = sizes
    join = Flat(words) if flat else lambda x: x.mean(2)
    x = torch.randn(batch, rows, words, 8)
    y = torch.randint(0, 3, (batch,))
    F.cross_entropy(Rows(batch_first, join)(x), y).backward()


@pytest.mark.parametrize("sizes", [(4, 3, 6), (4, 4, 4)])
@pytest.mark.parametrize("flat", [False, True])
def test_an_encoder_that_runs_over_a_merged_batch(flat, sizes):
    assert findings(encoded, False, flat, sizes) == [("batch-dim", "Rows.encoder")]
    assert silent(encoded, True, flat, sizes)


class Table(nn.Module):
    """Encodes the fields of several rows together, and joins those of a row."""

    def __init__(self, batch_first, fields, over_rows):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.join = nn.Linear(fields * 8, 8)
        self.over_rows, self.fc = over_rows, nn.Linear(8, 3)

    def forward(self, x):
        batch, rows, fields = x.shape[:3]
        x = self.encoder(x.view(batch, rows * fields, 8))
        x = self.over_rows(self.join(x.reshape(batch, rows, fields * 8)))
        return self.fc(x)


def pooled(x):
    return x.mean(1)


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(8, 8, batch_first=True)

    def forward(self, x):
        return self.gru(x)[0][:, -1]


def tabular(batch_first, over_rows, sizes):
    batch, rows, fields = sizes
    model = Table(batch_first, fields, over_rows())
    x, y = torch.randn(*sizes, 8), torch.randint(0, 3, (batch,))
    F.cross_entropy(model(x), y).backward()


@pytest.mark.parametrize("sizes", [(4, 3, 5), (4, 4, 4), (12, 3, 4)])
@pytest.mark.parametrize("over_rows", [lambda: pooled, Last], ids=["mean", "gru"])
def test_an_encoder_whose_supposed_batch_becomes_features_in_part(over_rows, sizes):
    assert findings(tabular, False, over_rows, sizes) == [
        ("batch-dim", "Table.encoder")
    ]
    assert silent(tabular, True, over_rows, sizes)


def variables_over_time(sizes):
    """Time first: the layer runs over the time of each variable of each sample."""
    time, batch, variables = sizes
    encoder = nn.TransformerEncoderLayer(8, 2, 16, 0.0)
    join, then = nn.Linear(variables * 8, 8), nn.GRU(8, 8)
    x = encoder(torch.randn(*sizes, 8).view(time, batch * variables, 8))
    x = then(join(x.view(time, batch, variables * 8)))[0][-1]
    F.cross_entropy(nn.Linear(8, 3)(x), torch.randint(0, 3, (batch,))).backward()


@pytest.mark.parametrize("sizes", [(7, 3, 5), (4, 4, 4)])
def test_variables_that_become_features_of_a_time_step(sizes):
    assert silent(variables_over_time, sizes)


def test_the_layer_that_a_stack_copies_is_told_batch_first():
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace() as t:
            encoded(False, False, (4, 3, 6))
    lines = [fix.line for fix in t.findings[0].fixes]
    assert lines == [
        "layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)",
        "x = self.encoder(x.flatten(0, 1).transpose(0, 1)).transpose(0, 1)",
    ]


class Translator(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.net = nn.Transformer(8, 2, 1, 1, 16, 0.0, batch_first=batch_first)
        self.fc = nn.Linear(8, 20)

    def forward(self, source, target):
        steps = target.shape[1 if self.net.batch_first else 0]
        mask = torch.ones(steps, steps).triu(1).bool()
        return self.fc(self.net(self.embed(source), self.embed(target), tgt_mask=mask))


def translated(batch_first, sizes):
    source, target = torch.randint(0, 20, sizes), torch.randint(0, 20, sizes)
    logits = Translator(batch_first)(source, target)
    F.cross_entropy(logits[:, :-1].transpose(1, 2), target[:, 1:]).backward()


def translated_time_major(batch_first, sizes):
    source, target = torch.randint(0, 20, sizes), torch.randint(0, 20, sizes)
    logits = Translator(batch_first)(source, target)
    F.cross_entropy(logits[:-1].transpose(1, 2), target[1:]).backward()


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("sizes", [(5, 9), (9, 9)])
def test_what_is_shifted_by_a_step_is_the_time(sizes):
    assert findings(translated, False, sizes) == [("batch-dim", "Translator.net")]
    assert silent(translated, True, sizes)
    assert silent(translated_time_major, False, sizes)


class Twice(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.layers = nn.Sequential(*(Speech(7, batch_first) for _ in range(2)))

    def forward(self, x):
        return self.layers(x)


def test_two_layers_that_one_line_builds_are_one_mistake():
    def program(batch_first):
        ctc(Twice(batch_first)(torch.randn(20, 5, 7)))

    assert findings(program, True) == [("batch-dim", "Twice.layers.0.rnn")]
    assert silent(program, False)


class Turned(nn.Module):
    """Rotary positions, by the time or by the batch."""

    def __init__(self, dim):
        super().__init__()
        angles = torch.arange(64)[:, None] * torch.exp(-torch.arange(4.0))
        self.register_buffer("cos", angles.cos())
        self.q, self.k, self.fc = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.dim = dim

    def turn(self, x):
        rows = self.cos[: x.shape[self.dim]].unsqueeze(1 - self.dim)
        return x * rows

    def forward(self, x):
        scores = self.turn(self.q(x)) @ self.turn(self.k(x)).mT
        return self.fc(scores.softmax(-1) @ x)


@pytest.mark.parametrize("sizes", [(5, 9), (9, 9)])
def test_a_table_of_positions_that_turns_the_samples(sizes):
    def program(dim):
        out = Turned(dim)(torch.randn(*sizes, 4))
        F.cross_entropy(out.flatten(0, 1), torch.randint(0, 3, sizes).flatten())

    assert ("batch-dim", "getitem") in findings(program, 0)
    assert silent(program, 1)


class Heads(nn.Module):
    """Rotary positions of (batch, time, heads, features), cut by one of the first."""

    def __init__(self, dim):
        super().__init__()
        angles = torch.arange(64)[:, None] * torch.exp(-torch.arange(4.0))
        self.register_buffer("cos", angles.cos()[:, None, None])
        self.qkv, self.fc, self.dim = nn.Linear(8, 24), nn.Linear(8, 3), dim

    def forward(self, x):
        rows = self.cos[: x.shape[self.dim]].transpose(0, self.dim)
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).unbind(2)
        q, k, v = ((one * rows).transpose(1, 2) for one in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.fc(out.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("sizes", [(5, 9), (9, 9)])
def test_a_table_of_positions_for_heads_that_turns_the_samples(sizes):
    def program(dim):
        out = Heads(dim)(torch.randn(*sizes, 8))
        F.cross_entropy(out.mT, torch.randint(0, 3, sizes))

    assert findings(program, 0) == [("batch-dim", "getitem")]
    assert silent(program, 1)


def test_the_samples_of_a_loss_by_hand_are_those_of_its_mean():
    def program(dim):
        x, y = torch.randn(8, 6), torch.randn(8, 1)
        shares, means = nn.Linear(6, 4)(x).softmax(dim), nn.Linear(6, 4)(x)
        likely = torch.distributions.Normal(means, 1.0).log_prob(y)
        (-torch.logsumexp(shares.log() + likely, 1).mean()).backward()

    assert findings(program, 0) == [("softmax-over-batch", "softmax")]
    assert silent(program, 1)


def test_samples_of_an_importance_weight_are_not_the_batch():
    def program():
        mean = nn.Linear(6, 1)(torch.randn(8, 6)).squeeze(1)
        draws = mean + torch.randn(5, 8)
        ratio = -(draws**2) + (draws - mean) ** 2
        (-(ratio.softmax(0).detach() * ratio).sum(0).mean()).backward()

    assert silent(program)


class Words(nn.Module):
    """Tokens with a table of positions along their first dimension."""

    def __init__(self, batch_first):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.register_buffer("table", torch.randn(30, 1, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
        self.head = nn.Linear(8, 20)

    def forward(self, tokens):
        x = self.embed(tokens)
        return self.head(self.layer(x + self.table[: x.size(0)]))


@pytest.mark.parametrize(("columns", "steps"), [(4, 6), (6, 6)])
def test_a_corpus_that_is_cut_into_columns(columns, steps):
    """The columns are the batch, and the steps within each the time, though both were
    one dimension of the corpus."""

    def program(batch_first):
        rows = torch.randint(0, 20, (columns * 13,)).view(columns, -1)
        model = Words(batch_first)
        for at in (0, steps):
            tokens = rows[:, at : at + steps]
            scores = model(tokens if batch_first else tokens.t()).flatten(0, 1)
            F.cross_entropy(scores, torch.randint(0, 20, scores.shape[:1])).backward()

    assert silent(program, False)
    assert "batch-dim" in [code for code, _ in findings(program, True)]
