"""Correct programs that look like mistakes by their sizes: none of them warns."""

from __future__ import annotations

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace


def labels(*shape, high=4):
    return torch.randint(0, high, shape)


def rows(n=6):
    return torch.randn(n, 10)


score, scores, three = nn.Linear(10, 1), nn.Linear(10, 4), nn.Linear(8, 4)
words, conv = nn.Embedding(30, 8), nn.Conv2d(3, 8, 3, padding=1)
lstm, attention = nn.LSTM(8, 8), nn.MultiheadAttention(8, 2)
batch_first = nn.LSTM(8, 8, batch_first=True)


def equal_sizes():
    return F.cross_entropy(nn.Linear(4, 4)(torch.randn(4, 4)), torch.arange(4))


def attention_mask():
    x = words(labels(5, 5))
    mask = torch.full((5, 5), -1e9).triu(1) + torch.zeros(5, 1, 5)
    weights = (x @ x.mT + mask).softmax(-1)
    return F.cross_entropy(three(weights @ x).permute(0, 2, 1), labels(5, 5))


def relative_position_bias():
    x = torch.randn(6, 2, 9, 4)
    bias = nn.Embedding(17, 2)(torch.arange(9)[:, None] - torch.arange(9) + 8)
    weights = (x @ x.mT + bias.permute(2, 0, 1)).softmax(-1)
    return F.mse_loss((weights @ x).transpose(1, 2).flatten(2), torch.rand(6, 9, 8))


def rotary():
    x = words(labels(4, 4)).unflatten(-1, (2, 4))
    angle = torch.arange(4)[:, None, None] / 10 ** torch.arange(2)
    one, two = x.chunk(2, -1)
    x = torch.cat((one * angle.cos() - two * angle.sin(), one * angle.sin()), -1)
    return F.cross_entropy(three(x.flatten(2)).transpose(1, 2), labels(4, 4))


def shifted_rows():
    scores = torch.randn(3, 2, 5, 5, requires_grad=True)
    padded = F.pad(scores, (1, 0)).view(3, 2, 6, 5)[:, :, 1:].view_as(scores)
    return padded.softmax(-1).square().mean()


def squeeze_and_excite():
    x = conv(torch.rand(8, 3, 8, 8))
    gate = torch.sigmoid(nn.Linear(8, 8)(x.mean((2, 3))))[:, :, None, None]
    return F.cross_entropy(three((x * gate).mean((2, 3))), labels(8))


def label_smoothing():
    return F.cross_entropy(scores(rows()), labels(6), label_smoothing=0.1)


def mixup():
    y = F.one_hot(labels(4), 4).float()
    return F.cross_entropy(scores(rows(4)), 0.3 * y + 0.7 * y[torch.randperm(4)])


def contrastive():
    one, two = F.normalize(scores(rows()), dim=1), F.normalize(scores(rows()), dim=1)
    similar = one @ two.t() / 0.1
    to_text = F.nll_loss(similar.log_softmax(0).t(), torch.arange(6))
    return F.cross_entropy(similar, torch.arange(6)) + to_text


def supervised_contrastive():
    e = F.normalize(scores(rows()), dim=1)
    y = labels(6).view(-1, 1)
    same = torch.eq(y, y.T).float()
    logs = (e @ e.t()).log_softmax(1)
    return -((same * logs).sum(1) / same.sum(1)).mean()


def gan():
    fake = scores(rows()).detach()
    critic = nn.Linear(4, 1)
    real = F.binary_cross_entropy_with_logits(critic(fake), torch.ones(6, 1))
    return real + F.huber_loss(critic(fake), torch.ones(6, 1)) + critic(fake).mean()


def vae():
    mean, log_var = nn.Linear(10, 8)(rows()).chunk(2, 1)
    z = mean + torch.randn(3, 6, 4) * (0.5 * log_var).exp()
    x = torch.rand(6, 5)
    found = torch.sigmoid(nn.Linear(4, 5)(z))
    several = ((found - x) ** 2).sum(-1).mean()
    return several + (mean**2 + log_var.exp() - 1 - log_var).sum()


def distillation():
    with torch.no_grad():
        teacher = nn.Linear(10, 4)(rows()) / 2
    student = scores(rows()) / 2
    hard = F.cross_entropy(student * 2, labels(6))
    soft = F.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    return hard + soft


def ctc():
    logs = three(lstm(words(labels(12, 12)))[0]).log_softmax(2)
    return F.ctc_loss(
        logs, labels(12, 3, high=3) + 1, torch.full((12,), 12), torch.full((12,), 3)
    )


def triplets_by_broadcasting():
    e, y = scores(rows()), torch.arange(6) // 2
    far = torch.cdist(e, e)
    same = y[:, None] == y
    gap = far[:, :, None] - far[:, None, :] + 0.2
    wanted = same[:, :, None] & ~same[:, None, :]
    ranks = score(rows()).squeeze(1)
    order = F.relu(1 - (ranks[:, None] - ranks)).mean()
    return (gap.relu() * wanted).mean() + order


def per_pixel():
    made = nn.Conv2d(8, 4, 1)(conv(torch.rand(4, 3, 4, 4)))
    y = labels(4, 4, 4)
    hot = F.one_hot(y, 4).permute(0, 3, 1, 2)
    dice = (made.softmax(1) * hot).sum((2, 3)).mean()
    each = F.cross_entropy(made, y, reduction="none")
    return ((1 - torch.exp(-each)) ** 2 * each).mean() - dice


