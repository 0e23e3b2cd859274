import torch
from torch import nn

SOURCE = 'https://github.com/gmongaras/Diffusion_models_from_scratch/issues/10'
CATEGORY = 'silent'
DESCRIPTION = 'Diffusion model from scratch: a small U-Net takes the noisy picture and the encoded time step, and gives the noise.'


class PositionalEncoding(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim
        self.denom = torch.tensor(10000) ** (-(2 * torch.arange(self.dim)) / self.dim)

    def forward(self, time):
        embeddings = time[:, None] * self.denom[None, :].to(time.device)
        embeddings[::2] = embeddings[::2].sin()
        embeddings[1::2] = embeddings[1::2].cos()
        return embeddings


class ResBlock(nn.Module):
    def __init__(self, inCh, outCh, t_dim):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, inCh), nn.Conv2d(inCh, outCh, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(4, outCh), nn.Conv2d(outCh, outCh, 3, padding=1)
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(t_dim, 2 * outCh))
        self.act = nn.SiLU()
        self.res = nn.Conv2d(inCh, outCh, 1) if inCh != outCh else nn.Identity()

    def forward(self, X, t):
        scale, shift = self.time(t)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(self.act(self.norm1(X)))
        h = self.norm2(h) * (1 + scale) + shift
        return self.conv2(self.act(h)) + self.res(X)


class U_Net(nn.Module):
    def __init__(self, ch=16, t_dim=16):
        super().__init__()
        self.time_emb = PositionalEncoding(t_dim)
        self.time_mlp = nn.Sequential(nn.Linear(t_dim, t_dim), nn.SiLU(), nn.Linear(t_dim, t_dim))
        self.inConv = nn.Conv2d(3, ch, 3, padding=1)
        self.down = nn.ModuleList([ResBlock(ch, ch, t_dim), ResBlock(ch, 2 * ch, t_dim)])
        self.pool = nn.AvgPool2d(2)
        self.mid = ResBlock(2 * ch, 2 * ch, t_dim)
        self.up = nn.ModuleList([ResBlock(4 * ch, ch, t_dim), ResBlock(2 * ch, ch, t_dim)])
        self.unpool = nn.Upsample(scale_factor=2)
        self.out = nn.Conv2d(ch, 3, 3, padding=1)

    def forward(self, X, t):
        t = self.time_mlp(self.time_emb(t))
        X = self.inConv(X)
        saved = []
        for block in self.down:
            X = block(X, t)
            saved.append(X)
            X = self.pool(X)
        X = self.mid(X, t)
        for block in self.up:
            X = block(torch.cat([self.unpool(X), saved.pop()], dim=1), t)
        return self.out(X)


class diff_model(nn.Module):
    def __init__(self, T=1000):
        super().__init__()
        self.T = T
        self.unet = U_Net()
        beta = torch.linspace(1e-4, 0.02, T)
        self.register_buffer('a_bar', torch.cumprod(1 - beta, dim=0))

    def noise_batch(self, X, t):
        epsilon = torch.randn_like(X)
        a_bar_t = self.a_bar[t][:, None, None, None]
        return a_bar_t.sqrt() * X + (1 - a_bar_t).sqrt() * epsilon, epsilon

    def forward(self, x_t, t):
        return self.unet(x_t, t.float())


def build():
    return diff_model()


def step(model, batch=16):
    optim = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-4)
    for _ in range(3):
        batch_x_0 = torch.rand(batch, 3, 16, 16) * 2 - 1
        t_vals = torch.randint(0, model.T, (batch,))
        batch_x_t, epsilon_t = model.noise_batch(batch_x_0, t_vals)
        epsilon_t_pred = model(batch_x_t, t_vals)
        loss = ((epsilon_t - epsilon_t_pred) ** 2).flatten(1).mean(dim=1).mean()
        optim.zero_grad()
        loss.backward()
        optim.step()
    return loss.detach()


# [::2] picks every second picture of the batch, not every second column: the code of a time step depends on the place
# in the batch; real fix: embeddings[:, ::2] and embeddings[:, 1::2] (the sign of the exponent is ours)
TRUTH = dict(raises=None, at='function:__getitem__',
             culprits=['function:__getitem__', 'function:__setitem__', 'function:sin', 'function:cos', 'unet.time_emb'],
             dim=0, got=None, wanted=None, hint_any=['batch', 'row', 'dim 0', 'dimension 0', ':, ::2'])
MENDED = [('embeddings[::2] = embeddings[::2].sin()', 'embeddings[:, ::2] = embeddings[:, ::2].sin()'),
          ('embeddings[1::2] = embeddings[1::2].cos()', 'embeddings[:, 1::2] = embeddings[:, 1::2].cos()')]
