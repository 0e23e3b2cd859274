import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/neuraloperator/neuraloperator/issues/99'
CATEGORY = 'layer'
DESCRIPTION = 'FNO on the small Darcy data (16x16): the config keeps 32 modes a half from the large data, a padded field has 17x9 frequencies.'

CONFIG = dict(
    fno2d=dict(n_modes_height=64, n_modes_width=64, hidden_channels=16, lifting_channels=32, projection_channels=32, n_layers=3,
               domain_padding=1, skip='linear', use_mlp=True),
    data=dict(batch_size=4, train_resolution=16, positional_encoding=True, encode_input=True, encode_output=False),
    opt=dict(loss='h1', weight=0.1))


class UnitGaussianNormalizer:
    def __init__(self, x, eps=1e-5):
        self.mean, self.std, self.eps = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True), eps

    def encode(self, x):
        return (x - self.mean) / (self.std + self.eps)


class FactorizedSpectralConv2d(nn.Module):
    def __init__(self, in_channels, out_channels, modes_height, modes_width, n_layers, scale='auto'):
        super().__init__()
        self.half_modes_height, self.half_modes_width = modes_height // 2, modes_width // 2
        scale = 1 / (in_channels * out_channels) if scale == 'auto' else scale
        shape = (in_channels, out_channels, self.half_modes_height, self.half_modes_width)
        self.weight = nn.ParameterList([nn.Parameter(scale * torch.randn(*shape, dtype=torch.cfloat)) for _ in range(2 * n_layers)])
        self.bias = nn.Parameter(scale * torch.randn(n_layers, out_channels, 1, 1))

    def contract(self, x, weight):
        return torch.einsum('abcd,becd->aecd', x, weight)

    def forward(self, x, indices=0):
        batchsize, channels, height, width = x.shape
        x = torch.fft.rfft2(x.float(), norm='backward')
        out_fft = torch.zeros_like(x)
        top, left = self.half_modes_height, self.half_modes_width
        out_fft[:, :, :top, :left] = self.contract(x[:, :, :top, :left], self.weight[2 * indices])
        out_fft[:, :, -top:, :left] = self.contract(x[:, :, -top:, :left], self.weight[2 * indices + 1])
        return torch.fft.irfft2(out_fft, s=(height, width), norm='backward') + self.bias[indices]


class MLP(nn.Module):
    def __init__(self, inside, hidden, outside):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(inside, hidden, 1), nn.Conv2d(hidden, outside, 1)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class FNO2d(nn.Module):
    def __init__(self, cfg, in_channels=3, out_channels=1):
        super().__init__()
        hidden, self.n_layers, self.padding = cfg['hidden_channels'], cfg['n_layers'], cfg['domain_padding']
        self.lifting = MLP(in_channels, cfg['lifting_channels'], hidden)
        self.convs = FactorizedSpectralConv2d(hidden, hidden, cfg['n_modes_height'], cfg['n_modes_width'], self.n_layers)
        self.fno_skips = nn.ModuleList([nn.Conv2d(hidden, hidden, 1) for _ in range(self.n_layers)])
        self.mlp = nn.ModuleList([MLP(hidden, hidden // 2, hidden) for _ in range(self.n_layers)]) if cfg['use_mlp'] else None
        self.projection = MLP(hidden, cfg['projection_channels'], out_channels)

    def forward(self, x):
        x = self.lifting(x)
        x = F.pad(x, (0, self.padding, 0, self.padding))
        for i in range(self.n_layers):
            x_skip = self.fno_skips[i](x)
            x = self.convs(x, i) + x_skip
            if self.mlp is not None:
                x = self.mlp[i](F.gelu(x)) + x
            if i < self.n_layers - 1:
                x = F.gelu(x)
        return self.projection(x[..., :-self.padding, :-self.padding])


def append_grid(x):
    ticks = torch.linspace(0, 1, x.shape[-1])
    gx, gy = torch.meshgrid(ticks, ticks, indexing='ij')
    return torch.cat([x, torch.stack([gx, gy]).expand(len(x), -1, -1, -1)], dim=1)


def h1_loss(out, y, weight):
    d = [(out - y).diff(dim=k) for k in (-1, -2)]
    return F.mse_loss(out, y) + weight * sum(e.pow(2).mean() for e in d)


def build():
    return FNO2d(CONFIG['fno2d'])


def step(model):
    data = CONFIG['data']
    side = data['train_resolution']
    x = (torch.rand(data['batch_size'], 1, side, side) > 0.5).float()
    y = torch.randn(data['batch_size'], 1, side, side)
    if data['encode_input']:
        x = UnitGaussianNormalizer(x).encode(x)
    if data['positional_encoding']:
        x = append_grid(x)
    return h1_loss(model(x), y, CONFIG['opt']['weight'])


# real fix: fewer modes than the training resolution has, e.g. n_modes_height=16, n_modes_width=16
# offending tensor: x[:, :, :32, :32] (4, 16, 17, 9), weight (16, 16, 32, 32)
TRUTH = dict(raises='RuntimeError', at='function:einsum', culprits=['convs', 'input', 'function:getitem', 'function:rfft2', 'function:fft_rfft2'],
             dim=2, got=17, wanted=32, hint_any=['modes', '17', 'resolution', 'frequenc', 'weight'])
MENDED = [('n_modes_height=64, n_modes_width=64', 'n_modes_height=16, n_modes_width=16')]
