import torch
import torch.nn as nn

SOURCE = 'https://github.com/microsoft/CSWin-Transformer/issues/5'
CATEGORY = 'layer'
DESCRIPTION = 'Cross-shaped windows: split_size 12 of the 384 configuration is used with 224 images, where stage 3 has a 14x14 map.'

MODELS = {
    'tiny_224': dict(embed_dim=16, depth=[1, 1, 2, 1], split_size=[1, 2, 7, 7], num_heads=[2, 2, 4, 4]),
    'small_224': dict(embed_dim=16, depth=[1, 1, 2, 1], split_size=[1, 2, 12, 12], num_heads=[2, 2, 4, 4]),
}


def img2windows(img, h_sp, w_sp):
    b, c, h, w = img.shape
    img = img.view(b, c, h // h_sp, h_sp, w // w_sp, w_sp)
    return img.permute(0, 2, 4, 3, 5, 1).reshape(-1, h_sp * w_sp, c)


def windows2img(x, h_sp, w_sp, h, w):
    b = int(x.shape[0] / (h * w / h_sp / w_sp))
    x = x.view(b, h // h_sp, w // w_sp, h_sp, w_sp, -1)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(b, h * w, -1)


class StripeAttention(nn.Module):
    def __init__(self, dim, resolution, idx, split_size, num_heads):
        super().__init__()
        self.resolution, self.num_heads = resolution, num_heads
        self.h_sp, self.w_sp = {-1: (resolution, resolution), 0: (resolution, split_size), 1: (split_size, resolution)}[idx]
        self.lepe = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.scale = (dim // num_heads) ** -0.5

    def windows(self, x):
        b, n, c = x.shape
        x = x.transpose(-2, -1).contiguous().view(b, c, self.resolution, self.resolution)
        return img2windows(x, self.h_sp, self.w_sp)

    def heads(self, x):
        return x.reshape(x.shape[0], x.shape[1], self.num_heads, -1).permute(0, 2, 1, 3)

    def forward(self, qkv):
        q, k, v = (self.windows(t) for t in qkv)
        n, l, c = v.shape
        lepe = self.lepe(v.transpose(1, 2).reshape(n, c, self.h_sp, self.w_sp)).flatten(2).transpose(1, 2)
        attn = (self.heads(q) * self.scale @ self.heads(k).transpose(-2, -1)).softmax(-1)
        x = (attn @ self.heads(v)).transpose(1, 2).reshape(n, l, c) + lepe
        return windows2img(x, self.h_sp, self.w_sp, self.resolution, self.resolution)


class CSWinBlock(nn.Module):
    def __init__(self, dim, reso, num_heads, split_size, last_stage=False):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, dim * 3)
        self.branches = 1 if last_stage or reso == split_size else 2
        if self.branches == 1:
            self.attns = nn.ModuleList([StripeAttention(dim, reso, -1, split_size, num_heads)])
        else:
            self.attns = nn.ModuleList([StripeAttention(dim // 2, reso, i, split_size, num_heads // 2) for i in range(2)])
        self.proj = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, dim * 2), nn.GELU(), nn.Dropout(0.1), nn.Linear(dim * 2, dim))

    def forward(self, x):
        b, l, c = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, l, 3, c).permute(2, 0, 1, 3)
        parts = [a(t) for a, t in zip(self.attns, qkv.chunk(self.branches, dim=-1))]
        x = x + self.proj(torch.cat(parts, dim=2))
        return x + self.mlp(self.norm2(x))


class Merge(nn.Module):
    def __init__(self, dim, dim_out):
        super().__init__()
        self.conv = nn.Conv2d(dim, dim_out, 3, 2, 1)
        self.norm = nn.LayerNorm(dim_out)

    def forward(self, x):
        b, n, c = x.shape
        side = int(n ** 0.5)
        x = self.conv(x.transpose(1, 2).reshape(b, c, side, side))
        return self.norm(x.flatten(2).transpose(1, 2))


class CSWinTransformer(nn.Module):
    def __init__(self, embed_dim, depth, split_size, num_heads, img_size=224, num_classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, embed_dim, 7, 4, 2)
        self.stages, dim = nn.ModuleList(), embed_dim
        for i, n in enumerate(depth):
            merge = Merge(dim, dim * 2) if i else nn.Identity()
            dim = dim * 2 if i else dim
            blocks = [CSWinBlock(dim, img_size // (4 * 2 ** i), num_heads[i], split_size[i], i == len(depth) - 1) for _ in range(n)]
            self.stages.append(nn.Sequential(merge, *blocks))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        for stage in self.stages:
            x = stage(x)
        return self.head(self.norm(x).mean(1))


def build():
    return CSWinTransformer(**MODELS['small_224'])


def step(model):
    images, labels = torch.rand(1, 3, 224, 224), torch.randint(0, 10, (1,))
    return nn.CrossEntropyLoss(label_smoothing=0.1)(model(images), labels)


# real fix: split_size=[1, 2, 7, 7] for 224 images (12 belongs to 384 images: 384 / 16 = 24 is divisible by 12)
# offending tensor: the 14x14 map of stage 3, cut into stripes of 12: view(1, 32, 1, 14, 1, 12)
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view', 'stages.2.1.attns.0', 'stages.2.1', '', 'input'], dim=3, got=14, wanted=None,
             hint_any=['12', 'divis', 'multiple', 'split_size', 'w_sp'])
MENDED = [("split_size=[1, 2, 12, 12]", "split_size=[1, 2, 7, 7]")]
