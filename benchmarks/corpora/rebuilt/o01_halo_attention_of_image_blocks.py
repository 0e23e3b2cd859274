import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/halonet-pytorch/issues/4'
CATEGORY = 'silent'
DESCRIPTION = 'Image classifier with HaloNet attention: every block of pixels attends to its surroundings, the border is padded with zeros.'


class HaloAttention(nn.Module):
    def __init__(self, dim, block_size, halo_size, dim_head=8, heads=4):
        super().__init__()
        self.block_size, self.halo_size = block_size, halo_size
        self.heads, self.dim_head = heads, dim_head
        self.scale = dim_head ** -0.5
        inner = dim_head * heads
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, inner * 2, bias=False)
        self.to_out = nn.Linear(inner, dim)

    def split_heads(self, t):
        n, s, _ = t.shape
        return t.view(n, s, self.heads, self.dim_head).transpose(1, 2).reshape(n * self.heads, s, self.dim_head)

    def forward(self, x):
        b, c, h, w = x.shape
        block, halo = self.block_size, self.halo_size
        assert h % block == 0 and w % block == 0
        rows, cols = h // block, w // block

        q_inp = x.view(b, c, rows, block, cols, block).permute(0, 2, 4, 3, 5, 1).reshape(b * rows * cols, block * block, c)
        window = block + halo * 2
        kv_inp = F.unfold(x, kernel_size=window, stride=block, padding=halo)
        kv_inp = kv_inp.view(b, c, window * window, rows * cols).permute(0, 3, 2, 1)
        kv_inp = kv_inp.reshape(b * rows * cols, window * window, c)

        q = self.split_heads(self.to_q(q_inp)) * self.scale
        k, v = (self.split_heads(t) for t in self.to_kv(kv_inp).chunk(2, dim=-1))
        sim = torch.einsum('bid,bjd->bij', q, k)

        mask = torch.ones(1, 1, h, w, device=x.device)
        mask = F.unfold(mask, kernel_size=window, stride=block, padding=halo)
        mask = mask.transpose(1, 2).repeat(b, 1, 1).view(b * rows * cols, 1, window * window)
        mask = mask.repeat_interleave(self.heads, dim=0)
        mask = mask.bool()
        max_neg_value = -torch.finfo(sim.dtype).max
        sim.masked_fill_(mask, max_neg_value)

        attn = sim.softmax(dim=-1)
        out = torch.einsum('bij,bjd->bid', attn, v)
        out = out.view(b * rows * cols, self.heads, block * block, self.dim_head).transpose(1, 2)
        out = self.to_out(out.reshape(b * rows * cols, block * block, -1))
        out = out.view(b, rows, cols, block, block, c).permute(0, 5, 1, 3, 2, 4)
        return out.reshape(b, c, h, w)


class HaloNet(nn.Module):
    def __init__(self, dim=24, num_classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, dim, 4, stride=4)
        self.norm = nn.GroupNorm(1, dim)
        self.attn = HaloAttention(dim, block_size=4, halo_size=2)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, img):
        x = self.stem(img)
        x = x + self.attn(self.norm(x))
        return self.head(x.mean(dim=(2, 3)))


def build():
    return HaloNet()


def step(model):
    images = torch.randn(4, 3, 32, 32)
    labels = torch.randint(0, 10, (4,))
    return F.cross_entropy(model(images), labels)


# masked_fill_ fills where the mask is True; the mask is True at the real pixels and False at the padding.
# real fix: mask = ~mask.bool()
TRUTH = dict(raises=None, at='function:masked_fill_', culprits=['function:masked_fill_', 'function:masked_fill', 'function:bool'],
             dim=None, got=None, wanted=None, hint_any=['invert', '~', 'true', 'padding', 'logical_not', 'opposite'])
MENDED = [('mask = mask.bool()', 'mask = ~mask.bool()')]
