import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/michaeltrs/DeepSatModels/issues/22'
CATEGORY = 'silent'
DESCRIPTION = 'TSViT lays (B, patches, pixels, K) out as (B, H, W, K) with a plain reshape: each patch becomes a strip of one row instead of a square.'


class PreNorm(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x):
        return self.fn(self.norm(x))


class Attention(nn.Module):
    def __init__(self, dim, heads, dim_head):
        super().__init__()
        self.heads, self.scale = heads, dim_head ** -0.5
        self.to_qkv = nn.Linear(dim, heads * dim_head * 3, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.to_qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out = (q @ k.transpose(-1, -2) * self.scale).softmax(dim=-1) @ v
        return self.to_out(out.transpose(1, 2).reshape(b, n, -1))


class Transformer(nn.Module):
    def __init__(self, dim, depth, heads, dim_head, mlp_dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList([])
        for _ in range(depth):
            mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, dim))
            self.layers.append(nn.ModuleList([PreNorm(dim, Attention(dim, heads, dim_head)), PreNorm(dim, mlp)]))

    def forward(self, x):
        for attn, ff in self.layers:
            x = attn(x) + x
            x = ff(x) + x
        return self.norm(x)


class TSViT(nn.Module):
    def __init__(self, model_config):
        super().__init__()
        self.image_size, self.patch_size = model_config['img_res'], model_config['patch_size']
        self.num_patches_1d = self.image_size // self.patch_size
        self.num_classes, self.dim = model_config['num_classes'], model_config['dim']
        args = self.dim, model_config['depth'], model_config['heads'], model_config['dim_head'], self.dim * 2
        self.embed = nn.Linear(model_config['num_channels'] * self.patch_size ** 2, self.dim)
        self.temporal_pos = nn.Parameter(torch.randn(1, model_config['max_seq_len'], self.dim))
        self.temporal_token = nn.Parameter(torch.randn(1, self.num_classes, self.dim))
        self.temporal_transformer = Transformer(*args)
        self.space_pos_embedding = nn.Parameter(torch.randn(1, self.num_patches_1d ** 2, self.dim))
        self.space_transformer = Transformer(*args)
        self.mlp_head = nn.Sequential(nn.LayerNorm(self.dim), nn.Linear(self.dim, self.patch_size ** 2))

    def to_patch_embedding(self, x):
        B, T, C, _, _ = x.shape
        g, p = self.num_patches_1d, self.patch_size
        x = x.reshape(B, T, C, g, p, g, p).permute(0, 3, 5, 1, 4, 6, 2)
        return self.embed(x.reshape(B * g * g, T, p * p * C))

    def forward(self, x):
        x = x.permute(0, 1, 4, 2, 3)
        B, T, C, H, W = x.shape
        x = self.to_patch_embedding(x) + self.temporal_pos
        cls_temporal_tokens = self.temporal_token.expand(x.shape[0], -1, -1)
        x = self.temporal_transformer(torch.cat((cls_temporal_tokens, x), dim=1))
        x = x[:, :self.num_classes]
        x = x.reshape(B, self.num_patches_1d ** 2, self.num_classes, self.dim).permute(0, 2, 1, 3)
        x = x.reshape(B * self.num_classes, self.num_patches_1d ** 2, self.dim) + self.space_pos_embedding
        x = self.space_transformer(x)
        x = self.mlp_head(x.reshape(-1, self.dim))
        x = x.reshape(B, self.num_classes, self.num_patches_1d ** 2, self.patch_size ** 2).permute(0, 2, 3, 1)
        x = x.reshape(B, H, W, self.num_classes)
        x = x.permute(0, 3, 1, 2)
        return x


def build():
    return TSViT(dict(img_res=16, patch_size=4, num_channels=5, num_classes=6, max_seq_len=8, dim=32, depth=1, heads=2, dim_head=16))


def step(model):
    x = torch.randn(2, 8, 16, 16, 5)
    labels = torch.randint(0, 6, (2, 16, 16))
    return F.cross_entropy(model(x), labels)


# real fix: rearrange(x, 'b (h w) (p1 p2) c -> b (h p1) (w p2) c')
TRUTH = dict(raises=None, at='function:reshape', culprits=['function:reshape'], dim=None, got=None, wanted=None,
             hint_any=['permute', 'patch', 'row', 'order', 'scrambl', 'mix', 'rearrange'])
MENDED = [('x = x.reshape(B, H, W, self.num_classes)',
           'x = x.reshape(B, 4, 4, 4, 4, self.num_classes).permute(0, 1, 3, 2, 4, 5).reshape(B, H, W, self.num_classes)')]
