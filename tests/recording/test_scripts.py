"""Training steps in the style of PyTorch's examples run to the same bits in a trace."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace


class WordModel(nn.Module):
    """Embedding, recurrent layer, decoder with tied weights."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.encoder = nn.Embedding(20, 8)
        self.rnn = getattr(nn, kind)(8, 8, 2, dropout=0.2)
        self.decoder = nn.Linear(8, 20)
        self.decoder.weight = self.encoder.weight

    def forward(self, tokens: torch.Tensor, hidden: Any) -> tuple[torch.Tensor, Any]:
        output, hidden = self.rnn(self.drop(self.encoder(tokens)), hidden)
        return F.log_softmax(self.decoder(self.drop(output)).view(-1, 20), 1), hidden


def word_language_model(kind: str, block: Any) -> list[torch.Tensor]:
    torch.manual_seed(1)
    model, criterion = WordModel(kind), nn.NLLLoss()
    text = torch.randint(20, (12, 3))
    hidden: Any = None
    file = io.BytesIO()
    with block(model):
        for at in range(0, 8, 4):
            data, targets = text[at : at + 4], text[at + 1 : at + 5].reshape(-1)
            model.zero_grad()
            output, hidden = model(data, hidden)
            if isinstance(hidden, tuple):
                hidden = tuple(one.detach() for one in hidden)
            else:
                hidden = hidden.detach()
            criterion(output, targets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            for one in model.parameters():
                one.data.add_(one.grad, alpha=-0.5)
        torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    loaded.rnn.flatten_parameters()
    loaded.eval()
    return [loaded(text, None)[0], *model.state_dict().values(), torch.rand(1)]


def adversarial(block: Any) -> list[torch.Tensor]:
    torch.manual_seed(2)
    maker = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())
    critic = nn.Sequential(nn.Linear(8, 8), nn.LeakyReLU(0.2, True), nn.Linear(8, 1))
    judge = torch.optim.Adam(critic.parameters())
    forger = torch.optim.Adam(maker.parameters())
    with block(maker, critic):
        for _ in range(2):
            critic.zero_grad()
            fake = maker(torch.randn(6, 4))
            loss = nn.BCEWithLogitsLoss()
            loss(critic(torch.randn(6, 8)), torch.ones(6, 1)).backward()
            loss(critic(fake.detach()), torch.zeros(6, 1)).backward()
            judge.step()
            maker.zero_grad()
            loss(critic(fake), torch.ones(6, 1)).backward()
            forger.step()
    return [*maker.state_dict().values(), *critic.state_dict().values()]


def reinforce(block: Any) -> list[torch.Tensor]:
    torch.manual_seed(3)
    policy = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1)
    with block(policy):
        logs, state = [], torch.zeros(4)
        for _ in range(5):
            choice = torch.distributions.Categorical(F.softmax(policy(state[None]), 1))
            action = choice.sample()
            logs.append(choice.log_prob(action))
            state = state + torch.tensor([0.1, -0.1])[action].sum()
        returns = torch.arange(5.0)
        returns = (returns - returns.mean()) / returns.std()
        optimizer.zero_grad()
        torch.cat([-log * gain for log, gain in zip(logs, returns)]).sum().backward()
        optimizer.step()
    return [*policy.state_dict().values(), torch.rand(1)]


SCRIPTS = {
    **{
        f"word_language_model {kind}": (
            lambda block, kind=kind: word_language_model(kind, block)
        )
        for kind in ("LSTM", "GRU")
    },
    "gan": adversarial,
    "reinforce": reinforce,
}


@pytest.mark.parametrize("options", [{}, {"functions": False}, {"memory": True}])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_a_script_ends_with_the_same_bits(script, given, options):
    def block(*models: nn.Module) -> Any:
        traces.append(shapetrace.trace(*models if given else (), **options))
        return traces[-1]

    traces: list[shapetrace.Trace] = []
    expected = SCRIPTS[script](lambda *models: contextlib.nullcontext())
    found = SCRIPTS[script](block)
    assert len(found) == len(expected)
    assert all(map(torch.equal, found, expected))
    assert traces[0].calls
    assert not [n for n in traces[0].recording.notes if "could not be recorded" in n]
