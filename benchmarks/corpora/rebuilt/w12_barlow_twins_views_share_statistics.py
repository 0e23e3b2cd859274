import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lightly-ai/lightly/pull/1806'
CATEGORY = 'silent'
DESCRIPTION = 'Barlow Twins: both views are flattened into one batch of 2N before the normalisation, so they share mean and variance and the loss is no longer a correlation.'


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.shortcut = nn.Conv2d(cin, cout, 1, stride)

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class BarlowTwinsProjectionHead(nn.Module):
    def __init__(self, input_dim, hidden_dim, output_dim):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(input_dim, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU(),
            nn.Linear(hidden_dim, output_dim))

    def forward(self, x):
        return self.layers(x)


class BarlowTwins(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(BasicBlock(3, 16, 2), BasicBlock(16, 32, 2), nn.AdaptiveAvgPool2d(1))
        self.projection_head = BarlowTwinsProjectionHead(32, 64, 32)

    def forward(self, x):
        return self.projection_head(self.backbone(x).flatten(start_dim=1))


class BarlowTwinsLoss(nn.Module):
    def __init__(self, lambda_param=5e-3):
        super().__init__()
        self.lambda_param = lambda_param

    def forward(self, z_a, z_b):
        z_a_norm, z_b_norm = _normalize(z_a, z_b)
        c = z_a_norm.T @ z_b_norm / z_a.shape[0]
        invariance_loss = torch.diagonal(c).add(-1).pow(2).sum()
        redundancy_reduction_loss = _off_diagonal(c).pow(2).sum()
        return invariance_loss + self.lambda_param * redundancy_reduction_loss


def _normalize(z_a, z_b):
    combined = torch.stack([z_a, z_b], dim=0)
    normalized = F.batch_norm(
        combined.flatten(0, 1),
        running_mean=None,
        running_var=None,
        training=True,
    ).view_as(combined)
    return normalized[0], normalized[1]


def _off_diagonal(x):
    n, m = x.shape
    assert n == m
    return x.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten()


class Augment:
    def __init__(self, brightness, noise):
        self.brightness, self.noise = brightness, noise

    def __call__(self, x):
        gain = 1 + self.brightness * torch.rand(len(x), 1, 1, 1)
        if torch.rand(()) < 0.5:
            x = x.flip(-1)
        return x * gain + self.noise * torch.randn_like(x)


def build():
    return BarlowTwins()


def step(model):
    criterion = BarlowTwinsLoss()
    images = torch.rand(32, 3, 24, 24)
    x0, x1 = Augment(0.4, 0.05)(images), Augment(1.0, 0.3)(images)
    return criterion(model(x0), model(x1))


# real fix: each view is normalised on its own (torch.mean / torch.std over its own N)
TRUTH = dict(raises=None, at='function:batch_norm', culprits=['function:batch_norm', 'function:flatten', 'function:stack'], dim=0, got=64, wanted=32,
             hint_any=['view', 'separate', 'each', 'own', 'statistic', 'mixed', '64'])
MENDED = [('    combined = torch.stack([z_a, z_b], dim=0)\n', '    combined = torch.cat([z_a, z_b], dim=1)\n'),
          ('combined.flatten(0, 1)', 'combined'),
          ('return normalized[0], normalized[1]', 'return normalized.chunk(2, dim=1)')]
