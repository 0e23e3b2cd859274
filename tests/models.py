"""Models that between them do what models do: what a trace must not alter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Case(NamedTuple):
    """A model and its arguments, made anew from one seed by each `make`."""

    model: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}


class Calls(nn.Module):
    """A module whose forward is the function it is given."""

    def __init__(self, run: Callable[..., Any], **children: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


def cnn() -> Case:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4 * 7 * 7, 5),
    )
    return Case(model, (torch.randn(2, 3, 16, 16),))


class Residual(nn.Module):
    """A block that adds its input in place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(x))
        y += x
        return y.relu_()


def resnet() -> Case:
    body = [Residual(4), Residual(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), *body, nn.Linear(4, 3))
    return Case(model, (torch.randn(2, 3, 8, 8),))


class PackedLSTM(nn.Module):
    """Packs, runs an LSTM, unpacks; gives hidden states beside the output."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 5, 2, batch_first=True, dropout=0.3, bidirectional=True)
        self.head = nn.Linear(10, 3)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> Any:
        packed = pack_padded_sequence(self.embed(tokens), lengths, batch_first=True)
        packed, (hidden, cell) = self.lstm(packed)
        padded, sizes = pad_packed_sequence(packed, batch_first=True)
        return self.head(padded), (hidden, cell), sizes


def lstm() -> Case:
    tokens = torch.randint(1, 11, (3, 7))
    return Case(PackedLSTM(), (tokens, torch.tensor([7, 4, 2])))


def transformer() -> Case:
    model = nn.Transformer(8, 2, 1, 1, 16, 0.1, batch_first=True)
    source, target = torch.randn(2, 5, 8), torch.randn(2, 4, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    return Case(model, (source, target), {"tgt_mask": mask})


@dataclass
class Result:
    """What `Multi` returns."""

    logits: torch.Tensor
    hidden: dict[str, list[torch.Tensor]]
    nothing: None = None
    label: str = "result"


class Multi(nn.Module):
    """Nested arguments in, a dataclass with None and a string out."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, pair: Any, *, scale: float, mask: Any = None) -> Result:
        a, b = (self.fc(part) for part in pair["both"])
        return Result((a + b) * scale, {"steps": [a, b]})


def dataclass_output() -> Case:
    both = [torch.randn(2, 4), torch.randn(2, 4)]
    return Case(Multi(), ({"both": both, "name": "x"},), {"scale": 0.5})


class Shared(nn.Module):
    """One layer used by two others, and itself, recursively."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.body = nn.Sequential(self.fc, nn.Tanh(), self.fc)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: torch.Tensor, depth: int = 2) -> torch.Tensor:
        x = self.drop(self.body(x))
        return self(x, depth - 1) if depth else x


def shared() -> Case:
    return Case(Shared(), (torch.randn(2, 4),))


class InPlace(nn.Module):
    """Writes into its tensors in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        y = self.fc(x)
        y[:, 0] = 0
        y.mul_(2).add_(1)
        y[y > 3] = 3.0
        torch.exp(y, out=torch.empty_like(y)) if not y.requires_grad else None
        return F.relu(y, inplace=True).T.contiguous().T


def in_place() -> Case:
    return Case(InPlace(), (torch.randn(2, 4),))


def parametrised() -> Case:
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 4)),
        parametrizations.spectral_norm(nn.Linear(4, 4)),
        parametrizations.orthogonal(nn.Linear(4, 4)),
    )
    return Case(model, (torch.randn(2, 4),))


def frozen_norm() -> Case:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4))
    model[1].eval().requires_grad_(False)
    return Case(model, (torch.randn(4, 3, 2, 2),))


class Warns(nn.Module):
    """Its forward warns."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(self.fc(x), torch.rand(2, 3))


def warning() -> Case:
    return Case(Warns(), (torch.randn(2, 4),))


class RandomFactory(nn.Module):
    """Draws noise in its forward, on top of dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        noise = torch.randn_like(x) + torch.rand(4)
        return F.dropout(self.fc(x + noise), 0.5)


def random_factory() -> Case:
    return Case(RandomFactory(), (torch.randn(2, 4),))


MODELS: list[Callable[[], Case]] = [
    cnn,
    resnet,
    lstm,
    transformer,
    dataclass_output,
    shared,
    in_place,
    parametrised,
    frozen_norm,
    warning,
    random_factory,
]
