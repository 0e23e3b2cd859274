import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/gjylt/DoubleAttentionNet/issues/3'
CATEGORY = 'correct'
DESCRIPTION = 'Video frames by double attention: features are gathered over all places of K frames and handed out again, softmax without a dimension.'


class DoubleAttentionLayer(nn.Module):
    def __init__(self, in_channels, c_m, c_n, k=1):
        super().__init__()
        self.K = k
        self.c_m = c_m
        self.c_n = c_n
        self.softmax = nn.Softmax()
        self.in_channels = in_channels
        self.convA = nn.Conv2d(in_channels, c_m, 1)
        self.convB = nn.Conv2d(in_channels, c_n, 1)
        self.convV = nn.Conv2d(in_channels, c_n, 1)

    def forward(self, x):
        b, c, h, w = x.size()
        assert c == self.in_channels, 'input channel not equal!'
        A, B, V = self.convA(x), self.convB(x), self.convV(x)
        batch = int(b / self.K)

        tmpA = A.view(batch, self.K, self.c_m, h * w).permute(0, 2, 1, 3).reshape(batch, self.c_m, self.K * h * w)
        tmpB = B.view(batch, self.K, self.c_n, h * w).permute(0, 2, 1, 3).reshape(batch * self.c_n, self.K * h * w)
        tmpV = V.view(batch, self.K, self.c_n, h * w).permute(0, 1, 3, 2).reshape(int(b * h * w), self.c_n)

        softmaxB = self.softmax(tmpB).view(batch, self.c_n, self.K * h * w).permute(0, 2, 1)
        softmaxV = self.softmax(tmpV).view(batch, self.K * h * w, self.c_n).permute(0, 2, 1)

        tmpG = tmpA.matmul(softmaxB)
        tmpZ = tmpG.matmul(softmaxV)
        return tmpZ.view(batch, self.c_m, self.K, h * w).permute(0, 2, 1, 3).reshape(int(b), self.c_m, h, w)


class Block(nn.Module):
    def __init__(self, channels, frames):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.attention = DoubleAttentionLayer(channels, channels, 8, frames)

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x)))
        return x + self.attention(x)


class ClipNet(nn.Module):
    def __init__(self, frames=4, classes=6, channels=16):
        super().__init__()
        self.frames = frames
        self.stem = nn.Conv2d(3, channels, 3, 2, 1)
        self.blocks = nn.Sequential(Block(channels, frames), Block(channels, frames))
        self.fc = nn.Linear(channels, classes)

    def forward(self, clips):
        n = clips.size(0)
        x = self.blocks(self.stem(clips.flatten(0, 1)))
        return self.fc(x.view(n, self.frames, *x.shape[1:]).mean((1, 3, 4)))


def build():
    return ClipNet()


def step(model):
    clips, labels = torch.randn(2, 4, 3, 16, 16), torch.randint(0, 6, (2,))
    return F.cross_entropy(model(clips), labels)


# the asker took the softmax for a wrong one and solved it: both inputs have two dimensions, so it runs over dim 1,
# the places for the attention maps and the n maps for the attention vectors, as in the paper
TRUTH = dict(raises=None, culprits=[])
MENDED = []
