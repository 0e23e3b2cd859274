import torch
from torch import nn
import torch.nn.functional as F
SOURCE = 'https://github.com/Tsinghua-MARS-Lab/M2I/issues/9'
CATEGORY = 'layer'
DESCRIPTION = 'hidden_size was changed to 64, and the encoder of the raster images still has 128.'


class Args:
    hidden_size = 64
    future_frames = 10


class MLP(nn.Module):
    def __init__(self, hidden, out=None):
        super().__init__()
        self.linear = nn.Linear(hidden, out or hidden)
        self.layer_norm = nn.LayerNorm(out or hidden)

    def forward(self, x):
        return F.relu(self.layer_norm(self.linear(x)))


class SubGraph(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.layers = nn.ModuleList([MLP(hidden), MLP(hidden)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x.max(1)[0]


class CNNDownSampling(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, stride=2)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2)
        self.fc = nn.Linear(32, 128)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


class VectorNet(nn.Module):
    def __init__(self, args):
        super().__init__()
        hidden = args.hidden_size
        self.args = args
        self.point = MLP(24, hidden)
        self.sub_graph = SubGraph(hidden)
        self.cnn = CNNDownSampling()
        self.decoder = nn.Sequential(MLP(hidden), nn.Linear(hidden, args.future_frames * 2))

    def forward(self, polylines, images):
        batch = polylines.size(0)
        states = self.sub_graph(self.point(polylines.flatten(0, 1))).view(batch, -1, self.args.hidden_size)
        hidden = torch.zeros(batch, self.args.hidden_size)
        raster = self.cnn(images)
        hidden[:, :] = raster
        return self.decoder(states.mean(1) + hidden)


def build():
    torch.manual_seed(0)
    return VectorNet(Args())


def step(model):
    out = model(torch.randn(10, 6, 9, 24), torch.rand(10, 3, 32, 32))
    return F.mse_loss(out, torch.randn(10, 20))


TRUTH = dict(raises='RuntimeError', at='function:setitem', culprits=['cnn.fc', 'cnn'], dim=1, got=128, wanted=64, hint_any=['128', '64'])
MENDED = [('nn.Linear(32, 128)', 'nn.Linear(32, Args.hidden_size)')]
