import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/InterDigitalInc/CompressAI/issues/116'
CATEGORY = 'layer'
DESCRIPTION = 'Learned image compression with a hyperprior: a picture of 224 pixels, which the six halvings do not divide, loses and gains rows on its way.'


def conv(i, o, kernel_size=5, stride=2):
    return nn.Conv2d(i, o, kernel_size, stride=stride, padding=kernel_size // 2)


def deconv(i, o, kernel_size=5, stride=2):
    return nn.ConvTranspose2d(i, o, kernel_size, stride=stride, output_padding=stride - 1, padding=kernel_size // 2)


class GaussianConditional(nn.Module):
    def __init__(self, scale_bound=0.11):
        super().__init__()
        self.scale_bound = scale_bound

    def quantize(self, inputs, means):
        noise = torch.empty_like(inputs).uniform_(-0.5, 0.5)
        return inputs + noise

    def _likelihood(self, inputs, scales, means):
        values = inputs - means
        scales = scales.clamp(min=self.scale_bound)
        values = torch.abs(values)
        upper = 0.5 * torch.erfc(-(0.5 - values) / scales * 2 ** -0.5)
        lower = 0.5 * torch.erfc(-(-0.5 - values) / scales * 2 ** -0.5)
        return upper - lower

    def forward(self, inputs, scales, means):
        outputs = self.quantize(inputs, means)
        likelihood = self._likelihood(outputs, scales, means)
        return outputs, likelihood.clamp(min=1e-9)


class MeanScaleHyperprior(nn.Module):
    def __init__(self, N=8, M=12):
        super().__init__()
        self.g_a = nn.Sequential(conv(3, N), nn.ReLU(), conv(N, N), nn.ReLU(), conv(N, N), nn.ReLU(), conv(N, M))
        self.g_s = nn.Sequential(deconv(M, N), nn.ReLU(), deconv(N, N), nn.ReLU(), deconv(N, N), nn.ReLU(), deconv(N, 3))
        self.h_a = nn.Sequential(conv(M, N, stride=1, kernel_size=3), nn.LeakyReLU(), conv(N, N), nn.LeakyReLU(), conv(N, N))
        self.h_s = nn.Sequential(deconv(N, M), nn.LeakyReLU(), deconv(M, M * 3 // 2), nn.LeakyReLU(),
                                 conv(M * 3 // 2, M * 2, stride=1, kernel_size=3))
        self.gaussian_conditional = GaussianConditional()

    def forward(self, x):
        y = self.g_a(x)
        z = self.h_a(y)
        z_hat = z + torch.empty_like(z).uniform_(-0.5, 0.5)
        gaussian_params = self.h_s(z_hat)
        scales_hat, means_hat = gaussian_params.chunk(2, 1)
        y_hat, y_likelihoods = self.gaussian_conditional(y, scales_hat, means=means_hat)
        x_hat = self.g_s(y_hat)
        return {'x_hat': x_hat, 'likelihoods': y_likelihoods}


def rate_distortion(out, target, lmbda=1e-2):
    n, _, h, w = target.size()
    bpp = out['likelihoods'].log().sum() / (-torch.log(torch.tensor(2.)) * n * h * w)
    return lmbda * 255 ** 2 * F.mse_loss(out['x_hat'], target) + bpp


def build():
    torch.manual_seed(0)
    return MeanScaleHyperprior()


def load_image(height, width):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(4))


def step(model):
    x = load_image(224, 224)
    out = model(x)
    return rate_distortion(out, x)


# real fix: the picture is padded to a multiple of 64
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['input'], dim=2, got=None, wanted=None,
             hint_any=['64', '224', 'multiple', 'pad', 'divis'])
MENDED = [('x = load_image(224, 224)', 'x = F.pad(load_image(224, 224), (16, 16, 16, 16))')]
