import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/om-ai-lab/OmDet/issues/19'
CATEGORY = 'silent'
DESCRIPTION = 'Detector neck: tokens (B, H*W, C) go through nn.MultiheadAttention made without batch_first=True, images of the batch attend to each other.'


class ConvNorm(nn.Module):
    def __init__(self, cin, cout, k=1, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, k, stride, (k - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(cout)

    def forward(self, x):
        return F.silu(self.bn(self.conv(x)))


class TransformerLayer(nn.Module):
    def __init__(self, d_model, nhead, dim_feedforward=64, dropout=0.0):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(d_model, nhead, dropout=dropout)
        self.linear1 = nn.Linear(d_model, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)

    @staticmethod
    def with_pos_embed(tensor, pos_embed):
        return tensor if pos_embed is None else tensor + pos_embed

    def forward(self, src, src_mask=None, pos_embed=None):
        q = k = self.with_pos_embed(src, pos_embed)
        src2, _ = self.self_attn(q, k, value=src, attn_mask=src_mask)
        src = self.norm1(src + src2)
        return self.norm2(src + self.linear2(F.gelu(self.linear1(src))))


class HybridEncoder(nn.Module):
    def __init__(self, in_channels=(16, 32), hidden_dim=24, nhead=4):
        super().__init__()
        self.input_proj = nn.ModuleList([ConvNorm(c, hidden_dim) for c in in_channels])
        self.encoder = TransformerLayer(hidden_dim, nhead)
        self.lateral = ConvNorm(hidden_dim, hidden_dim)
        self.fuse = ConvNorm(2 * hidden_dim, hidden_dim, 3)

    @staticmethod
    def build_2d_sincos_position_embedding(w, h, embed_dim, temperature=10000.):
        grid_w, grid_h = torch.meshgrid(torch.arange(w).float(), torch.arange(h).float(), indexing='xy')
        pos_dim = embed_dim // 4
        omega = 1. / (temperature ** (torch.arange(pos_dim).float() / pos_dim))
        out_w = grid_w.flatten()[..., None] @ omega[None]
        out_h = grid_h.flatten()[..., None] @ omega[None]
        return torch.cat([out_w.sin(), out_w.cos(), out_h.sin(), out_h.cos()], dim=1)[None]

    def forward(self, feats):
        low, high = [p(f) for p, f in zip(self.input_proj, feats)]
        b, c, h, w = high.shape
        src = high.flatten(2).permute(0, 2, 1)
        pos = self.build_2d_sincos_position_embedding(w, h, c)
        memory = self.encoder(src, pos_embed=pos)
        high = memory.permute(0, 2, 1).reshape(b, c, h, w)
        up = F.interpolate(self.lateral(high), scale_factor=2., mode='nearest')
        return self.fuse(torch.cat([up, low], dim=1))


class Detector(nn.Module):
    def __init__(self, num_classes=5):
        super().__init__()
        self.stem = ConvNorm(3, 16, 3, 4)
        self.stage = ConvNorm(16, 32, 3, 2)
        self.neck = HybridEncoder()
        self.cls_head = nn.Conv2d(24, num_classes, 1)

    def forward(self, x):
        c3 = self.stem(x)
        c4 = self.stage(c3)
        return self.cls_head(self.neck([c3, c4]))


def build():
    return Detector()


def step(model):
    images = torch.rand(4, 3, 64, 64)
    heat = (torch.rand(4, 5, 16, 16) < 0.05).float()
    return F.binary_cross_entropy_with_logits(model(images), heat)


# real fix: nn.MultiheadAttention(..., batch_first=True)
TRUTH = dict(raises=None, at='module:neck.encoder.self_attn', culprits=['neck.encoder.self_attn'], dim=0, got=None, wanted=None,
             hint_any=['batch_first', 'batch first', 'transpose'])
MENDED = [('nn.MultiheadAttention(d_model, nhead, dropout=dropout)', 'nn.MultiheadAttention(d_model, nhead, dropout=dropout, batch_first=True)')]
