import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/tdrussell/diffusion-pipe/issues/184'
CATEGORY = 'layer'
DESCRIPTION = 'Masked loss of a packed (2x2) latent transformer: latents of 16 channels give 64 numbers a token, the one-channel mask gives 4.'


def pack(x):
    """(b, c, h, w) -> (b, h/2 * w/2, c * 4)"""
    b, c, h, w = x.shape
    x = x.view(b, c, h // 2, 2, w // 2, 2)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(b, (h // 2) * (w // 2), c * 4)


class EmbedND(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.proj = nn.Linear(2, hidden, bias=False)

    def forward(self, h, w):
        ys, xs = torch.meshgrid(torch.arange(h).float(), torch.arange(w).float(), indexing='ij')
        return self.proj(torch.stack([ys, xs], -1).view(1, h * w, 2))


class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)
        self.mod = nn.Linear(hidden, 3 * hidden)
        self.attn = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(approximate='tanh'), nn.Linear(4 * hidden, hidden))

    def forward(self, x, vec):
        shift, scale, gate = self.mod(F.silu(vec)).unsqueeze(1).chunk(3, dim=-1)
        h = self.norm(x) * (1 + scale) + shift
        x = x + gate * self.attn(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.norm(x))


class Chroma(nn.Module):
    def __init__(self, in_channels=64, context=48, hidden=64, depth=2, heads=4):
        super().__init__()
        self.img_in = nn.Linear(in_channels, hidden)
        self.txt_in = nn.Linear(context, hidden)
        self.time_in = nn.Sequential(nn.Linear(1, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.pe = EmbedND(hidden)
        self.blocks = nn.ModuleList([Block(hidden, heads) for _ in range(depth)])
        self.final = nn.Linear(hidden, in_channels)

    def forward(self, img, txt, t, size):
        vec = self.time_in(t[:, None])
        x = self.img_in(img) + self.pe(*size)
        x = torch.cat([self.txt_in(txt), x], dim=1)
        for block in self.blocks:
            x = block(x, vec)
        return self.final(x[:, txt.shape[1]:])


class Pipeline:
    """Turns cached latents into model inputs and labels."""

    def __init__(self, mask_latent_size=True):
        self.mask_latent_size = mask_latent_size

    def prepare_inputs(self, batch):
        latents, mask = batch['latents'], batch['mask']
        bs, channels, h, w = latents.shape
        if mask is not None:
            mask = mask.unsqueeze(1)
            mask = F.interpolate(mask, size=(h, w), mode='nearest-exact')
            mask = pack(mask)
        x_1 = pack(latents)
        x_0 = torch.randn_like(x_1)
        t = torch.sigmoid(torch.randn(bs))
        tt = t.view(-1, 1, 1)
        x_t = (1 - tt) * x_1 + tt * x_0
        return (x_t, batch['txt'], t, (h // 2, w // 2)), (x_0 - x_1, mask)

    def get_loss_fn(self):
        def loss_fn(output, label):
            target, mask = label
            output, target = output.float(), target.float()
            loss = F.mse_loss(output, target, reduction='none')
            if mask is not None:
                loss *= mask
            return loss.mean()
        return loss_fn


def build():
    return Chroma()


def step(model):
    pipeline = Pipeline()
    batch = dict(latents=torch.randn(2, 16, 16, 16), txt=torch.randn(2, 10, 48), mask=(torch.rand(2, 128, 128) > 0.4).float())
    inputs, label = pipeline.prepare_inputs(batch)
    return pipeline.get_loss_fn()(model(*inputs), label)


# real fix: expand the mask to the channels of the latents before it is packed
# offending tensor: mask (2, 64, 4), 64 numbers a token wanted
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:reshape', 'function:unsqueeze', 'function:view', 'input'],
             dim=2, got=4, wanted=64, hint_any=['mask', 'channel', 'expand', 'repeat'])
MENDED = [("mask = pack(mask)", "mask = pack(mask.expand(-1, channels, -1, -1))")]
