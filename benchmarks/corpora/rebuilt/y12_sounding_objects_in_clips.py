import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/yannqi/COMBO-AVS/issues/8'
CATEGORY = 'silent'
DESCRIPTION = 'Objects that make a sound are cut out of video frames: audio features are added to the queries of a mask decoder, which attend to the picture.'


class MLP(nn.Module):
    def __init__(self, input_dim, hidden_dim, output_dim, num_layers):
        super().__init__()
        dims = [input_dim] + [hidden_dim] * (num_layers - 1) + [output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(dims[:-1], dims[1:]))

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = layer(x) if i == len(self.layers) - 1 else F.relu(layer(x))
        return x


class AttentionLayer(nn.Module):
    """sequence first"""

    def __init__(self, d_model, nhead):
        super().__init__()
        self.attn = nn.MultiheadAttention(d_model, nhead)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, tgt, memory, query_pos=None, pos=None):
        q = tgt if query_pos is None else tgt + query_pos
        k = memory if pos is None else memory + pos
        return self.norm(tgt + self.attn(q, k, memory)[0])


class FFNLayer(nn.Module):
    def __init__(self, d_model, dim_feedforward):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(d_model, dim_feedforward), nn.Linear(dim_feedforward, d_model)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, tgt):
        return self.norm(tgt + self.linear2(F.relu(self.linear1(tgt))))


class MaskDecoder(nn.Module):
    def __init__(self, hidden_dim=32, num_queries=10, nheads=4, dec_layers=2, num_classes=1, audio_dim=20):
        super().__init__()
        self.num_queries = num_queries
        self.num_layers = dec_layers
        self.query_feat = nn.Embedding(num_queries, hidden_dim)
        self.query_embed = nn.Embedding(num_queries, hidden_dim)
        self.audio_proj = nn.Linear(audio_dim, hidden_dim)
        self.cross = nn.ModuleList(AttentionLayer(hidden_dim, nheads) for _ in range(dec_layers))
        self.self_attn = nn.ModuleList(AttentionLayer(hidden_dim, nheads) for _ in range(dec_layers))
        self.ffn = nn.ModuleList(FFNLayer(hidden_dim, 64) for _ in range(dec_layers))
        self.decoder_norm = nn.LayerNorm(hidden_dim)
        self.class_embed = nn.Linear(hidden_dim, num_classes + 1)
        self.mask_embed = MLP(hidden_dim, hidden_dim, hidden_dim, 3)

    def forward(self, x, mask_features, audio_features):
        bs = x.shape[0]
        src = x.flatten(2).permute(2, 0, 1)
        audio_features = self.audio_proj(audio_features)  # bs, 1, c
        audio_features = audio_features.repeat(1, self.num_queries, 1).reshape(self.num_queries, -1, audio_features.shape[-1])

        query_embed = self.query_embed.weight.unsqueeze(1).repeat(1, bs, 1)
        output = self.query_feat.weight.unsqueeze(1).repeat(1, bs, 1)
        output = output + audio_features

        for i in range(self.num_layers):
            output = self.cross[i](output, src, query_pos=query_embed)
            output = self.self_attn[i](output, output, query_pos=query_embed, pos=query_embed)
            output = self.ffn[i](output)

        decoder_output = self.decoder_norm(output).transpose(0, 1)
        outputs_class = self.class_embed(decoder_output)
        outputs_mask = torch.einsum('bqc,bchw->bqhw', self.mask_embed(decoder_output), mask_features)
        return outputs_class, outputs_mask


class Combo(nn.Module):
    def __init__(self, hidden_dim=32):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, hidden_dim, 3, 2, 1), nn.ReLU())
        self.deeper = nn.Conv2d(hidden_dim, hidden_dim, 3, 2, 1)
        self.mask_features = nn.Conv2d(hidden_dim, hidden_dim, 1)
        self.predictor = MaskDecoder(hidden_dim)

    def forward(self, frames, audio):
        f = self.backbone(frames)
        logits, masks = self.predictor(self.deeper(f), self.mask_features(f), audio)
        mask_cls = F.softmax(logits, dim=-1)[..., :-1]
        semseg = torch.einsum('bqc,bqhw->bchw', mask_cls, masks.sigmoid()) / mask_cls.sum(1)[..., None, None]
        return F.interpolate(semseg, scale_factor=4, mode='bilinear', align_corners=False)


def build():
    return Combo()


def step(model):
    videos, t = 2, 5
    frames = torch.rand(videos * t, 3, 32, 32)
    audio = torch.randn(videos * t, 1, 20)
    masks = (torch.rand(videos * t, 1, 32, 32) > 0.7).float()
    pred = model(frames, audio).clamp(1e-6, 1 - 1e-6)
    inter = (pred * masks).sum((1, 2, 3))
    dice = 1 - (2 * inter + 1) / (pred.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
    return F.binary_cross_entropy(pred, masks) + dice.mean()


# (bs, queries, c) is reshaped to (queries, bs, c) where the axes should be exchanged: with ten frames and ten queries query q of every
# frame hears the sound of frame q
TRUTH = dict(raises=None, at='function:reshape', culprits=['function:reshape'], dim=None, got=None, wanted=None,
             hint_any=['reshape', 'permute', 'transpose', 'mix', 'order'])
MENDED = [('.reshape(self.num_queries, -1, audio_features.shape[-1])', '.permute(1, 0, 2)')]
