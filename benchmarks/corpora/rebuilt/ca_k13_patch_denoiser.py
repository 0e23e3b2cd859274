import torch
import torch.nn as nn

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Patch-based noise predictor of a small diffusion model: tokens in, tokens out, tokens put together to an image.'

P, G, C = 4, 5, 3


def to_tokens(img):
    cols = img.unfold(2, P, P).unfold(3, P, P)                # (B, C, G, G, P, P)
    return cols.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def to_image(tok):
    return tok.view(tok.size(0), C, G * P, G * P)


class Mixer(nn.Module):
    def __init__(self, tokens, dim):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.tok = nn.Sequential(nn.Linear(tokens, 40), nn.GELU(), nn.Linear(40, tokens))
        self.ch = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, dim))

    def forward(self, x, emb):
        x = x + emb[:, None]
        x = x + self.tok(self.n1(x).mT).mT
        return x + self.ch(self.n2(x))


class Eps(nn.Module):
    def __init__(self, dim=32, steps=100):
        super().__init__()
        self.inp = nn.Linear(C * P * P, dim)
        self.time = nn.Embedding(steps, dim)
        self.mix = nn.ModuleList(Mixer(G * G, dim) for _ in range(2))
        self.out = nn.Linear(dim, C * P * P)

    def forward(self, img, t):
        x, e = self.inp(to_tokens(img)), self.time(t)
        for m in self.mix:
            x = m(x, e)
        return to_image(self.out(x))


class Diffusion:
    def __init__(self, steps=100):
        self.alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.05, steps), 0)

    def loss(self, net, x0):
        t = torch.randint(0, len(self.alpha_bar), (x0.size(0),))
        a = self.alpha_bar[t][:, None, None, None]
        noise = torch.randn_like(x0)
        return ((net(a.sqrt() * x0 + (1 - a).sqrt() * noise, t) - noise) ** 2).mean()


def build():
    return Eps()


def step(model):
    return Diffusion().loss(model, torch.rand(6, C, G * P, G * P) * 2 - 1)


# (B, patches, C*P*P) is viewed as (B, C, H, W): a patch becomes a run of pixels in a row
TRUTH = dict(raises=None, at='function:view', culprits=['function:view', 'out'], dim=1, got=25, wanted=None,
             hint_any=['permute', 'patch', 'fold', 'order', 'mix'])
MENDED = [('return tok.view(tok.size(0), C, G * P, G * P)', 'return tok.view(-1, G, G, C, P, P).permute(0, 3, 1, 4, 2, 5).reshape(-1, C, G * P, G * P)')]
