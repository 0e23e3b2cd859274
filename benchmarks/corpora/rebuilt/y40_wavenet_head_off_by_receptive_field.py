import torch
import torch.nn as nn

SOURCE = 'https://github.com/antecessor/Wavenet/issues/3'
CATEGORY = 'layer'
DESCRIPTION = 'WaveNet head for ion channels: the causal convolution cuts one step more than calculateReceptiveField counts, Linear expects 5 time steps and gets 4.'


class CasualDilatedConv1D(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, dilation, padding=1):
        super().__init__()
        self.conv1D = nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation, bias=False, padding=padding)
        self.ignoreOutIndex = (kernel_size - 1) * dilation

    def forward(self, x):
        return self.conv1D(x)[..., :-self.ignoreOutIndex]


class DilatedConv1D(nn.Module):
    def __init__(self, channels, kernel_size, dilation):
        super().__init__()
        self.conv1D = nn.Conv1d(channels, channels, kernel_size, dilation=dilation, bias=False)

    def forward(self, x):
        return self.conv1D(x)


class ResBlock(nn.Module):
    def __init__(self, res_channels, skip_channels, kernel_size, dilation):
        super().__init__()
        self.dilatedConv = DilatedConv1D(res_channels, kernel_size, dilation)
        self.resConv1D = nn.Conv1d(res_channels, res_channels, 1)
        self.skipConv1D = nn.Conv1d(res_channels, skip_channels, 1)

    def forward(self, inputX, skipSize):
        x = self.dilatedConv(inputX)
        x = torch.tanh(x) * torch.sigmoid(x)
        resOutput = self.resConv1D(x)
        resOutput = resOutput + inputX[..., -resOutput.size(2):]
        return resOutput, self.skipConv1D(x)[..., -skipSize:]


class WaveNet(nn.Module):
    def __init__(self, in_depth, res_channels, skip_channels, dilation_depth, n_repeat):
        super().__init__()
        self.dilations = [2 ** i for i in range(dilation_depth)] * n_repeat
        self.casualConv1D = CasualDilatedConv1D(in_depth, res_channels, kernel_size=2, dilation=1, padding=0)
        self.main = nn.ModuleList([ResBlock(res_channels, skip_channels, 2, d) for d in self.dilations])
        self.out = nn.Sequential(nn.ReLU(), nn.Conv1d(skip_channels, 1, 1))

    def calculateReceptiveField(self):
        return sum([(2 - 1) * d for d in self.dilations]) + 1

    def calculateOutputSize(self, x):
        return int(x.size(2)) - self.calculateReceptiveField() + 1

    def forward(self, x):
        x = self.casualConv1D(x)
        skipSize = self.calculateOutputSize(x)
        skips = []
        for block in self.main:
            x, skip = block(x, skipSize)
            skips.append(skip)
        return self.out(torch.stack(skips).sum(0))


class WaveNetClassifier(nn.Module):
    def __init__(self, seqLen, output_size):
        super().__init__()
        self.output_size = output_size
        self.wavenet = WaveNet(1, 8, 12, 3, 2)
        self.liner = nn.Linear(seqLen - self.wavenet.calculateReceptiveField(), output_size)
        self.softmax = nn.Softmax(-1)

    def forward(self, x):
        x = self.wavenet(x)
        x = self.liner(x)
        return x.squeeze(1)


def build():
    return WaveNetClassifier(seqLen=20, output_size=11)


def step(model):
    signal = torch.randn(8, 1, 20)
    open_channels = torch.randint(0, 11, (8,))
    return nn.functional.cross_entropy(model(signal), open_channels)


# real fix in the thread: nn.Linear(seqLen - calculateReceptiveField() - 1, output_size); the extra step is lost in the causal convolution's slice
TRUTH = dict(raises='RuntimeError', at='module:liner', culprits=['liner', 'wavenet.casualConv1D', 'function:getitem'], dim=-1, got=4, wanted=5,
             hint_any=['5', 'in_features', '4'])
MENDED = [('seqLen - self.wavenet.calculateReceptiveField(), output_size', 'seqLen - self.wavenet.calculateReceptiveField() - 1, output_size')]
