import torch
import torch.nn as nn

SOURCE = 'https://github.com/pytorch/pytorch/issues/176230'
CATEGORY = 'loss'
DESCRIPTION = 'Probabilistic field emulator: one variance for each channel is predicted from pooled features, (B,3,1,1), which GaussianNLLLoss does not take.'


class ResBlock(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.net = nn.Sequential(nn.GroupNorm(4, ch), nn.SiLU(), nn.Conv2d(ch, ch, 3, padding=1), nn.GroupNorm(4, ch), nn.SiLU(),
                                 nn.Conv2d(ch, ch, 3, padding=1))

    def forward(self, x):
        return x + self.net(x)


class Emulator(nn.Module):
    def __init__(self, c_in=5, c_out=3, ch=16, depth=2):
        super().__init__()
        self.lift = nn.Conv2d(c_in, ch, 3, padding=1)
        self.blocks = nn.Sequential(*[ResBlock(ch) for _ in range(depth)])
        self.mean_head = nn.Conv2d(ch, c_out, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.var_head = nn.Sequential(nn.Conv2d(ch, ch, 1), nn.SiLU(), nn.Conv2d(ch, c_out, 1), nn.Softplus())

    def forward(self, x):
        h = self.blocks(self.lift(x))
        mean = self.mean_head(h)
        var = self.var_head(self.pool(h))
        return mean, var + 1e-4


class Trainer:
    def __init__(self, model, grad_weight=0.1):
        self.model, self.grad_weight = model, grad_weight
        self.criterion = nn.GaussianNLLLoss()

    @staticmethod
    def gradients(f):
        return f[..., 1:, :] - f[..., :-1, :], f[..., :, 1:] - f[..., :, :-1]

    def loss(self, x, y):
        mean, var = self.model(x)
        smooth = sum((a - b).abs().mean() for a, b in zip(self.gradients(mean), self.gradients(y)))
        return self.criterion(mean, y, var) + self.grad_weight * smooth


def build():
    return Emulator()


def step(model):
    trainer = Trainer(model)
    return trainer.loss(torch.randn(4, 5, 32, 32), torch.randn(4, 3, 32, 32))


# real fix: give the loss a variance for every element, var.expand_as(mean)
# offending tensor: var (4, 3, 1, 1), (4, 3, 32, 32) expected
TRUTH = dict(raises='ValueError', at='loss:gaussian_nll_loss', culprits=['pool', 'var_head', 'var_head.2', 'var_head.3', 'function:add', ''], dim=None, got=1, wanted=32,
             hint_any=['expand', 'var', 'pool'])
MENDED = [('self.criterion(mean, y, var)', 'self.criterion(mean, y, var.expand_as(mean))')]
