import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/bytetriper/RAE/issues/67'
CATEGORY = 'silent'
DESCRIPTION = 'Class-conditional flow matching on the latents of a frozen encoder; a large batch is put together from micro-batches, with a moving average of the weights.'


class Encoder(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 4, stride=4)

    def encode(self, images):
        z = self.patch(images).flatten(2).transpose(1, 2)
        return F.layer_norm(z, z.shape[-1:])


class DiTBlock(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden, elementwise_affine=False)
        self.attn = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(hidden, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 4 * hidden))

    def forward(self, x, c):
        shift_a, scale_a, shift_m, scale_m = self.adaLN_modulation(c).unsqueeze(1).chunk(4, dim=-1)
        h = self.norm1(x) * (1 + scale_a) + shift_a
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.norm2(x) * (1 + scale_m) + shift_m)


class DiT(nn.Module):
    def __init__(self, dim=8, hidden=32, depth=2, heads=4, tokens=16, num_classes=5):
        super().__init__()
        self.x_embedder = nn.Linear(dim, hidden)
        self.pos_embed = nn.Parameter(torch.randn(1, tokens, hidden) * 0.02)
        self.t_embedder = nn.Sequential(nn.Linear(1, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.y_embedder = nn.Embedding(num_classes, hidden)
        self.blocks = nn.ModuleList([DiTBlock(hidden, heads) for _ in range(depth)])
        self.final_layer = nn.Linear(hidden, dim)

    def forward(self, x, t, y):
        x = self.x_embedder(x) + self.pos_embed
        c = self.t_embedder(t[:, None]) + self.y_embedder(y)
        for block in self.blocks:
            x = block(x, c)
        return self.final_layer(x)


class Stage2(nn.Module):
    def __init__(self):
        super().__init__()
        self.rae = Encoder().requires_grad_(False)
        self.model = DiT()
        self.ema = DiT().requires_grad_(False)
        self.ema.load_state_dict(self.model.state_dict())


def training_losses(model, x1, model_kwargs):
    t = torch.rand(x1.shape[0])
    x0 = torch.randn_like(x1)
    tt = t.view(-1, 1, 1)
    pred = model(tt * x1 + (1 - tt) * x0, t, **model_kwargs)
    return {'loss': (pred - (x1 - x0)).pow(2).mean(dim=(1, 2))}


@torch.no_grad()
def update_ema(ema_model, model, decay=0.9):
    for e, p in zip(ema_model.parameters(), model.parameters()):
        e.mul_(decay).add_(p, alpha=1 - decay)


def build():
    return Stage2()


def step(model, grad_accum_steps=4, micro_batch_size=4, clip_grad=1.0):
    images = torch.randn(32, 3, 16, 16)
    labels = torch.randint(0, 5, (32,))
    loader = DataLoader(TensorDataset(images, labels), batch_size=micro_batch_size)
    optimizer = torch.optim.AdamW(model.model.parameters(), lr=2e-3, betas=(0.9, 0.95))
    model.model.train()
    accum_counter, running, global_step = 0, 0.0, 0
    for x, y in loader:
        with torch.no_grad():
            z = model.rae.encode(x)
        optimizer.zero_grad(set_to_none=True)
        loss = training_losses(model.model, z, dict(y=y))['loss'].mean()
        (loss / grad_accum_steps).backward()
        running += loss.detach()
        accum_counter += 1
        if accum_counter < grad_accum_steps:
            continue
        torch.nn.utils.clip_grad_norm_(model.model.parameters(), clip_grad)
        optimizer.step()
        update_ema(model.ema, model.model)
        global_step += 1
        accum_counter = 0
    return running / len(loader)


# zero_grad stands in the loop over micro-batches: three of four backwards are thrown away before the step
# real fix: only clear after a step (pull request 78)
TRUTH = dict(raises=None, at='function:zero_grad', culprits=['function:zero_grad'], dim=None, got=1, wanted=4,
             hint_any=['zero_grad', 'accumul', 'thrown away', 'discard', 'cleared'])
MENDED = [('        optimizer.zero_grad(set_to_none=True)\n        loss = ', '        loss = '),
          ('        update_ema(model.ema, model.model)\n        global_step', '        optimizer.zero_grad(set_to_none=True)\n        update_ema(model.ema, model.model)\n        global_step')]
