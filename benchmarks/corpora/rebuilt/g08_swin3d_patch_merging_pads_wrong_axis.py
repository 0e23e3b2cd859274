import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Project-MONAI/MONAI/issues/4696'
CATEGORY = 'layer'
DESCRIPTION = 'SwinUNETR PatchMerging: F.pad lists the padding of the last axis first; depth and height are exchanged, so an odd depth stays odd.'


class PatchEmbed(nn.Module):
    def __init__(self, patch_size, in_chans, embed_dim):
        super().__init__()
        self.proj = nn.Conv3d(in_chans, embed_dim, patch_size, patch_size)

    def forward(self, x):
        return self.proj(x)


class PatchMerging(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.reduction = nn.Linear(8 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(8 * dim)

    def forward(self, x):
        b, d, h, w, c = x.size()
        pad_input = (h % 2 == 1) or (w % 2 == 1) or (d % 2 == 1)
        if pad_input:
            x = F.pad(x, (0, 0, 0, d % 2, 0, w % 2, 0, h % 2))
        x0 = x[:, 0::2, 0::2, 0::2, :]
        x1 = x[:, 1::2, 0::2, 0::2, :]
        x2 = x[:, 0::2, 1::2, 0::2, :]
        x3 = x[:, 0::2, 0::2, 1::2, :]
        x4 = x[:, 1::2, 0::2, 1::2, :]
        x5 = x[:, 1::2, 1::2, 0::2, :]
        x6 = x[:, 0::2, 1::2, 1::2, :]
        x7 = x[:, 1::2, 1::2, 1::2, :]
        x = torch.cat([x0, x1, x2, x3, x4, x5, x6, x7], -1)
        return self.reduction(self.norm(x))


class SwinTransformerBlock(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        b, d, h, w, c = x.shape
        rows = self.norm1(x).reshape(b * d * h, w, c)
        x = x + self.attn(rows, rows, rows, need_weights=False)[0].view(b, d, h, w, c)
        return x + self.mlp(self.norm2(x))


class BasicLayer(nn.Module):
    def __init__(self, dim, depth, num_heads):
        super().__init__()
        self.blocks = nn.ModuleList(SwinTransformerBlock(dim, num_heads) for _ in range(depth))
        self.downsample = PatchMerging(dim)

    def forward(self, x):
        x = x.permute(0, 2, 3, 4, 1)
        for blk in self.blocks:
            x = blk(x)
        return self.downsample(x).permute(0, 4, 1, 2, 3)


class SwinSeg(nn.Module):
    def __init__(self, in_chans=1, num_classes=3, embed_dim=8, depths=(1, 1, 1), num_heads=(2, 2, 4), patch_size=2):
        super().__init__()
        self.patch_embed = PatchEmbed(patch_size, in_chans, embed_dim)
        self.layers = nn.ModuleList(BasicLayer(embed_dim * 2 ** i, depth, heads) for i, (depth, heads) in enumerate(zip(depths, num_heads)))
        self.out = nn.Conv3d(embed_dim * 2 ** len(depths), num_classes, 1)

    def forward(self, x):
        size = x.shape[2:]
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        return F.interpolate(self.out(x), size=size, mode='trilinear')


def build():
    return SwinSeg()


def step(model):
    volumes = torch.randn(2, 1, 20, 32, 32)
    labels = torch.randint(0, 3, (2, 20, 32, 32))
    return F.cross_entropy(model(volumes), labels)


# real fix: F.pad(x, (0, 0, 0, w % 2, 0, h % 2, 0, d % 2))
# the second layer has (2, 5, 8, 8, 16): padded to (2, 5, 8, 9, 16); slices of 3 and 2 planes
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['function:pad'], dim=1, got=2, wanted=3,
             hint_any=['pad', 'odd', 'even', 'divisible', 'multiple', 'depth'])
MENDED = [('F.pad(x, (0, 0, 0, d % 2, 0, w % 2, 0, h % 2))', 'F.pad(x, (0, 0, 0, w % 2, 0, h % 2, 0, d % 2))')]
