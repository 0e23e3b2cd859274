import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/vvvb-github/AVSegFormer/issues/9'
CATEGORY = 'layer'
DESCRIPTION = 'Audio-visual segmentation: x.squeeze() of (batch, 1, c) also drops a batch of one clip: einsum bc of a 1-d tensor.'


class CrossModalMixer(nn.Module):
    def __init__(self, dim=256, n_heads=8, qkv_bias=False, dropout=0.):
        super().__init__()
        self.dim = dim
        self.n_heads = n_heads
        self.scale = (dim // n_heads)**-0.5
        self.q_proj = nn.Linear(dim, dim, bias=qkv_bias)
        self.kv_proj = nn.Linear(dim, dim * 2, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, feature_map, audio_feature):
        flatten_map = feature_map.flatten(2).transpose(1, 2)
        B, N, C = flatten_map.shape
        q = self.q_proj(audio_feature).reshape(B, 1, self.n_heads, C // self.n_heads).permute(0, 2, 1, 3)
        kv = self.kv_proj(flatten_map).reshape(B, N, 2, self.n_heads, C // self.n_heads).permute(2, 0, 3, 1, 4)
        k, v = kv.unbind(0)
        attn = (q @ k.transpose(-2, -1)) * self.scale
        attn = attn.softmax(dim=-1)
        x = (attn @ v).transpose(1, 2).reshape(B, 1, C)
        x = self.proj_drop(self.proj(x))
        x = x.sigmoid()
        fusion_map = torch.einsum('bchw,bc->bchw', feature_map, x.squeeze())
        return fusion_map


class AVSegHead(nn.Module):
    def __init__(self, dim=32, query_num=6):
        super().__init__()
        self.fusion_block = CrossModalMixer(dim, 4)
        self.query = nn.Embedding(query_num, dim)
        self.decoder = nn.TransformerDecoderLayer(dim, 4, 64, dropout=0., batch_first=True)
        self.fc = nn.Conv2d(query_num, 1, 1)

    def forward(self, feats, audio_feat):
        mask_feature = self.fusion_block(feats, audio_feat)
        memory = mask_feature.flatten(2).transpose(1, 2)
        q = self.query.weight.unsqueeze(0) + audio_feat
        q = self.decoder(q, memory)
        pred_mask = torch.einsum('bqc,bchw->bqhw', q, mask_feature)
        return self.fc(pred_mask)


class AVSegFormer(nn.Module):
    def __init__(self, dim=32, audio_dim=128):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, dim, 3, 2, 1), nn.ReLU())
        self.audio_proj = nn.Linear(audio_dim, dim)
        self.head = AVSegHead(dim)

    def forward(self, audio, frames):
        img_feat = self.backbone(frames)
        audio_feat = self.audio_proj(audio).unsqueeze(1)
        pred = self.head(img_feat, audio_feat)
        return F.interpolate(pred, scale_factor=4, mode='bilinear', align_corners=False)


class V2Dataset(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        return torch.rand(3, 32, 32, generator=g), torch.rand(128, generator=g), (torch.rand(1, 32, 32, generator=g) > 0.5).float()


def build():
    torch.manual_seed(0)
    return AVSegFormer()


def step(model):
    train_dataloader = DataLoader(V2Dataset(), batch_size=2, shuffle=False)
    losses = []
    for n_iter, (imgs, audio, mask) in enumerate(train_dataloader):
        output = model(audio, imgs)
        losses.append(F.binary_cross_entropy_with_logits(output, mask))
    return sum(losses) / len(losses)


# real fix: x.squeeze(1)
# offending tensor: x.squeeze() (32,) of (1, 1, 32)
TRUTH = dict(raises='RuntimeError', at='function:einsum', culprits=['function:squeeze'], dim=None, got=1, wanted=2,
             hint_any=['squeeze(1)', 'squeeze', 'batch'])
MENDED = [('x.squeeze())', 'x.squeeze(1))')]
