import math
import torch
from torch import nn

SOURCE = 'https://iz6.ru/mat1-i-mat2-ne-mogut-byt-peremnozheny-iz-za-nesootvetstvija-razmerov-1x400-i-784x10 (Russian copy of a question on a Stack Exchange site)'
CATEGORY = 'layer'
DESCRIPTION = 'Beginner course on make_moons: the features are converted with x = torch.tensor(y), so a vector of 400 labels goes into Linear(2, ...). layer_2 of the question (5 inputs after 3 outputs) was put right here.'

NUM_SAMPLES = 1000
RANDOM_SEED = 42


def make_moons(n_samples, seed):
    g = torch.Generator().manual_seed(seed)
    half = n_samples // 2
    t = torch.rand(half, generator=g) * math.pi
    outer = torch.stack([t.cos(), t.sin()], dim=1)
    inner = torch.stack([1 - t.cos(), 0.5 - t.sin()], dim=1)
    x = torch.cat([outer, inner])
    y = torch.cat([torch.zeros(half), torch.ones(half)])
    order = torch.randperm(n_samples, generator=g)
    return x[order].numpy(), y[order].numpy()


def train_test_split(x, y, test_size):
    cut = round(len(x) * (1 - test_size))
    return x[:cut], x[cut:], y[:cut], y[cut:]


class MoonModelV0(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer_1 = nn.Linear(in_features=2, out_features=5)
        self.layer_2 = nn.Linear(in_features=5, out_features=1)

    def forward(self, x):
        return self.layer_2(torch.relu(self.layer_1(x)))


def build():
    torch.manual_seed(RANDOM_SEED)
    return MoonModelV0()


def step(model_0):
    x, y = make_moons(NUM_SAMPLES, RANDOM_SEED)
    x = torch.tensor(y, dtype=torch.float)
    y = torch.tensor(y, dtype=torch.float)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.6)
    loss_fn = nn.BCEWithLogitsLoss()
    y_logits = model_0(x_train).squeeze()
    return loss_fn(y_logits, y_train)


TRUTH = dict(raises='RuntimeError', at='module:layer_1', culprits=['input'], dim=None, got=400, wanted=2,
             hint_any=['(400,)', 'feature', 'input', '1x400'])
MENDED = [('x = torch.tensor(y, dtype=torch.float)', 'x = torch.tensor(x, dtype=torch.float)')]
