"""The part of a recurrent layer's output that is taken, and what is meant."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import shapetrace
from tests.checks.test_checks_fixes import run

#: as many samples as steps and features
X, LENGTHS = torch.randn(8, 8, 8), torch.tensor([8, 7, 6, 5, 4, 3, 2, 1])


class Model(nn.Module):
    """A recurrent layer of eight features, and what is made of it."""

    def __init__(self, forward, layer=nn.LSTM, **options):
        super().__init__()
        self.lstm, self.use = layer(8, 8, **options), forward
        self.decoder = nn.LSTM(8, 8, **options)
        self.head, self.attend = nn.LazyLinear(4), nn.LazyLinear(1)

    def forward(self, x):
        return self.head(self.use(self, x))


def found(model):
    torch.manual_seed(0)
    model(X)
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(X), torch.arange(8) % 4).backward()
    return [one for one in t.findings if one.severity != "note"]


BOTH = {"bidirectional": True, "batch_first": True}
DEEP = {"num_layers": 2, "batch_first": True}


def halves(m, x):
    out, _ = m.lstm(x)
    return torch.cat([out[:, -1, :8], out[:, 0, 8:]], dim=1)


def one_half(m, x):
    last = m.lstm(x)[0][:, -1]
    return last[:, :8]


def pooled(m, x):
    return m.lstm(x)[0].mean(1)


def last_and_mean(m, x):
    out, _ = m.lstm(x)
    return out[:, -1] + out.mean(1)


def attended(m, x):
    out, _ = m.lstm(x)
    weights = m.attend(out * out[:, -1:]).softmax(1)
    return (weights * out).sum(1)


def decoded(m, x):
    _, state = m.lstm(x)
    return m.decoder(x[:, :1], state)[0].flatten(1)


def packed(m, x):
    seen = pack_padded_sequence(x, LENGTHS, batch_first=True)
    out, _ = pad_packed_sequence(m.lstm(seen)[0], batch_first=True)
    return out.amax(1)


MEANT = {
    "each direction for itself": (halves, nn.LSTM, BOTH),
    "one half of the last step": (one_half, nn.LSTM, BOTH),
    "the mean over the steps": (pooled, nn.GRU, BOTH),
    "the last step and the mean": (last_and_mean, nn.LSTM, BOTH),
    "attention with the last step": (attended, nn.LSTM, BOTH),
    "packed": (packed, nn.LSTM, BOTH),
    "the last step of one direction": (
        lambda m, x: m.lstm(x)[0][:, -1],
        nn.LSTM,
        {"batch_first": True},
    ),
    "one step alone": (lambda m, x: m.lstm(x[:, :1])[0][:, -1], nn.LSTM, BOTH),
    "a step in the middle": (lambda m, x: m.lstm(x)[0][:, 3], nn.LSTM, BOTH),
    "both states": (
        lambda m, x: torch.cat([*m.lstm(x)[1][0][:2]], 1),
        nn.LSTM,
        BOTH,
    ),
    "the state of the only layer": (
        lambda m, x: m.lstm(x)[1][0][0],
        nn.LSTM,
        {"batch_first": True},
    ),
    "the last state": (lambda m, x: m.lstm(x)[1][0][-1], nn.LSTM, DEEP),
    "the last state by its number": (lambda m, x: m.lstm(x)[1][1], nn.GRU, DEEP),
    "states of all layers": (
        lambda m, x: m.lstm(x)[1][0][0] + m.lstm(x)[1][0][1],
        nn.LSTM,
        {"batch_first": True, "num_layers": 1, "bidirectional": True},
    ),
    "a skip from the first layer": (
        lambda m, x: (lambda h: h[0] + h[1])(m.lstm(x)[1]),
        nn.GRU,
        DEEP,
    ),
    "the whole state": (
        lambda m, x: m.lstm(x)[1][0].transpose(0, 1).flatten(1),
        nn.LSTM,
        DEEP,
    ),
    "a decoder": (decoded, nn.LSTM, DEEP),
    "the first state beside the output": (
        lambda m, x: (lambda out, h: out.mean(1) + h[0])(*m.lstm(x)),
        nn.GRU,
        DEEP,
    ),
}


@pytest.mark.parametrize("name", MEANT)
def test_what_is_meant(name):
    use, layer, options = MEANT[name]
    assert found(Model(use, layer, **options)) == []


MISTAKES = {
    "the last step": (lambda m, x: m.lstm(x)[0][:, -1], nn.LSTM, BOTH),
    "the last step by its number": (
        lambda m, x: m.lstm(x)[0][:, x.shape[1] - 1, :],
        nn.GRU,
        BOTH,
    ),
    "the last step, time first": (
        lambda m, x: m.lstm(x.transpose(0, 1))[0][-1],
        nn.RNN,
        {"bidirectional": True},
    ),
    "the first layer": (lambda m, x: m.lstm(x)[1][0][0], nn.LSTM, DEEP),
    "the first layer of a GRU": (lambda m, x: m.lstm(x)[1][0, :, :], nn.GRU, DEEP),
    "both directions of the first layer": (
        lambda m, x: (lambda h: torch.cat([h[0], h[1]], 1))(m.lstm(x)[1][0]),
        nn.LSTM,
        {"bidirectional": True, "num_layers": 2},
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_part_that_has_not_seen_the_sequence(name):
    use, layer, options = MISTAKES[name]
    with pytest.warns(shapetrace.ShapeTraceWarning):
        (one,) = found(Model(use, layer, **options))
    assert one.code == "recurrent-output"
    assert [who.name for who in one.culprits] == ["getitem", "lstm"]


def test_what_it_says():
    use, layer, options = MISTAKES["the last step"]
    with pytest.warns(shapetrace.ShapeTraceWarning, match="last of 8 steps"):
        (one,) = found(Model(use, layer, **options))
    assert one.culprits[0].size == 8
    use, layer, options = MISTAKES["the first layer"]
    with pytest.warns(shapetrace.ShapeTraceWarning, match="layer 0 of 2"):
        (one,) = found(Model(use, layer, **options))
    assert one.culprits[0].size == 2


CODE = """
import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(5, 7, num_layers=2, batch_first=True, bidirectional={both})
        self.head = nn.Linear({width}, 3)

    def forward(self, x):
        out, h = self.rnn(x)
        return self.head({taken})


def step(model):
    return F.cross_entropy(model(torch.randn(4, 6, 5)), torch.arange(4) % 3)
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("both", "taken", "mended"),
    [
        (True, "out[:, -1]", "torch.cat([out[:, -1, :7], out[:, 0, 7:]], dim=-1)"),
        (False, "h[0]", "h[-1]"),
        (False, "h[0, :, :]", "h[-1, :, :]"),
    ],
)
def test_the_line_that_mends_it(both, taken, mended, tmp_path):
    path, again = tmp_path / "program.py", tmp_path / "pasted.py"
    path.write_text(CODE.format(both=both, width=14 if both else 7, taken=taken))
    (one,) = run(path)
    assert [fix.line for fix in one.fixes] == [f"return self.head({mended})"]
    again.write_text(CODE.format(both=both, width=14 if both else 7, taken=mended))
    assert run(again) == []
