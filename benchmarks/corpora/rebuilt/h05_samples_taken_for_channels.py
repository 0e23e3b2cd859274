import torch
import torch.nn as nn

SOURCE = 'https://discuss.pytorch.org/t/how-to-apply-1d-convolution-on-data-having-batch-size-1/190653'
CATEGORY = 'layer'
DESCRIPTION = 'A recording of 128 steps with 64 features each gets a batch dimension by unsqueeze(0): Conv1d(64, ...) finds 128 channels, the steps; ptrblck: permute(0, 2, 1).'


class ConvBlock(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3):
        super().__init__()
        self.conv1d = nn.Conv1d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.norm = nn.BatchNorm1d(out_channels)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.norm(self.conv1d(x)))


class CNN1D(nn.Module):
    def __init__(self, n_features=64, widths=(32, 32), n_out=6):
        super().__init__()
        blocks, last = [], n_features
        for width in widths:
            blocks.append(ConvBlock(last, width))
            last = width
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(last, n_out)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        x = x.mean(dim=2)
        return self.head(x)


def load_recording(steps=128, n_features=64):
    g = torch.Generator().manual_seed(11)
    data = torch.randn(steps, n_features, generator=g)
    return (data - data.mean(0)) / data.std(0)


def build():
    torch.manual_seed(0)
    return CNN1D()


def step(model):
    input_data = load_recording()
    input_data1 = input_data.unsqueeze(0)
    label = torch.tensor([2])
    output = model(input_data1)
    return nn.functional.cross_entropy(output, label)


TRUTH = dict(raises='RuntimeError', at='module:blocks.0.conv1d', culprits=['input', 'function:unsqueeze'], dim=1, got=128, wanted=64,
             hint_any=['permute', 'transpose', 'channels', 'dim 2'])
MENDED = [('input_data1 = input_data.unsqueeze(0)', 'input_data1 = input_data.unsqueeze(0).permute(0, 2, 1)')]
