import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/state-spaces/s4/pull/30'
CATEGORY = 'silent'
DESCRIPTION = 'Classifier of long sequences: a backbone of configurable blocks, each a state space layer or a feed-forward layer with norm, residual and pooling.'


class DiagonalSSM(nn.Module):
    transposed = False

    def __init__(self, d_model, d_state=8):
        super().__init__()
        self.d_output = d_model
        self.log_a = nn.Parameter(torch.log(0.5 + torch.rand(d_model, d_state)))
        self.B = nn.Parameter(torch.randn(d_model, d_state))
        self.C = nn.Parameter(torch.randn(d_model, d_state) / d_state)
        self.D = nn.Parameter(torch.randn(d_model))
        self.output_linear = nn.Linear(d_model, d_model)

    def forward(self, u, state=None):
        L = u.size(1)
        t = torch.arange(L, device=u.device)
        k = torch.einsum('dn,dnl->dl', self.B * self.C, torch.exp(-self.log_a.exp()[..., None] * t * 0.1))
        u_t = u.transpose(1, 2)
        y = torch.fft.irfft(torch.fft.rfft(u_t, n=2 * L) * torch.fft.rfft(k, n=2 * L), n=2 * L)[..., :L]
        y = y + u_t * self.D[:, None]
        return self.output_linear(F.gelu(y.transpose(1, 2))), state


class FF(nn.Module):
    transposed = False

    def __init__(self, d_model, expand=2):
        super().__init__()
        self.d_output = d_model
        self.ff = nn.Sequential(nn.Linear(d_model, expand * d_model), nn.GELU(), nn.Linear(expand * d_model, d_model))

    def forward(self, x, state=None):
        return self.ff(x), state


class Residual(nn.Module):
    def __init__(self, i_layer, d_input, d_model):
        super().__init__()
        self.d_output = d_model
        assert d_input == d_model

    def forward(self, x, y, transposed):
        return x + y


class DownAvgPool(nn.Module):
    def __init__(self, d_input, stride=2):
        super().__init__()
        self.d_output, self.stride = d_input, stride

    def forward(self, x):
        return F.avg_pool1d(x.transpose(1, 2), self.stride).transpose(1, 2)


LAYERS = {'ssm': DiagonalSSM, 'ff': FF}
RESIDUALS = {'R': Residual}
POOLS = {'avg': DownAvgPool}


class SequenceResidualBlock(nn.Module):
    def __init__(self, d_input, i_layer=None, prenorm=True, dropout=0.0, layer=None, residual=None, norm=None, pool=None):
        super().__init__()
        self.i_layer, self.d_input, self.prenorm = i_layer, d_input, prenorm
        self.layer = LAYERS[layer](d_input)
        if residual is None:
            self.residual = None
            self.d_residual = self.layer.d_output
        else:
            self.residual = RESIDUALS[residual](i_layer, d_input, self.layer.d_output)
            self.d_residual = self.residual.d_output
        d_norm = d_input if self.prenorm else self.d_residual
        self.norm = nn.LayerNorm(d_norm) if norm == 'layer' else None
        self.pool = POOLS[pool](self.d_residual) if pool is not None else None
        self.drop = nn.Dropout(dropout) if dropout > 0.0 else nn.Identity()

    @property
    def transposed(self):
        return getattr(self.layer, 'transposed', False)

    @property
    def d_output(self):
        return self.pool.d_output if self.pool is not None else self.d_residual

    def forward(self, x, *args, state=None, **kwargs):
        y = x

        # Pre-norm
        if self.norm is not None and self.prenorm:
            y = self.norm(y)

        # Black box module
        y, state = self.layer(y, *args, state=state, **kwargs)

        # Residual
        if self.residual is not None:
            x = self.residual(x, self.drop(y), self.transposed)

        # Post-norm
        if self.norm is not None and not self.prenorm:
            x = self.norm(x)

        # Pool
        if self.pool is not None:
            x = self.pool(x)

        return x, state


class SequenceModel(nn.Module):
    def __init__(self, d_input, d_model, d_output, blocks, prenorm, dropout=0.1):
        super().__init__()
        self.encoder = nn.Linear(d_input, d_model)
        layers = []
        for i, cfg in enumerate(blocks):
            layers.append(SequenceResidualBlock(d_model, i + 1, prenorm=prenorm, dropout=dropout, norm='layer', **cfg))
            d_model = layers[-1].d_output
        self.layers = nn.ModuleList(layers)
        self.decoder = nn.Linear(d_model, d_output)

    def forward(self, x):
        x = self.encoder(x)
        for layer in self.layers:
            x, _ = layer(x)
        return self.decoder(x.mean(1))


def build():
    blocks = [dict(layer='ssm', residual='R'), dict(layer='ff', residual='R', pool='avg'),
              dict(layer='ssm', residual='R'), dict(layer='ff', pool='avg')]
    return SequenceModel(1, 32, 10, blocks, prenorm=False)


def step(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    x, y = torch.rand(8, 128, 1), torch.randint(0, 10, (8,))
    for _ in range(3):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return loss.detach()


# without a residual the block goes on with x: the output y of its layer is thrown away and the layer is never trained
TRUTH = dict(raises=None, at=None, culprits=['layers.3', 'layers.3.layer', 'layers.3.layer.ff', 'layers.3.layer.ff.2'], dim=None, got=None, wanted=None,
             hint_any=['unused', 'not used', 'never used', 'ignored', 'no gradient', 'thrown away', 'output of'])
MENDED = [('            x = self.residual(x, self.drop(y), self.transposed)\n', '            x = self.residual(x, self.drop(y), self.transposed)\n        else:\n            x = self.drop(y)\n')]
