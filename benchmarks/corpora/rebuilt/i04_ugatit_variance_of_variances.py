import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/znxlwm/UGATIT-pytorch/issues/30'
CATEGORY = 'silent'
DESCRIPTION = 'AdaILN: the variance over (H, W) is taken as the variance along W of the variances along H, and the same three times for the layer variance.'


class ResnetBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.conv_block = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3, bias=False), nn.InstanceNorm2d(dim), nn.ReLU(True),
                                        nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3, bias=False), nn.InstanceNorm2d(dim))

    def forward(self, x):
        return x + self.conv_block(x)


def moments_in(x):
    mean = torch.mean(torch.mean(x, dim=2, keepdim=True), dim=3, keepdim=True)
    var = torch.var(torch.var(x, dim=2, keepdim=True), dim=3, keepdim=True)
    return mean, var


def moments_ln(x):
    mean = torch.mean(torch.mean(torch.mean(x, dim=1, keepdim=True), dim=2, keepdim=True), dim=3, keepdim=True)
    var = torch.var(torch.var(torch.var(x, dim=1, keepdim=True), dim=2, keepdim=True), dim=3, keepdim=True)
    return mean, var


class AdaILN(nn.Module):
    def __init__(self, num_features, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.rho = nn.Parameter(torch.full((1, num_features, 1, 1), 0.9))

    def forward(self, x, gamma, beta):
        in_mean, in_var = moments_in(x)
        ln_mean, ln_var = moments_ln(x)
        out_in = (x - in_mean) / torch.sqrt(in_var + self.eps)
        out_ln = (x - ln_mean) / torch.sqrt(ln_var + self.eps)
        rho = self.rho.expand(x.shape[0], -1, -1, -1)
        out = rho * out_in + (1 - rho) * out_ln
        return out * gamma.unsqueeze(2).unsqueeze(3) + beta.unsqueeze(2).unsqueeze(3)


class ResnetAdaILNBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.pad1, self.conv1, self.norm1 = nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3, bias=False), AdaILN(dim)
        self.pad2, self.conv2, self.norm2 = nn.ReflectionPad2d(1), nn.Conv2d(dim, dim, 3, bias=False), AdaILN(dim)

    def forward(self, x, gamma, beta):
        out = F.relu(self.norm1(self.conv1(self.pad1(x)), gamma, beta))
        out = self.norm2(self.conv2(self.pad2(out)), gamma, beta)
        return out + x


class ResnetGenerator(nn.Module):
    def __init__(self, input_nc=3, output_nc=3, ngf=8, n_blocks=2):
        super().__init__()
        dim = ngf * 2
        self.down = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(input_nc, ngf, 7, bias=False), nn.InstanceNorm2d(ngf), nn.ReLU(True),
                                  nn.ReflectionPad2d(1), nn.Conv2d(ngf, dim, 3, stride=2, bias=False), nn.InstanceNorm2d(dim), nn.ReLU(True),
                                  *[ResnetBlock(dim) for _ in range(n_blocks)])
        self.fc = nn.Sequential(nn.Linear(dim, dim, bias=False), nn.ReLU(True), nn.Linear(dim, dim, bias=False), nn.ReLU(True))
        self.gamma, self.beta = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.blocks = nn.ModuleList(ResnetAdaILNBlock(dim) for _ in range(n_blocks))
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode='nearest'), nn.ReflectionPad2d(3),
                                nn.Conv2d(dim, output_nc, 7, bias=False), nn.Tanh())

    def forward(self, x):
        x = self.down(x)
        style = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        gamma, beta = self.gamma(style), self.beta(style)
        for block in self.blocks:
            x = block(x, gamma, beta)
        return self.up(x)


def build():
    return ResnetGenerator()


def step(model):
    real_a = torch.rand(2, 3, 16, 16) * 2 - 1
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.5, 0.999))
    loss = F.l1_loss(model(real_a), real_a)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: torch.var(x, dim=[2, 3], keepdim=True) and torch.var(x, dim=[1, 2, 3], keepdim=True)
TRUTH = dict(raises=None, at='function:var', culprits=['function:var', 'blocks.0.norm1', 'blocks.0.norm2', 'blocks.1.norm1', 'blocks.1.norm2'],
             dim=None, got=None, wanted=None, hint_any=['variance', 'var', 'dim=(2, 3)', '[2, 3]'])
MENDED = [('torch.var(torch.var(x, dim=2, keepdim=True), dim=3, keepdim=True)', 'torch.var(x, dim=(2, 3), keepdim=True)'),
          ('torch.var(torch.var(torch.var(x, dim=1, keepdim=True), dim=2, keepdim=True), dim=3, keepdim=True)', 'torch.var(x, dim=(1, 2, 3), keepdim=True)')]
