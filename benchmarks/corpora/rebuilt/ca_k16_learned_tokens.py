import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/rish-16/tokenlearner-pytorch/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'TokenLearner picks eight tokens from each image, self-attention mixes them, TokenFuser puts them back.'


class SpatialAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 1)

    def forward(self, x):                                     # (B, H, W, C)
        m = torch.cat([x.mean(-1, keepdim=True), x.amax(-1, keepdim=True)], -1).permute(0, 3, 1, 2)
        return x * torch.sigmoid(self.conv(m)).permute(0, 2, 3, 1)


class TokenLearner(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.maps = nn.ModuleList(SpatialAttention() for _ in range(s))

    def forward(self, x):
        return torch.stack([m(x).mean((1, 2)) for m in self.maps], 1)


class TokenFuser(nn.Module):
    def __init__(self, s, c):
        super().__init__()
        self.mix, self.norm, self.back = nn.Linear(s, s, bias=False), nn.LayerNorm(c), nn.Linear(c, s)

    def forward(self, y, x):
        y = self.norm(self.mix(y.transpose(1, 2)).transpose(1, 2))
        w = torch.sigmoid(self.back(x))                       # (B, H, W, S)
        return torch.einsum('bhws,bsc->bhwc', w, y)


class Net(nn.Module):
    def __init__(self, c=12, s=8, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, c, 3, stride=2, padding=1)
        self.tklr, self.tkfr = TokenLearner(s), TokenFuser(s, c)
        self.mhsa = nn.MultiheadAttention(c, 3)
        self.s, self.c = s, c
        self.head = nn.Linear(c, classes)

    def forward(self, img):
        x = F.relu(self.stem(img)).permute(0, 2, 3, 1)
        b = x.size(0)
        y = self.tklr(x)
        y = y.view(self.s, b, self.c)
        y, _ = self.mhsa(y, y, y)
        y = y.view(b, self.s, self.c)
        return self.head((x + self.tkfr(y, x)).mean((1, 2)))


def build():
    return Net()


def step(model):
    img, label = torch.rand(16, 3, 24, 24), torch.randint(0, 10, (16,))
    return F.cross_entropy(model(img), label)


# (batch, token, channel) is viewed, not transposed, to (token, batch, channel): tokens of different images attend to each other
TRUTH = dict(raises=None, at='function:view', culprits=['function:view', 'mhsa'], dim=0, got=8, wanted=None,
             hint_any=['transpose', 'permute', 'batch_first', 'order', 'mix'])
MENDED = [('y = y.view(self.s, b, self.c)', 'y = y.transpose(0, 1)'), ('y = y.view(b, self.s, self.c)', 'y = y.transpose(0, 1)')]
