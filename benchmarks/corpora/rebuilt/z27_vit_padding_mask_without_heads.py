import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/vit-pytorch/issues/71'
CATEGORY = 'layer'
DESCRIPTION = 'Patch mask of a ViT is expanded to (b,n,n) and used on (b,h,n,n) scores: fine for one image, not for a batch of two.'


class Residual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x, **kwargs):
        return self.fn(x, **kwargs) + x


class PreNorm(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x, **kwargs):
        return self.fn(self.norm(x), **kwargs)


class FeedForward(nn.Module):
    def __init__(self, dim, hidden_dim):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, dim))

    def forward(self, x):
        return self.net(x)


class Attention(nn.Module):
    def __init__(self, dim, heads=8, dim_head=16):
        super().__init__()
        self.heads, self.scale = heads, dim_head ** -0.5
        self.to_qkv = nn.Linear(dim, heads * dim_head * 3, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim)

    def forward(self, x, mask=None):
        b, n, _ = x.shape
        q, k, v = [t.reshape(b, n, self.heads, -1).transpose(1, 2) for t in self.to_qkv(x).chunk(3, dim=-1)]
        dots = torch.einsum('bhid,bhjd->bhij', q, k) * self.scale
        mask_value = -torch.finfo(dots.dtype).max
        if mask is not None:
            mask = F.pad(mask.flatten(1), (1, 0), value=True)
            assert mask.shape[-1] == dots.shape[-1], 'mask has incorrect dimensions'
            mask = mask.unsqueeze(1) * mask.unsqueeze(2)
            dots.masked_fill_(~mask, mask_value)
        attn = dots.softmax(dim=-1)
        out = torch.einsum('bhij,bhjd->bhid', attn, v)
        return self.to_out(out.transpose(1, 2).reshape(b, n, -1))


class Transformer(nn.Module):
    def __init__(self, dim, depth, heads, dim_head, mlp_dim):
        super().__init__()
        self.layers = nn.ModuleList([])
        for _ in range(depth):
            self.layers.append(nn.ModuleList([
                Residual(PreNorm(dim, Attention(dim, heads=heads, dim_head=dim_head))),
                Residual(PreNorm(dim, FeedForward(dim, mlp_dim)))
            ]))

    def forward(self, x, mask=None):
        for attn, ff in self.layers:
            x = attn(x, mask=mask)
            x = ff(x)
        return x


class ViT(nn.Module):
    def __init__(self, image_size=32, patch_size=8, num_classes=10, dim=64, depth=2, heads=4, mlp_dim=128):
        super().__init__()
        self.patch_size = patch_size
        self.to_patch_embedding = nn.Conv2d(3, dim, patch_size, stride=patch_size)
        self.pos_embedding = nn.Parameter(torch.randn(1, (image_size // patch_size) ** 2 + 1, dim))
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.transformer = Transformer(dim, depth, heads, 16, mlp_dim)
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_classes))

    def forward(self, img, mask=None):
        x = self.to_patch_embedding(img).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1) + self.pos_embedding
        return self.mlp_head(self.transformer(x, mask)[:, 0])


def build():
    torch.manual_seed(0)
    return ViT()


def step(model):
    img = torch.randn(2, 3, 32, 32)
    mask = torch.ones(2, 4, 4).bool()
    mask[1, 3:] = False
    return F.cross_entropy(model(img, mask=mask), torch.tensor([3, 7]))


# real fix: give the mask a head dimension, (b, 1, n, n)
TRUTH = dict(raises='RuntimeError', at='function:masked_fill_', culprits=['function:mul', 'function:unsqueeze', 'function:masked_fill_'],
             dim=0, got=2, wanted=4, hint_any=['head', 'unsqueeze', 'broadcast', '(2, 1, 17, 17)', 'align'])
MENDED = [('mask = mask.unsqueeze(1) * mask.unsqueeze(2)', 'mask = (mask.unsqueeze(1) * mask.unsqueeze(2)).unsqueeze(1)')]
