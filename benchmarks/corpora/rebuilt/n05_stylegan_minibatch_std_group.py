import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/NVlabs/stylegan3/issues/241'
CATEGORY = 'layer'
DESCRIPTION = 'StyleGAN discriminator with ten images on each GPU; the minibatch standard deviation layer wants groups of four.'


class FullyConnectedLayer(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.gain = in_features ** -0.5

    def forward(self, x):
        return F.linear(x, self.weight * self.gain, self.bias)


class Generator(nn.Module):
    def __init__(self, z_dim=16, channels=32):
        super().__init__()
        self.mapping = nn.ModuleList([FullyConnectedLayer(z_dim, z_dim) for _ in range(2)])
        self.const = nn.Parameter(torch.randn(channels, 4, 4))
        self.style = nn.Linear(z_dim, channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.to_rgb = nn.Conv2d(channels, 3, 1)

    def forward(self, z):
        for layer in self.mapping:
            z = F.leaky_relu(layer(z), 0.2)
        s = self.style(z)[:, :, None, None]
        x = F.interpolate(self.const[None] * (1 + s), scale_factor=4)
        return self.to_rgb(F.leaky_relu(self.conv(x), 0.2))


class DiscriminatorBlock(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv0 = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x):
        y = F.avg_pool2d(self.skip(x), 2)
        x = F.leaky_relu(self.conv0(x), 0.2)
        return F.avg_pool2d(F.leaky_relu(self.conv1(x), 0.2), 2) + y


class MinibatchStdLayer(nn.Module):
    def __init__(self, group_size, num_channels=1):
        super().__init__()
        self.group_size = group_size
        self.num_channels = num_channels

    def forward(self, x):
        N, C, H, W = x.shape
        G = min(self.group_size, N) if self.group_size is not None else N
        F_ = self.num_channels
        c = C // F_
        y = x.reshape(G, -1, F_, c, H, W)
        y = y - y.mean(dim=0)
        y = (y.square().mean(dim=0) + 1e-8).sqrt()
        y = y.mean(dim=[2, 3, 4])
        y = y.reshape(-1, F_, 1, 1).repeat(G, 1, H, W)
        return torch.cat([x, y], dim=1)


class DiscriminatorEpilogue(nn.Module):
    def __init__(self, in_channels, resolution=4, mbstd_group_size=4, mbstd_num_channels=1):
        super().__init__()
        self.mbstd = MinibatchStdLayer(mbstd_group_size, mbstd_num_channels)
        self.conv = nn.Conv2d(in_channels + mbstd_num_channels, in_channels, 3, padding=1)
        self.fc = FullyConnectedLayer(in_channels * resolution ** 2, in_channels)
        self.out = FullyConnectedLayer(in_channels, 1)

    def forward(self, x):
        x = F.leaky_relu(self.conv(self.mbstd(x)), 0.2)
        return self.out(F.leaky_relu(self.fc(x.flatten(1)), 0.2))


class Discriminator(nn.Module):
    def __init__(self, channels={16: 16, 8: 24, 4: 32}):
        super().__init__()
        self.from_rgb = nn.Conv2d(3, channels[16], 1)
        self.b16 = DiscriminatorBlock(channels[16], channels[8])
        self.b8 = DiscriminatorBlock(channels[8], channels[4])
        self.b4 = DiscriminatorEpilogue(channels[4])

    def forward(self, img):
        return self.b4(self.b8(self.b16(self.from_rgb(img))))


class GAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.G = Generator()
        self.D = Discriminator()


def build():
    return GAN()


def step(model, batch_gpu=10):
    real_img = torch.rand(batch_gpu, 3, 16, 16) * 2 - 1
    gen_img = model.G(torch.randn(batch_gpu, 16))
    loss_gen = F.softplus(model.D(gen_img.detach())).mean()
    return loss_gen + F.softplus(-model.D(real_img)).mean()


# real fix: mbstd_group_size has to be a divisor of the batch on each GPU (2 or 5), or the batch a multiple of 4
# offending tensor: x (10, 32, 4, 4) in groups of 4
TRUTH = dict(raises='RuntimeError', at='function:reshape', culprits=['D.b4.mbstd', 'function:reshape', 'input'], dim=0, got=10, wanted=None,
             hint_any=['batch', 'group', 'divis', 'multiple of 4'])
MENDED = [('mbstd_group_size=4', 'mbstd_group_size=5')]
