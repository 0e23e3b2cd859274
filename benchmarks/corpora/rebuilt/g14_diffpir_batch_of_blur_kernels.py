import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/yuanzhi-zhu/DiffPIR/issues/44'
CATEGORY = 'layer'
DESCRIPTION = 'Diffusion deblurring: the blur kernel has been repeated for the batch, the einsum that makes an RGB convolution weight of it was written for one (H, W) kernel.'

config = dict(batch_size=4, n_channels=3, image_size=32, kernel_size=9, noise_level=0.05, steps=3, lambda_=7.0, zeta=0.3)


class ResBlock(nn.Module):
    def __init__(self, ch, emb):
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(4, ch), nn.SiLU(), nn.Conv2d(ch, ch, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, ch))
        self.out_layers = nn.Sequential(nn.GroupNorm(4, ch), nn.SiLU(), nn.Conv2d(ch, ch, 3, padding=1))

    def forward(self, x, emb):
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return x + self.out_layers(h)


class UNetModel(nn.Module):
    def __init__(self, n_channels=3, ch=16, emb=24):
        super().__init__()
        self.emb = emb
        self.time_embed = nn.Linear(emb, emb)
        self.input_block = nn.Conv2d(n_channels, ch, 3, padding=1)
        self.blocks = nn.ModuleList(ResBlock(ch, emb) for _ in range(2))
        self.out = nn.Conv2d(ch, n_channels, 3, padding=1)

    def forward(self, x, timesteps):
        freqs = torch.exp(-9.2 * torch.arange(self.emb // 2) / (self.emb // 2))
        args = timesteps[:, None].float() * freqs
        emb = self.time_embed(torch.cat((args.cos(), args.sin()), -1))
        h = self.input_block(x)
        for block in self.blocks:
            h = block(h, emb)
        return self.out(h)


def gaussian_kernel(size, std):
    ax = torch.arange(size).float() - size // 2
    k = torch.exp(-(ax[:, None] ** 2 + ax[None] ** 2) / (2 * std ** 2))
    return k / k.sum()


def p2o(psf, shape):
    otf = torch.zeros(psf.shape[:-2] + shape)
    otf[..., :psf.shape[-2], :psf.shape[-1]] = psf
    for axis, axis_size in enumerate(psf.shape[-2:]):
        otf = torch.roll(otf, -int(axis_size / 2), dims=axis - 2)
    return torch.fft.fftn(otf, dim=(-2, -1))


def pre_calculate(y, k):
    FB = p2o(k, y.shape[-2:])
    FBC = torch.conj(FB)
    return FB, FBC, torch.abs(FB) ** 2, FBC * torch.fft.fftn(y, dim=(-2, -1))


def data_solution(x, FBC, F2B, FBFy, rho):
    FR = FBFy + torch.fft.fftn(rho * x, dim=(-2, -1))
    return torch.real(torch.fft.ifftn(FR / (F2B + rho), dim=(-2, -1)))


def degrade(img_H, k_4d):
    size = k_4d.shape[-1] // 2
    return F.conv2d(F.pad(img_H, (size,) * 4, mode='circular'), k_4d)


def test_rho(model, config, img_H, k):
    k_4d = k.repeat(config['batch_size'], 1, 1)
    FB_kernel = k_4d.unsqueeze(1)
    k_4d = torch.einsum('ab,cd->abcd', torch.eye(config['n_channels']), k_4d)
    img_L = degrade(img_H, k_4d)
    img_L = img_L + config['noise_level'] * torch.randn_like(img_L)
    FB, FBC, F2B, FBFy = pre_calculate(img_L, FB_kernel)
    x = torch.randn_like(img_L)
    sigmas = torch.linspace(1.0, 0.1, config['steps'])
    for i, sigma in enumerate(sigmas):
        t = torch.full((x.shape[0],), float(config['steps'] - i))
        x0 = x - sigma * model(x, t)
        rho = config['lambda_'] * config['noise_level'] ** 2 / sigma ** 2
        x0 = data_solution(x0, FBC, F2B, FBFy, rho)
        eps = (x - x0) / sigma
        nxt = sigmas[i + 1] if i + 1 < len(sigmas) else 0.
        x = x0 + nxt * ((1 - config['zeta']) ** 0.5 * eps + config['zeta'] ** 0.5 * torch.randn_like(x))
    return x


def build():
    return UNetModel(config['n_channels'])


def step(model):
    img_H = torch.rand(config['batch_size'], 3, config['image_size'], config['image_size'])
    k = gaussian_kernel(config['kernel_size'], 2.0).unsqueeze(0)
    return F.mse_loss(test_rho(model, config, img_H, k), img_H)


# real fix: the einsum gets one kernel of the (equal) batch, einsum('ab,cd->abcd', torch.eye(3), k_4d[0])
TRUTH = dict(raises='RuntimeError', at='function:einsum', culprits=['function:einsum', 'function:repeat'], dim=None, got=None, wanted=None,
             hint_any=['einsum', 'subscript', 'dimension', 'squeeze', '[0]', 'batch'])
MENDED = [("torch.eye(config['n_channels']), k_4d)", "torch.eye(config['n_channels']), k_4d[0])")]
