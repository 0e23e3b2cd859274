"""The fifteen situations that shapetrace was asked for, held to what must be read."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace


class MLP(nn.Module):
    def __init__(self, *widths):
        super().__init__()
        self.fc1 = nn.Linear(*widths[:2])
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(*widths[1:])

    def forward(self, x):
        return self.fc2(self.relu(self.fc1(x)))


def traced(model, step):
    """Run a step under a trace; gives the trace and the exception, if any."""
    t = shapetrace.trace(model)
    try:
        with warnings.catch_warnings(), t:
            warnings.simplefilter("ignore", UserWarning)  # mse_loss warns, then raises
            step()
    except (RuntimeError, ValueError, IndexError) as error:
        return t, error
    return t, None


def alarms(t):
    return [f.code for f in t.findings if f.severity != "note"]


def test_a1_more_classes_than_labels_is_legal_and_explain_states_the_facts():
    model = MLP(100, 50, 73)
    with shapetrace.trace(model) as t:
        logits = model(torch.randn(2, 100))
        F.cross_entropy(logits, torch.tensor([4, 31]))
    assert alarms(t) == []
    text = str(t.explain())
    assert "73 classes from `model.fc2` (out_features)" in " ".join(text.split())
    assert "targets span only 4 to 31" in text
    with pytest.raises(shapetrace.ShapeError) as caught:
        t.expect(logits, "batch 33")
    assert "fc2" in str(caught.value)
    assert caught.value.diagnosis.culprits[0].name == "fc2"


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, 32, batch_first=True)
        self.fc = nn.Linear(32, 73)

    def forward(self, x):
        _, (h_n, _) = self.lstm(self.embedding(x))
        return self.fc(h_n[-1])


def test_a2_the_sequence_was_dropped_at_the_index():
    model = Recurrent()
    x, y = torch.randint(0, 50, (2, 20)), torch.randint(0, 33, (2, 20))
    t, error = traced(model, lambda: F.cross_entropy(model(x), y))
    assert "multi-target not supported" in str(error)
    assert t.failure.where == "loss:cross_entropy"
    culprit = t.failure.culprits[0]
    assert (culprit.kind, culprit.name, culprit.expected) == ("function", "getitem", 20)
    text = str(t.failure)
    assert "h_n[-1]" in text and "20" in text and "permute" in text
    assert "(2, 73, 20)" in text and "(2,)" in text


def test_a3_the_last_layer_is_too_wide():
    model = MLP(100, 50, 73)
    x, y = torch.randn(2, 100), torch.randn(2, 33)
    t, error = traced(model, lambda: nn.MSELoss()(model(x), y))
    assert "(73)" in str(error)
    culprit = t.failure.culprits[0]
    assert (culprit.name, culprit.dim, culprit.size, culprit.expected) == (
        *("fc2", 1, 73),
        33,
    )
    assert "nn.Linear(50, 33)" in t.failure.fixes[0].line
    assert t.failure.fixes[0].status == "verified"


def test_b1_a_trailing_one_in_the_target():
    model = MLP(20, 16, 10)
    x, y = torch.randn(32, 20), torch.randint(0, 10, (32, 1))
    t, _ = traced(model, lambda: F.cross_entropy(model(x), y))
    culprit = t.failure.culprits[0]
    assert (culprit.kind, culprit.dim, culprit.size) == ("target", 1, 1)
    assert "squeeze(1)" in t.failure.fixes[0].line


def test_b2_a_prediction_of_one_is_stretched_to_two_targets():
    model = nn.Sequential(nn.Linear(20, 1))
    with pytest.warns(UserWarning):
        with shapetrace.trace(model) as t:
            nn.MSELoss()(model(torch.randn(64, 20)), torch.randn(64, 2)).backward()
    finding = next(f for f in t.findings if f.code == "silent-broadcast")
    culprit = finding.culprits[0]
    assert (culprit.name, culprit.size, culprit.expected) == ("0", 1, 2)
    assert "out_features" in str(finding)


def test_b3_the_lengths_differ_not_the_view():
    model = nn.Linear(8, 20)

    def step():
        logits = model(torch.randn(32, 10, 8)).view(-1, 20)
        F.cross_entropy(logits, torch.randint(0, 20, (32, 9)).view(-1))

    t, error = traced(model, step)
    assert "(320)" in str(error)
    culprit = t.failure.culprits[0]
    assert culprit.kind in ("target", "input")
    text = str(t.failure)
    assert "32·10" in text and "32·9" in text


def test_c1_one_sample_is_correct():
    model = MLP(784, 128, 10)
    t, error = traced(
        model, lambda: F.cross_entropy(model(torch.randn(1, 784)), torch.tensor([3]))
    )
    assert error is None and alarms(t) == []


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(1000, 16)
        self.rnn = nn.RNN(16, 32, batch_first=True)
        self.fc = nn.Linear(32, 1000)

    def forward(self, x):
        return self.fc(self.rnn(self.embedding(x))[0])


def test_c2_ignore_index_does_not_align_lengths():
    model = Tagger()
    x, y = torch.randint(0, 1000, (1, 10)), torch.randint(0, 1000, (1, 8))
    t, _ = traced(
        model,
        lambda: F.cross_entropy(model(x).view(-1, 1000), y.view(-1), ignore_index=0),
    )
    assert t.failure.culprits[0].kind in ("target", "input")
    text = str(t.failure)
    assert "10" in text and "8" in text and "ignore_index" in text


def cnn():
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 8 * 8, 10)),
    )


def test_c3_images_of_the_right_size_are_correct():
    model = cnn()
    images, labels = torch.randn(1, 3, 32, 32), torch.tensor([3])
    t, error = traced(model, lambda: F.cross_entropy(model(images), labels))
    assert error is None and alarms(t) == []


def test_c3_images_of_another_size_are_followed_through_both_pools():
    model = cnn()
    t, error = traced(model, lambda: model(torch.randn(1, 3, 28, 28)))
    assert "1568" in str(error)
    names = [(c.kind, c.name.split()[0]) for c in t.failure.culprits]
    assert names[0] == ("module", "7") and ("input", "input") in names
    text = str(t.failure)
    assert "32·7·7" in text and "2048" in text and "28" in text
    assert "nn.Linear(1568, 10)" in text and "32" in text


def test_d1_softmax_before_cross_entropy():
    model = nn.Sequential(nn.Linear(8, 5), nn.Softmax(dim=1))
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace(model) as t:
            F.cross_entropy(model(torch.randn(4, 8)), torch.randint(0, 5, (4,)))
    finding = next(f for f in t.findings if f.code == "softmax-before-cross-entropy")
    assert finding.culprits[0].name in ("1", "softmax")


def test_d2_float_one_hot_targets_are_legal():
    model = nn.Linear(8, 5)
    y = F.one_hot(torch.randint(0, 5, (4,)), 5).float()
    t, error = traced(model, lambda: F.cross_entropy(model(torch.randn(4, 8)), y))
    assert error is None and alarms(t) == []


def test_d2_integer_one_hot_targets():
    model = nn.Linear(8, 5)
    y = F.one_hot(torch.randint(0, 5, (4,)), 5)
    t, error = traced(model, lambda: F.cross_entropy(model(torch.randn(4, 8)), y))
    assert "floating point" in str(error)
    assert t.failure.culprits[0].kind == "target"
    assert any(
        "argmax(1)" in fix.line or ".float()" in fix.line for fix in t.failure.fixes
    )


def test_d3_the_data_has_two_batch_sizes():
    model = MLP(20, 16, 10)
    x, y = torch.randn(30, 20), torch.randint(0, 10, (32,))
    t, _ = traced(model, lambda: F.cross_entropy(model(x), y))
    assert {c.kind for c in t.failure.culprits} == {"target", "input"}
    text = str(t.failure)
    assert "30" in text and "32" in text


def test_d3_a_short_last_batch_on_both_sides_is_correct():
    model = MLP(20, 16, 10)
    with shapetrace.trace(model) as t:
        for n in (32, 32, 7):
            y = torch.randint(0, 10, (n,))
            F.cross_entropy(model(torch.randn(n, 20)), y).backward()
    assert alarms(t) == []


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 256, batch_first=True)

    def forward(self, packed):
        return self.lstm(packed)


def test_e1_packed_sequences_are_shown_packed_and_padded():
    from torch.nn.utils.rnn import (
        pack_padded_sequence,
        pad_packed_sequence,
        pad_sequence,
    )

    model = Packed()
    with shapetrace.trace(model) as t:
        padded = pad_sequence([torch.randn(n, 8) for n in (5, 3, 2)], batch_first=True)
        packed = pack_padded_sequence(padded, torch.tensor([5, 3, 2]), batch_first=True)
        out, lengths = pad_packed_sequence(model(packed)[0], batch_first=True)
    assert out.shape == (3, 5, 256) and alarms(t) == []
    shapes = {ref.path: ref.shape for ref in t.calls[1].inputs}
    assert shapes["args[0].data"] == (10, 8)
    assert t.calls[1].outputs[0].shape == (10, 256)
    made = {ref.shape for call in t.functions for ref in call.outputs or ()}
    assert (3, 5, 8) in made and (3, 5, 256) in made


def test_e2_sigmoid_then_bce_is_correct():
    model = nn.Sequential(nn.Linear(8, 5), nn.Sigmoid())
    y = torch.randint(0, 2, (32, 5)).float()
    t, error = traced(model, lambda: nn.BCELoss()(model(torch.randn(32, 8)), y))
    assert error is None and alarms(t) == []


def test_e2_sigmoid_then_bce_with_logits():
    model = nn.Sequential(nn.Linear(8, 5), nn.Sigmoid())
    y = torch.randint(0, 2, (32, 5)).float()
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace(model) as t:
            nn.BCEWithLogitsLoss()(model(torch.randn(32, 8)), y)
    assert alarms(t) == ["sigmoid-before-bce-with-logits"]


def test_e3_a_decoder_step_is_correct():
    model = nn.Linear(256, 1000)
    y = torch.randint(0, 1000, (32,))
    t, error = traced(model, lambda: F.cross_entropy(model(torch.randn(32, 256)), y))
    assert error is None and alarms(t) == []
