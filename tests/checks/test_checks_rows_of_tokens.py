"""Labels that are shifted, or not, where a batch is put together row by row."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

import shapetrace
from tests.checks.test_checks_kinds import findings

WORDS = 20


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, WORDS)
        self.body = nn.GRU(8, 8, batch_first=True)

    def forward(self, ids):
        return self.head(self.body(self.embed(ids))[0])


def sequences(equal):
    sizes = (7, 7, 7, 7) if equal else (4, 6, 7, 5)
    return [torch.randint(1, WORDS, (size,)) for size in sizes]


def loss_of(scores, labels):
    F.cross_entropy(scores.flatten(0, 1), labels.flatten()).backward()


def plain(model, ids, labels):
    loss_of(model(ids), labels)


def shifting(model, ids, labels):
    loss_of(model(ids)[:, :-1], labels[:, 1:])


def in_buffers(shift, begins=0):
    def make(rows):
        ids = torch.zeros(len(rows), 8, dtype=torch.long)
        labels = torch.full((len(rows), 8), -100)
        for i, row in enumerate(rows):
            if begins:
                ids[i, 0] = 1
            ids[i, begins : begins + len(row)] = row
            labels[i, : len(row) - shift] = row[shift:]
        return ids, labels

    return make


def of_choices(shift):
    def make(rows):
        ids = torch.zeros(2, 2, 8, dtype=torch.long)
        labels = torch.full((2, 2, 8), -100)
        for i, row in enumerate(rows):
            ids[i // 2, i % 2, : len(row)] = row
            labels[i // 2, i % 2, : len(row) - shift] = row[shift:]
        return ids.flatten(0, 1), labels.view(-1, 8)

    return make


def padded(one, two):
    def make(rows):
        ids = pad_sequence([row[one] for row in rows], batch_first=True)
        labels = [row[two] for row in rows]
        return ids, pad_sequence(labels, batch_first=True, padding_value=-100)

    return make


def cut_from_a_corpus(shift):
    def make(rows):
        text = torch.cat(rows)
        ids = torch.stack([text[i : i + 5] for i in (0, 4, 7)])
        return ids, torch.stack([text[i + shift : i + shift + 5] for i in (0, 4, 7)])

    return make


def rolled(shift):
    def make(rows):
        ids = pad_sequence(rows, batch_first=True)
        return ids, ids.roll(-shift, dims=1) if shift else ids.clone()

    return make


def of_a_prefix(rows):  # labels for the answers alone, of prompts and answers
    ids = torch.zeros(len(rows), 8, dtype=torch.long)
    labels = torch.full((len(rows), 8), -100)
    for i, row in enumerate(rows):
        prompt, answer = row[:2], row[2:].clone()
        ids[i, :2], ids[i, 2 : len(row)] = prompt, answer
        labels[i, 2 : len(row)] = answer
    return ids, labels


def from_the_right(rows):
    ids = torch.zeros(len(rows), 8, dtype=torch.long)
    labels = torch.full((len(rows), 8), -100)
    for i, row in enumerate(rows):
        ids[i, -len(row) :], labels[i, -len(row) :] = row, row
    return ids, labels


def of_other_sequences(rows):
    ids, labels = pad_sequence(rows, True), pad_sequence(rows[::-1], True)
    return ids, labels.clone()


ALL, FIRST, LAST = slice(None), slice(None, -1), slice(1, None)
MISTAKES = {
    "twice, in buffers": (in_buffers(1), shifting),
    "twice, of choices": (of_choices(1), shifting),
    "twice, padded": (padded(FIRST, LAST), shifting),
    "twice, of a corpus": (cut_from_a_corpus(1), shifting),
    "twice, rolled": (rolled(1), shifting),
    "not, in buffers": (in_buffers(0), plain),
    "not, of choices": (of_choices(0), plain),
    "not, padded": (padded(ALL, ALL), plain),
    "not, of a corpus": (cut_from_a_corpus(0), plain),
}
CORRECT = {
    "in buffers": (in_buffers(1), plain),
    "in buffers, by the loss": (in_buffers(0), shifting),
    "behind a start": (in_buffers(0, begins=1), plain),
    "of choices": (of_choices(1), plain),
    "of choices, by the loss": (of_choices(0), shifting),
    "padded": (padded(FIRST, LAST), plain),
    "padded, by the loss": (padded(ALL, ALL), shifting),
    "of a corpus": (cut_from_a_corpus(1), plain),
    "of a corpus, by the loss": (cut_from_a_corpus(0), shifting),
    "rolled": (rolled(1), plain),
    "rolled by nothing": (rolled(0), shifting),
    "of a prefix": (of_a_prefix, shifting),
    "from the right": (from_the_right, shifting),
    "of other sequences": (of_other_sequences, plain),
}


def program(make, step, equal):
    model = Model()
    return lambda: step(model, *make(sequences(equal)))


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("name", MISTAKES)
def test_labels_that_are_not_those_of_the_next_token(name, equal):
    found = findings(program(*MISTAKES[name], equal))
    assert "label-shift" in [code for code, _ in found]


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("name", CORRECT)
def test_labels_that_are_those_of_the_next_token(name, equal):
    torch.manual_seed(0)
    run = program(*CORRECT[name], equal)
    with shapetrace.trace() as t:
        run()
    assert "label-shift" not in [found.code for found in t.findings]
