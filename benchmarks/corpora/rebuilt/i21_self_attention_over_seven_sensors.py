import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://blog.csdn.net/qq_41027830/article/details/131089263 (self attention, odd and even input of the position encoding)'
CATEGORY = 'layer'
DESCRIPTION = 'Self attention on sensor readings with the usual sine and cosine encoding: with seven features there are four even and three odd columns, the cosines are four.'


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.0):
        super().__init__()
        self.d_model = d_model
        self.dropout = nn.Dropout(dropout)

    def table(self, length):
        P = torch.zeros(1, length, self.d_model)
        position = torch.arange(length, dtype=torch.float32).reshape(-1, 1)
        X = position / torch.pow(10000, torch.arange(0, self.d_model, 2, dtype=torch.float32) / self.d_model)
        P[:, :, 0::2] = torch.sin(X)
        P[:, :, 1::2] = torch.cos(X)
        return P

    def forward(self, X):
        return self.dropout(X + self.table(X.shape[1]).to(X.device))


class SelfAttention(nn.Module):
    def __init__(self, d_model, d_k):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(d_model, d_k), nn.Linear(d_model, d_k), nn.Linear(d_model, d_k)
        self.o = nn.Linear(d_k, d_model)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        score = torch.matmul(q, k.transpose(-1, -2)) / k.shape[-1] ** 0.5
        return self.norm(x + self.o(torch.matmul(score.softmax(dim=-1), v)))


class SensorNet(nn.Module):
    def __init__(self, num_features, num_layers=2, num_classes=4):
        super().__init__()
        self.positions = PositionalEncoding(num_features)
        self.layers = nn.ModuleList(SelfAttention(num_features, 16) for _ in range(num_layers))
        self.fc = nn.Linear(num_features, num_classes)

    def forward(self, x):
        x = self.positions(x)
        for layer in self.layers:
            x = layer(x)
        return self.fc(x.mean(dim=1))


def load_readings(n=12, seq_len=10, num_features=7):
    x = torch.randn(n, seq_len, num_features)
    return (x - x.mean(dim=(0, 1))) / x.std(dim=(0, 1)), torch.randint(0, 4, (n,))


def build():
    return SensorNet(num_features=7)


def step(model):
    x, y = load_readings()
    return F.cross_entropy(model(x), y)


# real fix (article): P[:, :, 1::2] = torch.cos(X)[:, :-1] for an odd d_model
TRUTH = dict(raises='RuntimeError', at='function:setitem', culprits=['function:setitem', 'function:cos', 'positions'], dim=None, got=4, wanted=3,
             hint_any=['odd', 'even', '3', '4'])
MENDED = [('P[:, :, 1::2] = torch.cos(X)\n', 'P[:, :, 1::2] = torch.cos(X)[:, :self.d_model // 2]\n')]
