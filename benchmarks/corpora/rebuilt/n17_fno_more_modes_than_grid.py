import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/neuraloperator/neuraloperator/issues/99'
CATEGORY = 'layer'
DESCRIPTION = 'Fourier neural operator for Darcy flow: the configuration of the full-size runs is tried on the small data set.'


class TFNOConfig:
    data_channels = 3
    n_modes_height = 32
    n_modes_width = 32
    hidden_channels = 16
    lifting_channels = 24
    projection_channels = 24
    n_layers = 3
    train_resolution = 16
    batch_size = 4


class FactorizedSpectralConv2d(nn.Module):
    def __init__(self, in_channels, out_channels, n_modes_height, n_modes_width):
        super().__init__()
        self.half_modes_height = n_modes_height // 2
        self.half_modes_width = n_modes_width // 2
        scale = 1 / (in_channels * out_channels)
        shape = (in_channels, out_channels, self.half_modes_height, self.half_modes_width)
        self.weight = nn.ParameterList([nn.Parameter(scale * torch.randn(*shape, dtype=torch.cfloat)) for _ in range(2)])
        self.bias = nn.Parameter(scale * torch.randn(out_channels, 1, 1))

    def _contract(self, x, weight):
        return torch.einsum('bixy,ioxy->boxy', x, weight)

    def forward(self, x):
        batchsize, channels, height, width = x.shape
        x = torch.fft.rfft2(x, norm='forward')
        out_fft = torch.zeros(batchsize, self.bias.shape[0], height, width // 2 + 1, dtype=torch.cfloat)
        # upper block (truncate high frequencies), then the lower one
        out_fft[:, :, :self.half_modes_height, :self.half_modes_width] = self._contract(
            x[:, :, :self.half_modes_height, :self.half_modes_width], self.weight[0])
        out_fft[:, :, -self.half_modes_height:, :self.half_modes_width] = self._contract(
            x[:, :, -self.half_modes_height:, :self.half_modes_width], self.weight[1])
        return torch.fft.irfft2(out_fft, s=(height, width), norm='forward') + self.bias


class MLP(nn.Module):
    def __init__(self, in_channels, out_channels, hidden_channels):
        super().__init__()
        self.fcs = nn.ModuleList([nn.Conv2d(in_channels, hidden_channels, 1), nn.Conv2d(hidden_channels, out_channels, 1)])

    def forward(self, x):
        return self.fcs[1](F.gelu(self.fcs[0](x)))


class FNOBlocks(nn.Module):
    def __init__(self, channels, n_modes_height, n_modes_width, n_layers):
        super().__init__()
        self.n_layers = n_layers
        self.convs = nn.ModuleList([FactorizedSpectralConv2d(channels, channels, n_modes_height, n_modes_width) for _ in range(n_layers)])
        self.fno_skips = nn.ModuleList([nn.Conv2d(channels, channels, 1) for _ in range(n_layers)])

    def forward(self, x, index=0):
        x = self.convs[index](x) + self.fno_skips[index](x)
        return F.gelu(x) if index < self.n_layers - 1 else x


class FNO2d(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.lifting = MLP(cfg.data_channels, cfg.hidden_channels, cfg.lifting_channels)
        self.fno_blocks = FNOBlocks(cfg.hidden_channels, cfg.n_modes_height, cfg.n_modes_width, cfg.n_layers)
        self.projection = MLP(cfg.hidden_channels, 1, cfg.projection_channels)

    def forward(self, x):
        x = self.lifting(x)
        for i in range(self.fno_blocks.n_layers):
            x = self.fno_blocks(x, i)
        return self.projection(x)


def load_darcy(cfg, grid_boundaries=((0, 1), (0, 1))):
    n, r = cfg.batch_size, cfg.train_resolution
    x = (torch.randn(n, 1, r, r) > 0).float()
    gx, gy = torch.meshgrid(*[torch.linspace(a, b, r + 1)[:-1] for a, b in grid_boundaries], indexing='ij')
    return torch.cat([x, gx.expand(n, 1, r, r), gy.expand(n, 1, r, r)], dim=1), torch.rand(n, 1, r, r)


def lp_loss(x, y, p=2):
    diff = torch.norm(x.flatten(1) - y.flatten(1), p, dim=1)
    return (diff / torch.norm(y.flatten(1), p, dim=1)).mean()


def build():
    return FNO2d(TFNOConfig)


def step(model):
    x, y = load_darcy(TFNOConfig)
    return lp_loss(model(x), y)


# real cause: a 16 x 16 field has 9 frequencies in its last dimension, the weights have 16; ask for 16 modes at most
# offending tensor: x (4, 16, 16, 9) against the weight (16, 16, 16, 16)
TRUTH = dict(raises='RuntimeError', at='function:einsum', culprits=['fno_blocks.convs.0', 'input'], dim=3, got=9, wanted=16,
             hint_any=['mode', 'resolution', 'frequenc', 'rfft', '9', 'weight'])
MENDED = [('n_modes_height = 32', 'n_modes_height = 16'), ('n_modes_width = 32', 'n_modes_width = 16')]
