import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Driving perception with three tasks on one trunk; the losses of the tasks are collected, weighted and summed.'


class Trunk(nn.Module):
    def __init__(self, ch=12):
        super().__init__()
        self.a = nn.Conv2d(3, ch, 3, stride=2, padding=1)
        self.b = nn.Conv2d(ch, 2 * ch, 3, stride=2, padding=1)

    def forward(self, x):
        return F.silu(self.b(F.silu(self.a(x))))


class MultiTask(nn.Module):
    def __init__(self, ch=24):
        super().__init__()
        self.trunk = Trunk(ch // 2)
        self.heads = nn.ModuleDict(dict(seg=nn.Conv2d(ch, 5, 1), depth=nn.Conv2d(ch, 1, 1), steer=nn.Linear(ch, 1)))

    def forward(self, img):
        f = self.trunk(img)
        return dict(seg=self.heads['seg'](f), depth=F.softplus(self.heads['depth'](f)), steer=self.heads['steer'](f.mean((2, 3))))


LOSSES = dict(
    seg=lambda p, y: F.cross_entropy(p, y),
    depth=lambda p, y: (p.log() - y.log()).abs().mean(),
    steer=lambda p, y: (p - y).pow(2).mean(),
)


class Balancer:
    def __init__(self, **weights):
        self.names = list(weights)
        self.weights = torch.tensor([weights[n] for n in self.names])
        self.log = []

    def __call__(self, pred, target):
        parts = [LOSSES[n](pred[n], target[n]) for n in self.names]
        parts = torch.tensor(parts, requires_grad=True)
        self.log.append(parts.tolist())
        return (self.weights * parts).sum()


def batch(n=6, s=32):
    img = torch.rand(n, 3, s, s)
    return img, dict(seg=torch.randint(0, 5, (n, s // 4, s // 4)), depth=torch.rand(n, 1, s // 4, s // 4) * 30 + 1, steer=torch.randn(n, 1))


def build():
    return MultiTask()


def step(model):
    balance = Balancer(seg=1.0, depth=0.2, steer=5.0)
    opt = torch.optim.SGD(model.parameters(), lr=0.01)
    img, target = batch()
    loss = balance(model(img), target)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return (loss).detach()


# torch.tensor(...) copies the numbers: the new leaf gets the gradient, no parameter does
TRUTH = dict(raises=None, at='function:tensor', culprits=['function:tensor', 'function:mul', 'function:sum', '', 'trunk', 'heads.seg', 'heads.depth', 'heads.steer'],
             dim=None, got=None, wanted=None, hint_any=['torch.stack', 'no parameter', 'gradient', 'graph', 'detach'])
MENDED = [('parts = torch.tensor(parts, requires_grad=True)', 'parts = torch.stack(parts)')]
