import torch
import torch.nn as nn

SOURCE = 'https://github.com/microsoft/qlib/issues/1401'
CATEGORY = 'layer'
DESCRIPTION = 'Stock series reach the TCN as (batch, step, feature); it went unnoticed while both were 20.'


class Chomp1d(nn.Module):
    def __init__(self, chomp_size):
        super().__init__()
        self.chomp_size = chomp_size

    def forward(self, x):
        return x[:, :, :-self.chomp_size].contiguous()


class TemporalBlock(nn.Module):
    def __init__(self, n_inputs, n_outputs, kernel_size, dilation, dropout=0.2):
        super().__init__()
        padding = (kernel_size - 1) * dilation
        self.conv1 = nn.Conv1d(n_inputs, n_outputs, kernel_size, padding=padding, dilation=dilation)
        self.chomp1 = Chomp1d(padding)
        self.conv2 = nn.Conv1d(n_outputs, n_outputs, kernel_size, padding=padding, dilation=dilation)
        self.chomp2 = Chomp1d(padding)
        self.relu, self.dropout = nn.ReLU(), nn.Dropout(dropout)
        self.downsample = nn.Conv1d(n_inputs, n_outputs, 1) if n_inputs != n_outputs else None

    def forward(self, x):
        out = self.dropout(self.relu(self.chomp1(self.conv1(x))))
        out = self.dropout(self.relu(self.chomp2(self.conv2(out))))
        res = x if self.downsample is None else self.downsample(x)
        return self.relu(out + res)


class TemporalConvNet(nn.Module):
    def __init__(self, num_inputs, num_channels, kernel_size=2, dropout=0.2):
        super().__init__()
        layers = []
        for i, out_channels in enumerate(num_channels):
            in_channels = num_inputs if i == 0 else num_channels[i - 1]
            layers += [TemporalBlock(in_channels, out_channels, kernel_size, 2 ** i, dropout)]
        self.network = nn.Sequential(*layers)

    def forward(self, x):
        return self.network(x)


class TCNModel(nn.Module):
    def __init__(self, num_input, output_size, num_channels, kernel_size, dropout):
        super().__init__()
        self.num_input = num_input
        self.tcn = TemporalConvNet(num_input, num_channels, kernel_size, dropout=dropout)
        self.linear = nn.Linear(num_channels[-1], output_size)

    def forward(self, x):
        output = self.tcn(x)
        output = self.linear(output[:, :, -1])
        return output.squeeze()


def loss_fn(pred, label):
    mask = ~torch.isnan(label)
    return torch.mean((pred[mask] - label[mask]) ** 2)


class TSSampler:
    """windows of `step_len` days: d_feat columns and the label last"""
    def __init__(self, d_feat=20, step_len=10, batch=16):
        self.shape = (batch, step_len, d_feat + 1)

    def __iter__(self):
        for _ in range(2):
            yield torch.randn(self.shape)


def build():
    torch.manual_seed(0)
    return TCNModel(num_input=20, output_size=1, num_channels=[32] * 3, kernel_size=5, dropout=0.5)


def step(model):
    losses = []
    for data in TSSampler(step_len=10):
        feature = data[:, :, 0:-1]
        label = data[:, -1, -1]
        pred = model(feature.float())
        losses.append(loss_fn(pred, label))
    return sum(losses) / len(losses)


# real fix: transpose the windows to (batch, feature, step)
TRUTH = dict(raises='RuntimeError', at='module:tcn.network.0.conv1', culprits=['input'], dim=1, got=10, wanted=20,
             hint_any=['transpose', 'permute', 'channels', 'movedim', 'swap'])
MENDED = [('output = self.tcn(x)', 'output = self.tcn(x.transpose(1, 2))')]