def several_heads():
    hidden = rows()
    ages = F.mse_loss(score(hidden).squeeze(1), torch.rand(6))
    tags = F.binary_cross_entropy_with_logits(scores(hidden), torch.rand(6, 4))
    return F.cross_entropy(scores(hidden), labels(6)) + ages + tags


def accumulated():
    for x, y in zip(rows(8).split(4), labels(8).split(4)):
        (F.cross_entropy(scores(x), y) / 2).backward()
    return F.cross_entropy(scores(rows(1)), labels(1))


def time_first():
    out = lstm(words(labels(6, 6)))[0]
    last = F.cross_entropy(three(out[-1]), labels(6))
    return last + sum(F.cross_entropy(step, labels(6)) for step in three(out))


def time_first_sample_by_sample():
    out = three(lstm(words(labels(9, 6)))[0])
    return sum(F.cross_entropy(out[:, i], labels(9)) for i in range(6))


def attention_time_first():
    x = words(labels(6, 6)).transpose(0, 1)
    first = attention(x, x, x)[0].transpose(0, 1)[:, 0]
    return F.cross_entropy(three(first), labels(6))


def frames_as_batch():
    frames = conv(torch.rand(7, 3, 8, 8)).mean((2, 3))
    return F.cross_entropy(three(lstm(frames.unsqueeze(1))[0][-1]), labels(1))


def one_bag():
    bag = conv(torch.rand(7, 3, 8, 8)).mean((2, 3))
    weights = nn.Linear(8, 1)(bag).softmax(0)
    return F.binary_cross_entropy_with_logits(
        nn.Linear(8, 1)((weights * bag).sum(0)), torch.ones(1)
    )


def spans():
    return F.cross_entropy(nn.Linear(8, 2)(words(labels(4, 12))), labels(4, 2, high=12))


def quantiles():
    q = torch.tensor([0.1, 0.5, 0.9])
    gap = torch.rand(6, 1) - nn.Linear(10, 3)(rows())
    return torch.max(q * gap, (q - 1) * gap).mean()


def categories_of_return():
    support = torch.linspace(0, 1, 6)
    aims = (torch.rand(6).unsqueeze(1) + 0.9 * support).softmax(1)
    return F.cross_entropy(nn.Linear(10, 6)(rows()), aims)


def variance_of_each_row():
    mean, spread = scores(rows()), F.softplus(score(rows())) + 0.1
    y = torch.rand(6, 4)
    by_hand = (((y - mean) / spread) ** 2 + spread.log()).mean()
    return by_hand + F.gaussian_nll_loss(mean, y, spread)


def packed():
    x = nn.utils.rnn.pad_sequence([torch.randn(n, 8) for n in (5, 4, 2)], True)
    given = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 4, 2]), True)
    out, _ = nn.utils.rnn.pad_packed_sequence(batch_first(given)[0], True)
    return F.cross_entropy(three(out).flatten(0, 1), labels(15))


def windows():
    x = torch.rand(8, 8, 8, 8)
    x = x.view(8, 2, 4, 2, 4, 8).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 8)
    x = three(x).view(8, 2, 2, 4, 4, 4).permute(0, 1, 3, 2, 4, 5).reshape(8, 64, 4)
    return F.cross_entropy(x.mean(1), labels(8))


def shuffles():
    x = conv(torch.rand(4, 3, 8, 8))
    x = x.view(4, 2, 4, 8, 8).transpose(1, 2).reshape(4, 8, 8, 8)
    return F.mse_loss(F.pixel_shuffle(x, 2), torch.rand(4, 2, 16, 16))


def windows_after_a_grid():
    x = torch.rand(2, 8, 3, 5, 3, 5).permute(0, 1, 3, 2, 5, 4).reshape(2, 8, 15, 15)
    x = nn.Conv2d(8, 8, 1)(x).view(2, 8, 5, 3, 5, 3).permute(0, 1, 3, 2, 5, 4)
    x = x.reshape(2, 8, 15, 15).view(2, 8, 5, 3, 5, 3)
    return F.mse_loss(x.mean((3, 5)), torch.rand(2, 8, 5, 5))


def stacked_frames():
    x = words(labels(4, 12))
    return F.mse_loss(nn.Linear(24, 3)(x.view(4, 4, 24)), torch.rand(4, 4, 3))


def batch_of_one():
    return F.mse_loss(score(rows(1)).squeeze(), torch.rand(1, 1).squeeze())


def double_on_purpose():
    target = torch.from_numpy(numpy.random.rand(6, 4))
    return ((scores(rows()).double() - target) ** 2).mean()


def baseline():
    return ((torch.rand(6, 5) - score(rows())) * torch.rand(6, 5)).mean()


def evaluation():
    scores.eval()
    F.cross_entropy(scores(rows()).detach(), labels(6))
    scores.train()
    return F.cross_entropy(scores(rows()), labels(6))


CORRECT = [value for value in list(globals().values()) if callable(value)]
CORRECT = [c for c in CORRECT if getattr(c, "__module__", "") == __name__]
CORRECT = [c for c in CORRECT if c.__name__ not in ("labels", "rows")]


@pytest.mark.parametrize("program", CORRECT, ids=lambda program: program.__name__)
def test_a_correct_program_gives_no_warning(program):
    torch.manual_seed(0)
    modules = [m for m in globals().values() if isinstance(m, nn.Module)]
    with shapetrace.trace(*modules) as t:
        program().backward()
    assert [str(found) for found in t.findings if found.severity != "note"] == []
