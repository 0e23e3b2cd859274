import torch
import torch.nn as nn

SOURCE = 'https://github.com/Pang-Yatian/Point-MAE/issues/24 (512 and 6 heads; here 64)'
CATEGORY = 'layer'
DESCRIPTION = 'Shapes as points: groups of neighbours become tokens of a transformer.'


class Config:
    trans_dim = 64
    encoder_dims = 64
    depth = 2
    num_heads = 6
    cls_dim = 40
    num_group = 16
    group_size = 8


class Mlp(nn.Module):
    def __init__(self, in_features, hidden_features):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_features, in_features)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Attention(nn.Module):
    def __init__(self, dim, num_heads=8, qkv_bias=False):
        super().__init__()
        self.num_heads = num_heads
        head_dim = dim // num_heads
        self.scale = head_dim ** -0.5
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        attn = (q @ k.transpose(-2, -1)) * self.scale
        attn = attn.softmax(dim=-1)
        x = (attn @ v).transpose(1, 2).reshape(B, N, C)
        return self.proj(x)


class Block(nn.Module):
    def __init__(self, dim, num_heads, mlp_ratio=4.):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    def __init__(self, encoder_channel):
        super().__init__()
        self.first_conv = nn.Sequential(nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU(inplace=True), nn.Conv1d(32, 64, 1))
        self.second_conv = nn.Sequential(nn.Conv1d(128, 128, 1), nn.BatchNorm1d(128), nn.ReLU(inplace=True), nn.Conv1d(128, encoder_channel, 1))

    def forward(self, point_groups):
        bs, g, n, _ = point_groups.shape
        feature = self.first_conv(point_groups.reshape(bs * g, n, 3).transpose(2, 1))
        feature_global = torch.max(feature, dim=2, keepdim=True)[0]
        feature = self.second_conv(torch.cat([feature_global.expand(-1, -1, n), feature], dim=1))
        return torch.max(feature, dim=2)[0].reshape(bs, g, -1)


class PointTransformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder_dims)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.trans_dim))
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, config.trans_dim))
        self.blocks = nn.ModuleList(Block(config.trans_dim, config.num_heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.trans_dim)
        self.cls_head_finetune = nn.Linear(config.trans_dim * 2, config.cls_dim)

    def group_divider(self, pts):
        center = pts[:, :self.config.num_group]
        idx = torch.cdist(center, pts).topk(self.config.group_size, largest=False)[1]
        neighborhood = torch.stack([p[i] for p, i in zip(pts, idx)])
        return neighborhood - center.unsqueeze(2), center

    def forward(self, pts):
        neighborhood, center = self.group_divider(pts)
        x = torch.cat((self.cls_token.expand(len(pts), -1, -1), self.encoder(neighborhood)), dim=1)
        x[:, 1:] = x[:, 1:] + self.pos_embed(center)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.cls_head_finetune(torch.cat([x[:, 0], x[:, 1:].max(1)[0]], dim=-1))


def build():
    torch.manual_seed(0)
    return PointTransformer(Config())


def step(model):
    g = torch.Generator().manual_seed(1)
    ret = model(torch.randn(4, 128, 3, generator=g))
    return nn.functional.cross_entropy(ret, torch.randint(0, 40, (4,), generator=g))


# answer in the thread: 512 / 6 is no whole number, the width has to be divisible by num_heads
TRUTH = dict(raises='RuntimeError', at='function:reshape', culprits=['blocks.0.attn', 'function:reshape', 'blocks.0', 'blocks.0.attn.qkv'], dim=2, got=192, wanted=180,
             hint_any=['divisible', 'heads', 'num_heads', 'multiple', 'divide'])
MENDED = [('num_heads = 6', 'num_heads = 8')]
