import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/PolymathicAI/the_well/issues/26 (cause and repair of the report; the wrapper is reconstructed)'
CATEGORY = 'layer'
DESCRIPTION = 'FNO on active matter: the library widens the lifting layer for two grid channels by default, the wrapper with its own forward never appends them.'


class GridEmbedding2D(nn.Module):
    def forward(self, x):
        b, _, h, w = x.shape
        gy = torch.linspace(0, 1, h).view(1, 1, h, 1).expand(b, 1, h, w)
        gx = torch.linspace(0, 1, w).view(1, 1, 1, w).expand(b, 1, h, w)
        return torch.cat([x, gy, gx], dim=1)


class ChannelMLP(nn.Module):
    def __init__(self, in_channels, out_channels, hidden_channels):
        super().__init__()
        self.fcs = nn.ModuleList([nn.Conv1d(in_channels, hidden_channels, 1), nn.Conv1d(hidden_channels, out_channels, 1)])

    def forward(self, x):
        size = x.shape[2:]
        x = x.flatten(2)
        x = self.fcs[1](F.gelu(self.fcs[0](x)))
        return x.unflatten(2, size)


class SpectralConv(nn.Module):
    def __init__(self, channels, n_modes):
        super().__init__()
        self.n_modes = n_modes
        self.weight = nn.Parameter(torch.randn(channels, channels, n_modes[0], n_modes[1] // 2 + 1, dtype=torch.cfloat) / channels)

    def forward(self, x):
        ft = torch.fft.rfftn(x, dim=(-2, -1))
        out = torch.zeros_like(ft)
        m1, m2 = self.n_modes[0], self.n_modes[1] // 2 + 1
        out[:, :, :m1, :m2] = torch.einsum('bixy,ioxy->boxy', ft[:, :, :m1, :m2], self.weight)
        return torch.fft.irfftn(out, s=x.shape[-2:], dim=(-2, -1))


class FNOBlocks(nn.Module):
    def __init__(self, channels, n_modes, n_layers):
        super().__init__()
        self.convs = nn.ModuleList([SpectralConv(channels, n_modes) for _ in range(n_layers)])
        self.fno_skips = nn.ModuleList([nn.Conv2d(channels, channels, 1, bias=False) for _ in range(n_layers)])

    def forward(self, x, index):
        return F.gelu(self.convs[index](x) + self.fno_skips[index](x))


class NeuralopFNO(nn.Module):
    def __init__(self, n_modes, in_channels, out_channels, hidden_channels, n_layers=2, positional_embedding='grid'):
        super().__init__()
        self.n_layers, self.n_dim = n_layers, len(n_modes)
        self.positional_embedding = GridEmbedding2D() if positional_embedding == 'grid' else None
        lifting_in_channels = in_channels
        if self.positional_embedding is not None:
            lifting_in_channels += self.n_dim
        self.lifting = ChannelMLP(lifting_in_channels, hidden_channels, 2 * hidden_channels)
        self.fno_blocks = FNOBlocks(hidden_channels, n_modes, n_layers)
        self.projection = ChannelMLP(hidden_channels, out_channels, 2 * hidden_channels)

    def forward(self, x):
        if self.positional_embedding is not None:
            x = self.positional_embedding(x)
        x = self.lifting(x)
        for i in range(self.n_layers):
            x = self.fno_blocks(x, i)
        return self.projection(x)


class NeuralOpsCheckpointWrapper(NeuralopFNO):
    def __init__(self, *args, gradient_checkpointing=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.gradient_checkpointing = gradient_checkpointing

    def optionally_checkpoint(self, layer, *inputs):
        if self.gradient_checkpointing:
            return torch.utils.checkpoint.checkpoint(layer, *inputs, use_reentrant=False)
        return layer(*inputs)

    def forward(self, x):
        x = self.optionally_checkpoint(self.lifting, x)
        for i in range(self.n_layers):
            x = self.optionally_checkpoint(self.fno_blocks, x, i)
        return self.optionally_checkpoint(self.projection, x)


class FNO(nn.Module):
    def __init__(self, dim_in, dim_out, modes1=8, modes2=8, hidden_channels=32):
        super().__init__()
        self.model = NeuralOpsCheckpointWrapper(
            n_modes=(modes1, modes2),
            in_channels=dim_in,
            out_channels=dim_out,
            hidden_channels=hidden_channels,
        )

    def forward(self, x):
        return self.model(x)


def build():
    torch.manual_seed(0)
    n_fields, n_steps_input = 11, 4
    return FNO(dim_in=n_fields * n_steps_input, dim_out=n_fields)


def step(model):
    batch = {'input_fields': torch.randn(2, 4, 32, 32, 11), 'output_fields': torch.randn(2, 1, 32, 32, 11)}
    x = batch['input_fields'].permute(0, 1, 4, 2, 3).flatten(1, 2)
    y = model(x).permute(0, 2, 3, 1).unsqueeze(1)
    var = batch['output_fields'].var(dim=(2, 3), keepdim=True)
    return ((y - batch['output_fields']).pow(2) / var).mean()


# report: positional_embedding=None when the wrapper is made
TRUTH = dict(raises='RuntimeError', at='module:model.lifting.fcs.0', culprits=['model.lifting.fcs.0'], dim=1, got=44, wanted=46,
             hint_any=['44', '46', 'in_channels'])
MENDED = [('            hidden_channels=hidden_channels,\n        )', '            hidden_channels=hidden_channels,\n            positional_embedding=None,\n        )')]
