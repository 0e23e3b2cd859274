import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/neuraloperator/neuraloperator/issues/89'
CATEGORY = 'loss'
DESCRIPTION = 'FNO on another release of the Burgers data: the output has a time axis, [:, ::sub] thins out the time and keeps 1024 points.'

ntrain = 24
sub = 2 ** 3
h = 1024 // sub
s = h
batch_size = 8
modes, width = 16, 16


class MatReader:
    """Fields of Burgers_v100.mat."""

    def __init__(self, file_path):
        self.file_path = file_path
        t, x = torch.linspace(0, 1, 101), torch.linspace(0, 1, 1024)
        amplitude = torch.randn(40, 4)
        waves = torch.stack([torch.sin(2 * torch.pi * (k + 1) * x) for k in range(4)])
        decay = torch.stack([torch.exp(-0.5 * (k + 1) * t) for k in range(4)])
        self.data = {'input': amplitude @ waves, 'output': torch.einsum('nk,kt,kx->ntx', amplitude, decay, waves)}

    def read_field(self, field):
        return self.data[field]


class SpectralConv1d(nn.Module):
    def __init__(self, in_channels, out_channels, modes1):
        super().__init__()
        self.out_channels, self.modes1 = out_channels, modes1
        scale = 1 / (in_channels * out_channels)
        self.weights1 = nn.Parameter(scale * torch.rand(in_channels, out_channels, modes1, dtype=torch.cfloat))

    def forward(self, x):
        x_ft = torch.fft.rfft(x)
        out_ft = torch.zeros(x.shape[0], self.out_channels, x.size(-1) // 2 + 1, dtype=torch.cfloat)
        out_ft[:, :, :self.modes1] = torch.einsum('bix,iox->box', x_ft[:, :, :self.modes1], self.weights1)
        return torch.fft.irfft(out_ft, n=x.size(-1))


class FNO1d(nn.Module):
    def __init__(self, modes, width):
        super().__init__()
        self.padding = 2
        self.fc0 = nn.Linear(2, width)
        self.convs = nn.ModuleList([SpectralConv1d(width, width, modes) for _ in range(4)])
        self.ws = nn.ModuleList([nn.Conv1d(width, width, 1) for _ in range(4)])
        self.fc1, self.fc2 = nn.Linear(width, 128), nn.Linear(128, 1)

    def get_grid(self, shape):
        grid = torch.linspace(0, 1, shape[1]).reshape(1, shape[1], 1)
        return grid.repeat(shape[0], 1, 1)

    def forward(self, x):
        x = torch.cat((x, self.get_grid(x.shape)), dim=-1)
        x = self.fc0(x).permute(0, 2, 1)
        x = F.pad(x, [0, self.padding])
        for i, (conv, w) in enumerate(zip(self.convs, self.ws)):
            x = conv(x) + w(x)
            if i < 3:
                x = F.gelu(x)
        x = x[..., :-self.padding].permute(0, 2, 1)
        return self.fc2(F.gelu(self.fc1(x)))


class LpLoss:
    def __init__(self, p=2):
        self.p = p

    def __call__(self, x, y):
        diff = torch.norm(x.reshape(len(x), -1) - y.reshape(len(x), -1), self.p, 1)
        return torch.sum(diff / torch.norm(y.reshape(len(x), -1), self.p, 1))


def build():
    return FNO1d(modes, width)


def step(model):
    dataloader = MatReader('data/Burgers_v100.mat')
    x_data = dataloader.read_field('input')[:, ::sub]
    y_data = dataloader.read_field('output')[:, ::sub]
    x_train = x_data[:ntrain].reshape(ntrain, s, 1)
    y_train = y_data[:ntrain]
    train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=batch_size, shuffle=True)
    myloss = LpLoss()
    train_mse, train_l2 = 0., 0.
    for x, y in train_loader:
        out = model(x)
        mse = F.mse_loss(out.view(batch_size, -1), y.view(batch_size, -1), reduction='mean')
        train_l2 = train_l2 + myloss(out.view(batch_size, -1), y.view(batch_size, -1))
        train_mse += mse.item()
    return train_l2 / ntrain


# real fix: the last time, and the stride over space: read_field('output')[:, -1, ::sub]
# offending tensor: y (8, 13, 1024) flattened to (8, 13312), out (8, 128)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target', 'function:getitem', 'function:view'], dim=1, got=13312, wanted=128,
             hint_any=['13', '1024', 'target', 'time', '128'])
MENDED = [("read_field('output')[:, ::sub]", "read_field('output')[:, -1, ::sub]")]
