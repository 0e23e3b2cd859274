import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'PointNet-like classifier with a hand-written stable output function and a smoothed classification loss, several helpers deep.'


def shared_mlp(*sizes):
    mods = []
    for i, o in zip(sizes, sizes[1:]):
        mods += [nn.Conv1d(i, o, 1, bias=False), nn.BatchNorm1d(o), nn.LeakyReLU(0.2)]
    return nn.Sequential(*mods)


def stable(scores):
    top = scores.max(dim=-1, keepdim=True).values
    e = torch.exp(scores - top)
    return e / e.sum(dim=-1, keepdim=True)


class Align(nn.Module):
    def __init__(self, k=3):
        super().__init__()
        self.k, self.feat, self.fc = k, shared_mlp(k, 16, 32), nn.Linear(32, k * k)

    def forward(self, p):
        m = self.fc(self.feat(p).amax(2)).view(-1, self.k, self.k) + torch.eye(self.k)
        return torch.einsum('bij,bjn->bin', m, p)


class PointClassifier(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.align = Align()
        self.feat = shared_mlp(3, 24, 48)
        self.hidden = nn.Linear(48, 32)
        self.out = nn.Linear(32, classes)

    def forward(self, pts):
        f = self.feat(self.align(pts.transpose(1, 2)))
        return stable(self.out(F.leaky_relu(self.hidden(f.amax(2)), 0.2)))


class Criterion(nn.Module):
    def __init__(self, smooth=0.1):
        super().__init__()
        self.smooth = smooth

    def forward(self, pred, y):
        return F.cross_entropy(pred, y, label_smoothing=self.smooth)


def augment(pts):
    angle = torch.rand(pts.size(0)) * 6.28
    c, s, o, z = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    rot = torch.stack([c, -s, z, s, c, z, z, z, o], -1).view(-1, 3, 3)
    return pts @ rot


def build():
    return PointClassifier()


def step(model):
    pts, y = torch.randn(8, 64, 3), torch.randint(0, 10, (8,))
    return Criterion()(model(augment(pts)), y)


# stable() is a softmax; cross_entropy applies log_softmax to its probabilities again
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['function:div', 'function:exp', 'function:softmax', 'function:sum', 'input', 'out', ''], dim=None, got=None, wanted=None,
             hint_any=['softmax', 'logits', 'twice', 'probabilit'])
MENDED = [('return stable(self.out(F.leaky_relu(self.hidden(f.amax(2)), 0.2)))', 'return self.out(F.leaky_relu(self.hidden(f.amax(2)), 0.2))')]
