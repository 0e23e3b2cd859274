import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://discuss.pytorch.org/t/built-in-0-1-loss-function/216747'
CATEGORY = 'silent'
DESCRIPTION = 'Gestures from eight muscle sensors: a small network is to be trained on the share of wrong answers itself.'


class GestureNet(nn.Module):
    def __init__(self, sensors=8, window=16, gestures=5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(sensors, 16, 3, padding=1),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.MaxPool1d(2),
        )
        self.fc1 = nn.Linear(16 * window // 2, 32)
        self.fc2 = nn.Linear(32, gestures)

    def forward(self, x):
        x = self.features(x).flatten(1)
        return self.fc2(torch.relu(self.fc1(x)))


class ZeroOneLoss(nn.Module):
    def forward(self, output, target):
        prediction = output.argmax(dim=1)
        errors = []
        for p, t in zip(prediction, target):
            if p == t:
                errors.append(0.)
            else:
                errors.append(1.)
        return torch.tensor(errors, requires_grad=True).mean()


def make_loader(n=24):
    signals = torch.randn(n, 8, 16)
    gestures = torch.randint(0, 5, (n,))
    signals += gestures.view(-1, 1, 1) * 0.3
    return DataLoader(TensorDataset(signals, gestures), batch_size=8)


def build():
    return GestureNet()


def step(model):
    criterion = ZeroOneLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for signals, gestures in make_loader():
        optimizer.zero_grad()
        output = model(signals)
        loss = criterion(output, gestures)
        loss.backward()
        optimizer.step()
    return loss.detach()


# argmax and the comparison have no gradient; the tensor with requires_grad=True is a new leaf, no parameter gets a gradient.
# answer of the thread: not usefully differentiable, requires_grad=True does not mend it; use a soft loss (cross entropy)
TRUTH = dict(raises=None, at='function:argmax', culprits=['function:argmax', 'function:tensor'], dim=None, got=None, wanted=None,
             hint_any=['argmax', 'differentiable', 'no gradient', 'requires_grad', 'detach', 'cross_entropy'])
MENDED = [('criterion = ZeroOneLoss()', 'criterion = nn.CrossEntropyLoss()')]
