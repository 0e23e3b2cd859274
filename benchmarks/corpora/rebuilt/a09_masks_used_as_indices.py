import random

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/implus/UM-MAE/issues/16'
CATEGORY = 'layer'
DESCRIPTION = 'Masked autoencoder: masks of zeros and ones are integers, so pos[~mask] picks whole images instead of patches: 65536 positions for 64 tokens.'


class RandomMaskingGenerator:
    def __init__(self, input_size=16, mask_ratio=0.75):
        self.num_patches = input_size * input_size
        self.num_mask = int(mask_ratio * self.num_patches)

    def __call__(self):
        mask = [0] * (self.num_patches - self.num_mask) + [1] * self.num_mask
        random.shuffle(mask)
        return mask


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


def sincos(n, dim):
    angle = torch.arange(n)[:, None] * torch.exp(-torch.arange(0, dim, 2) / dim * 9.2)
    return torch.cat([angle.sin(), angle.cos()], 1).unsqueeze(0)


class MaskedAutoencoder(nn.Module):
    def __init__(self, img_size=64, patch=4, dim=32, decoder_dim=16):
        super().__init__()
        self.patch, self.num_patches = patch, (img_size // patch) ** 2
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.register_buffer('pos_embed', sincos(self.num_patches, dim))
        self.register_buffer('decoder_pos_embed', sincos(self.num_patches, decoder_dim))
        self.blocks = nn.Sequential(Block(dim, 4), Block(dim, 4))
        self.norm = nn.LayerNorm(dim)
        self.decoder_embed = nn.Linear(dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.decoder_blocks = nn.Sequential(Block(decoder_dim, 2))
        self.decoder_pred = nn.Linear(decoder_dim, patch * patch * 3)

    def patchify(self, imgs):
        return F.unfold(imgs, self.patch, stride=self.patch).transpose(1, 2)

    def forward_encoder(self, imgs, mask):
        x = self.patch_embed(imgs).flatten(2).transpose(1, 2) + self.pos_embed
        keep = int((mask[0] == 0).sum())
        order = mask.to(torch.uint8).argsort(dim=1, stable=True)
        x = x.gather(1, order[:, :keep, None].expand(-1, -1, x.size(-1)))
        return self.norm(self.blocks(x))

    def forward_decoder(self, x_vis, mask):
        x_vis = self.decoder_embed(x_vis)
        b, _, c = x_vis.shape
        expand_pos_embed = self.decoder_pos_embed.expand(b, -1, -1)
        pos_vis = expand_pos_embed[~mask].reshape(b, -1, c)
        pos_mask = expand_pos_embed[mask].reshape(b, -1, c)
        x = torch.cat([x_vis + pos_vis, self.mask_token + pos_mask], dim=1)
        return self.decoder_pred(self.decoder_blocks(x)[:, -pos_mask.size(1):])

    def forward(self, imgs, mask):
        latent = self.forward_encoder(imgs, mask)
        pred = self.forward_decoder(latent, mask)
        target = self.patchify(imgs)[mask].reshape(pred.shape)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6) ** .5
        return F.mse_loss(pred, target)


def train_one_epoch(model, loader):
    losses = []
    for imgs, masks in loader:
        losses.append(model(imgs, masks))
    return torch.stack(losses).mean()


def build():
    return MaskedAutoencoder()


def step(model):
    random.seed(3)
    masked_position_generator = RandomMaskingGenerator()
    imgs = torch.randn(4, 3, 64, 64)
    masks = torch.tensor([masked_position_generator() for _ in range(4)])
    return train_one_epoch(model, [(imgs, masks)])


# real fix: masks.flatten(1).to(torch.bool) before the model
# offending tensor: pos_vis (4, 65536, 16): 256 * 256, because the mask was taken for indices into the batch
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:getitem', 'input', 'function:reshape', 'function:invert', 'function:bitwise_not', 'function:tensor'],
             dim=1, got=65536, wanted=64, hint_any=['bool', 'index', 'indices', 'int64', 'integer'])
MENDED = [('losses.append(model(imgs, masks))', 'losses.append(model(imgs, masks.flatten(1).to(torch.bool)))')]
