import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/med-air/3DSAM-adapter/issues/17 ([4, 512, 1, 20, 20] against [1, 1, 1, 40, 3])'
CATEGORY = 'layer'
DESCRIPTION = 'Promptable segmentation of volumes: one set of point prompts is made for the batch, grid_sample wants one for each of the four volumes.'


class PromptEncoder(nn.Module):
    def __init__(self, dim=32, heads=4, n_global=10):
        super().__init__()
        self.global_query = nn.Parameter(torch.randn(1, n_global, dim))
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, image_embedding, point_coord):
        point_embed = F.grid_sample(image_embedding, point_coord, align_corners=False).squeeze(2).squeeze(2)
        point_embed = point_embed.transpose(1, 2)
        q = torch.cat([self.global_query.expand(point_embed.size(0), -1, -1), point_embed], dim=1)
        q = self.norm(q + self.attn(q, q, q, need_weights=False)[0])
        return self.mlp(q).mean(dim=1)


class Adapter3D(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.patch_embed = nn.Conv3d(1, dim, 4, 4)
        self.depthwise = nn.Conv3d(dim, dim, 3, padding=1, groups=dim)
        self.prompt_encoder = PromptEncoder(dim)
        self.up = nn.ConvTranspose3d(dim, 1, 4, 4)

    def forward(self, volume, points):
        feat = self.patch_embed(volume)
        feat = feat + self.depthwise(feat)
        prompt = self.prompt_encoder(feat, points)
        return self.up(feat * prompt[:, :, None, None, None].sigmoid())


def sample_prompts(mask, n=40):
    inside = mask[:, 0].any(dim=0).nonzero()
    pick = inside[torch.randint(0, len(inside), (n,))].float()
    coord = pick / (torch.tensor(mask.shape[2:]) - 1) * 2 - 1
    return coord.flip(-1)[None, None, None]


def build():
    return Adapter3D()


def step(model):
    volume = torch.randn(4, 1, 16, 16, 16)
    mask = (torch.rand(4, 1, 16, 16, 16) > 0.7).float()
    points = sample_prompts(mask)
    logits = model(volume, points)
    return F.binary_cross_entropy_with_logits(logits, mask)


# real fix (thread): point_coord.repeat(b, 1, 1, 1, 1)
TRUTH = dict(raises='RuntimeError', at='function:grid_sample', culprits=['input', 'function:getitem', 'function:grid_sample'], dim=0, got=1, wanted=4,
             hint_any=['batch', 'repeat', 'expand', '4'])
MENDED = [('F.grid_sample(image_embedding, point_coord,', 'F.grid_sample(image_embedding, point_coord.repeat(image_embedding.size(0), 1, 1, 1, 1),')]
