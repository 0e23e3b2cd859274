import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://discuss.pytorch.org/t/in-a-number-sequence-1-2-3-4-estimate-the-next-number-using-lstm/202270'
CATEGORY = 'silent'
DESCRIPTION = 'First steps with an LSTM: ten numbers of a rising sequence are given, the eleventh one is to be estimated.'


class LSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 20, 1, batch_first=True)
        self.fc = nn.Linear(20, 2)
        self.flatten = nn.Flatten(start_dim=1, end_dim=2)

    def forward(self, x):
        x, _ = self.lstm(x)
        x = self.fc(x)
        x = self.flatten(x)
        return x


def shift_data(window_size, data):
    x, y = [], []
    for i in range(len(data) - window_size):
        x.append(data[i:i + window_size])
        y.append(data[i + window_size])
    return torch.stack(x).unsqueeze(-1), torch.stack(y).unsqueeze(-1)


def make_loader():
    data = torch.arange(0, 34, 1, dtype=torch.float32) / 10
    x, y = shift_data(10, data)
    return DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)


def build():
    return LSTM()


def step(model):
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for x, y in make_loader():
        optimizer.zero_grad()
        output = model(x)
        loss = criterion(output, y)
        loss.backward()
        optimizer.step()
    return loss.detach()


# All ten steps with two values each are flattened to (8, 20) and compared with (8, 1): MSELoss broadcasts the one target.
# real fix: one output of the last time step
TRUTH = dict(raises=None, at='loss:mse_loss', culprits=['flatten', 'fc'], dim=1, got=20, wanted=1,
             hint_any=['broadcast', 'last', '[:, -1', 'out_features', 'flatten'])
MENDED = [('nn.Linear(20, 2)', 'nn.Linear(20, 1)'), ('        x = self.fc(x)\n        x = self.flatten(x)\n', '        x = self.fc(x[:, -1])\n')]
