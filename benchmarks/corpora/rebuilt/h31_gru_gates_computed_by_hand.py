import torch
import torch.nn as nn

SOURCE = 'https://boohere.com/es/detail/123942.html (copy of a question; sizes from it, how far the step gets is reconstructed, the cause is that of the nn.GRU documentation)'
CATEGORY = 'layer'
DESCRIPTION = 'The computation of a GRU layer is redone from its parameters: each gate is computed with the whole weight_ih of 288 rows, which holds the rows of three gates.'


class ManualGRU(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.hidden_size = size
        self.gru = nn.GRU(size, size, bias=True)

    def gate(self, x, h):
        g = self.gru
        return x @ g.weight_ih_l0.t() + g.bias_ih_l0, h @ g.weight_hh_l0.t() + g.bias_hh_l0

    def cell(self, x, h):
        gi, gh = self.gate(x, h)
        i_r, i_z, i_n = gi, gi, gi
        h_r, h_z, h_n = gh, gh, gh
        r = torch.sigmoid(i_r + h_r)
        z = torch.sigmoid(i_z + h_z)
        n = torch.tanh(i_n + r * h_n)
        return (1 - z) * n + z * h

    def forward(self, x, h=None):
        if h is None:
            h = x.new_zeros(x.size(1), self.hidden_size)
        out = []
        for x_t in x:
            h = self.cell(x_t, h)
            out.append(h)
        return torch.stack(out), h.unsqueeze(0)


class Denoiser(nn.Module):
    def __init__(self, bins=65, channels=96):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(bins, channels), nn.PReLU(), nn.LayerNorm(channels))
        self.rnn = ManualGRU(channels)
        self.mask = nn.Sequential(nn.Linear(channels, bins), nn.Sigmoid())

    def forward(self, spec):
        x = self.encoder(spec).transpose(0, 1)
        y, _ = self.rnn(x)
        return spec * self.mask(y.transpose(0, 1))


def build():
    torch.manual_seed(0)
    return Denoiser()


def step(model):
    clean = torch.rand(8, 20, 65)
    noisy = clean + 0.1 * torch.rand(8, 20, 65)
    return nn.functional.l1_loss(model(noisy), clean)


# (8, 288) of all three gates meets the hidden state (8, 96) in z * h; gi.chunk(3, 1) and gh.chunk(3, 1)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:matmul', 'rnn'], dim=1, got=288, wanted=96,
             hint_any=['288', '96', 'chunk', 'gate'])
MENDED = [('i_r, i_z, i_n = gi, gi, gi', 'i_r, i_z, i_n = gi.chunk(3, 1)'), ('h_r, h_z, h_n = gh, gh, gh', 'h_r, h_z, h_n = gh.chunk(3, 1)')]
