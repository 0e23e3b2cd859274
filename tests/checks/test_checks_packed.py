"""A loss behind packed sequences is asked for what it takes as any other."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pad_packed_sequence,
    unpack_sequence,
)

from tests.checks.test_checks_kinds import findings, silent

LENGTHS = torch.tensor([7, 5, 4])


def scores(first, classes=7):
    x = pack_padded_sequence(torch.randn(7, 3, 7), LENGTHS)
    out, _ = pad_packed_sequence(nn.LSTM(7, 7)(x)[0])
    return pack_padded_sequence(first(nn.Linear(7, classes)(out)), LENGTHS)


def ctc(packed, last=lambda x: x):
    padded, lengths = pad_packed_sequence(packed)
    targets = torch.randint(1, padded.shape[-1], (3, 2))
    F.ctc_loss(last(padded), targets, lengths, torch.tensor([2, 2, 1])).backward()


def nll(packed, last=lambda x: x):
    data = last(packed.data)
    F.nll_loss(data, torch.randint(0, data.shape[1], data.shape[:1])).backward()


def rows(packed, last=lambda x: x):
    data = torch.cat(unpack_sequence(packed))
    F.nll_loss(last(data), torch.randint(0, data.shape[1], data.shape[:1])).backward()


def same(x):
    return x


def logs(x):
    return x.log_softmax(-1)


@pytest.mark.parametrize("loss", [ctc, nll, rows])
@pytest.mark.parametrize("classes", [5, 7])
def test_raw_scores_that_were_packed(loss, classes):
    program = findings(lambda: loss(scores(same, classes)))
    assert program == [("log-softmax-missing-before-nll", "Linear")]
    assert silent(lambda: loss(scores(logs, classes)))
    assert silent(lambda: loss(scores(same, classes), logs))


def test_a_softmax_before_packing():
    def program(first):
        packed = scores(first, 5)
        labels = PackedSequence(torch.randint(0, 5, packed.data.shape[:1]), *packed[1:])
        F.cross_entropy(packed.data, labels.data).backward()

    assert ("softmax-before-cross-entropy", "softmax") in findings(
        program, lambda x: x.softmax(-1)
    )
    assert silent(program, same)
