import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/deformable-attention/issues/6 (repaired in pull request 7)'
CATEGORY = 'silent'
DESCRIPTION = 'Deformable attention: the sampling grid is stacked as (rows, columns), but grid_sample reads the last axis as (x, y), so every head samples transposed maps.'


def divisible_by(numer, denom):
    return (numer % denom) == 0


def create_grid_like(t, dim=0):
    h, w = t.shape[-2:]
    grid = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij'), dim=dim)
    return grid.type_as(t).detach()


def normalize_grid(grid, dim=1, out_dim=-1):
    h, w = grid.shape[-2:]
    first, second = grid.unbind(dim=dim)
    first = 2.0 * first / max(h - 1, 1) - 1.0
    second = 2.0 * second / max(w - 1, 1) - 1.0
    return torch.stack((first, second), dim=out_dim)


class Scale(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return x * self.scale


class DeformableAttention2D(nn.Module):
    def __init__(self, dim, dim_head=8, heads=4, offset_groups=2, downsample_factor=4, offset_scale=4):
        super().__init__()
        assert divisible_by(heads, offset_groups)
        inner_dim, offset_dims = dim_head * heads, dim_head * heads // offset_groups
        self.heads, self.offset_groups, self.scale = heads, offset_groups, dim_head ** -0.5
        self.downsample_factor = downsample_factor
        self.to_offsets = nn.Sequential(
            nn.Conv2d(offset_dims, offset_dims, 6, groups=offset_dims, stride=downsample_factor, padding=1),
            nn.GELU(), nn.Conv2d(offset_dims, 2, 1, bias=False), nn.Tanh(), Scale(offset_scale))
        self.to_q = nn.Conv2d(dim, inner_dim, 1, groups=offset_groups, bias=False)
        self.to_k = nn.Conv2d(dim, inner_dim, 1, groups=offset_groups, bias=False)
        self.to_v = nn.Conv2d(dim, inner_dim, 1, groups=offset_groups, bias=False)
        self.to_out = nn.Conv2d(inner_dim, dim, 1)

    def forward(self, x):
        heads, b, h, w = self.heads, x.shape[0], x.shape[-2], x.shape[-1]
        q = self.to_q(x)
        grouped = q.reshape(b * self.offset_groups, -1, h, w)
        offsets = self.to_offsets(grouped)
        grid = create_grid_like(offsets)
        vgrid = grid + offsets
        vgrid_scaled = normalize_grid(vgrid)
        kv_feats = F.grid_sample(x.reshape(b * self.offset_groups, -1, h, w), vgrid_scaled,
                                 mode='bilinear', padding_mode='zeros', align_corners=False)
        kv_feats = kv_feats.reshape(b, -1, *kv_feats.shape[-2:])
        k, v = self.to_k(kv_feats), self.to_v(kv_feats)
        q, k, v = (t.reshape(b, heads, -1, t.shape[-2] * t.shape[-1]).transpose(2, 3) for t in (q * self.scale, k, v))
        sim = torch.einsum('b h i d, b h j d -> b h i j', q, k)
        sim = sim - sim.amax(dim=-1, keepdim=True).detach()
        attn = sim.softmax(dim=-1)
        out = torch.einsum('b h i j, b h j d -> b h i d', attn, v)
        out = out.transpose(2, 3).reshape(b, -1, h, w)
        return self.to_out(out)


class Classifier(nn.Module):
    def __init__(self, dim=16, num_classes=5):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, dim, 4, stride=4), nn.BatchNorm2d(dim), nn.GELU())
        self.attn = DeformableAttention2D(dim)
        self.pos = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.pos(x)
        x = x + self.attn(x)
        return self.head(x.mean(dim=(-2, -1)))


def build():
    return Classifier()


def step(model):
    images, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 3, 1, 4])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    for _ in range(3):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at='function:grid_sample', culprits=['function:meshgrid', 'function:stack', 'function:grid_sample'], dim=None, got=None, wanted=None,
             hint_any=['xy', 'order', 'swap', 'transpose', 'indexing', 'width'])
MENDED = [("torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')", "torch.meshgrid(torch.arange(w), torch.arange(h), indexing='xy')")]
