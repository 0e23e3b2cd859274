import torch
import torch.nn as nn

BATCH, WINDOW, SERIES, HIDDEN, HORIZON = 6, 24, 3, 18, 5


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(SERIES, HIDDEN, num_layers=2, batch_first=True)
        self.fc = nn.Linear(HIDDEN, HORIZON * SERIES)

    def forward(self, x):
        out, (h, c) = self.lstm(x)
        y = self.fc(out[:, -1])
        return y.view(x.size(0), HORIZON, SERIES)


def build():
    return Forecaster()


def step(model):
    data = torch.randn(BATCH, WINDOW + HORIZON, SERIES).cumsum(dim=1)
    mean = data[:, :WINDOW].mean(dim=1, keepdim=True)
    std = data[:, :WINDOW].std(dim=1, keepdim=True) + 1e-5
    data = (data - mean) / std
    past, future = data[:, :WINDOW], data[:, WINDOW:]
    return nn.L1Loss()(model(past), future)


EQUAL = dict(BATCH=8, WINDOW=8, SERIES=8, HIDDEN=8, HORIZON=8)
