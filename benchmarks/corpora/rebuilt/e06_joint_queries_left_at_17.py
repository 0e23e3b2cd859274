from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/aim-uofa/Poseur/issues/12'
CATEGORY = 'loss'
DESCRIPTION = 'Pose transformer trained on 29 keypoints: the head gets num_joints from the data set, the transformer inside keeps its own default of 17 joint queries.'


@dataclass
class DataCfg:
    num_joints: int = 29
    image_size: tuple = (64, 48)


class Backbone(nn.Module):
    def __init__(self, ch=32):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
                                  nn.Conv2d(16, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU())
        self.layer = nn.Sequential(nn.Conv2d(24, ch, 3, 2, 1), nn.BatchNorm2d(ch), nn.ReLU())

    def forward(self, x):
        return self.layer(self.stem(x))


class PoseurTransformer(nn.Module):
    def __init__(self, embed_dims=32, num_heads=4, enc_layers=1, dec_layers=2, num_joints=17):
        super().__init__()
        enc = nn.TransformerEncoderLayer(embed_dims, num_heads, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(enc, enc_layers)
        self.query_embed = nn.Embedding(num_joints, embed_dims)
        self.reference = nn.Linear(embed_dims, 2)
        self.layers = nn.ModuleList([nn.TransformerDecoderLayer(embed_dims, num_heads, 64, dropout=0.0, batch_first=True)
                                     for _ in range(dec_layers)])

    def forward(self, tokens):
        memory = self.encoder(tokens)
        hs = self.query_embed.weight.unsqueeze(0).expand(tokens.size(0), -1, -1)
        ref = self.reference(hs + memory.mean(1, keepdim=True)).sigmoid()
        inter = []
        for layer in self.layers:
            hs = layer(hs, memory)
            inter.append(hs)
        return torch.stack(inter), ref


class PoseurHead(nn.Module):
    def __init__(self, in_channels, num_joints, embed_dims=32, transformer=None):
        super().__init__()
        self.num_joints = num_joints
        self.input_proj = nn.Sequential(nn.Conv2d(in_channels, embed_dims, 1), nn.GroupNorm(8, embed_dims))
        self.transformer = PoseurTransformer(embed_dims=embed_dims, **(transformer or {}))
        self.fc_coord = nn.ModuleList([nn.Linear(embed_dims, 2) for _ in self.transformer.layers])
        self.fc_sigma = nn.ModuleList([nn.Linear(embed_dims, 2) for _ in self.transformer.layers])

    def forward(self, x):
        tokens = self.input_proj(x).flatten(2).transpose(1, 2)
        hs, ref = self.transformer(tokens)
        coords, sigmas = [], []
        for level, (coord, sigma) in enumerate(zip(self.fc_coord, self.fc_sigma)):
            coords.append(ref + 0.1 * coord(hs[level]))
            sigmas.append(F.softplus(sigma(hs[level])) + 1e-3)
        return dict(enc_outputs=ref, dec_outputs=coords, dec_sigmas=sigmas)

    def get_loss(self, out, target, weight):
        losses = {}
        enc = F.l1_loss(out['enc_outputs'], target, reduction='none')
        losses['enc_loss'] = (enc * weight).mean()
        for i, (c, s) in enumerate(zip(out['dec_outputs'], out['dec_sigmas'])):
            rle = torch.log(s) + (c - target).abs() / s
            losses[f'dec_rle_loss_{i}'] = (rle * weight).mean()
        return losses


class Poseur(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.backbone = Backbone()
        self.keypoint_head = PoseurHead(32, num_joints=cfg.num_joints, transformer=dict(enc_layers=1, dec_layers=2))

    def forward(self, img, target, target_weight):
        return self.keypoint_head.get_loss(self.keypoint_head(self.backbone(img)), target, target_weight)


def build():
    return Poseur(DataCfg())


def step(model):
    cfg = DataCfg()
    img = torch.randn(4, 3, *cfg.image_size)
    target = torch.rand(4, cfg.num_joints, 2)
    weight = (torch.rand(4, cfg.num_joints, 1) > 0.1).float()
    return sum(model(img, target, weight).values())


# real fix: hand num_joints on to the transformer
# offending tensor: enc_outputs (4, 17, 2), 29 joints wanted
TRUTH = dict(raises='RuntimeError', at='loss:l1_loss', culprits=['keypoint_head.transformer.query_embed', 'keypoint_head.transformer'],
             dim=1, got=17, wanted=29, hint_any=['query_embed', 'num_embeddings', 'num_joints', 'joint'])
MENDED = [('transformer=dict(enc_layers=1, dec_layers=2)', 'transformer=dict(enc_layers=1, dec_layers=2, num_joints=cfg.num_joints)')]
