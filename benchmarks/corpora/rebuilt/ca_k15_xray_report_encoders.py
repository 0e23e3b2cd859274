import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Project-MONAI/MONAI/issues/3880'
CATEGORY = 'silent'
DESCRIPTION = 'Chest X-ray with its report: separate encoders for the two modalities, then mixed layers, multi-label findings.'


class Layer(nn.Module):
    def __init__(self, dim=32, heads=4):
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ff = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, dim))

    def forward(self, x, other=None):
        kv = x if other is None else other
        x = self.n1(x + self.attn(x, kv, kv, need_weights=False)[0])
        return self.n2(x + self.ff(x))


class Mixed(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.lang_x, self.vis_x = Layer(dim), Layer(dim)

    def forward(self, lang, vis):
        return self.lang_x(lang, vis), self.vis_x(vis, lang)


class MultiModal(nn.Module):
    def __init__(self, vocab=120, dim=32, n_lang=3, n_vis=2, n_mix=2):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, dim)
        self.lang_pos = nn.Parameter(torch.randn(1, 18, dim) * 0.02)
        self.language_encoder = nn.ModuleList(Layer(dim) for _ in range(n_lang))
        self.vision_encoder = nn.ModuleList(Layer(dim) for _ in range(n_vis))
        self.mixed_encoder = nn.ModuleList(Mixed(dim) for _ in range(n_mix))

    def forward(self, ids, vision_feats):
        language_features = self.embeddings(ids) + self.lang_pos
        for layer in self.vision_encoder:
            hidden_vision = layer(vision_feats)
        for layer in self.language_encoder:
            hidden_language = layer(language_features)
        for layer in self.mixed_encoder:
            hidden_language, hidden_vision = layer(hidden_language, hidden_vision)
        return hidden_language, hidden_vision


class Transchex(nn.Module):
    def __init__(self, dim=32, findings=14):
        super().__init__()
        self.patch = nn.Conv2d(1, dim, 8, stride=8)
        self.multimodal = MultiModal(dim=dim)
        self.pool = nn.Linear(2 * dim, dim)
        self.cls = nn.Linear(dim, findings)

    def forward(self, ids, img):
        lang, vis = self.multimodal(ids, self.patch(img).flatten(2).transpose(1, 2))
        return self.cls(torch.tanh(self.pool(torch.cat([lang[:, 0], vis.mean(1)], -1))))


def build():
    return Transchex()


def step(model):
    ids, img = torch.randint(0, 120, (6, 18)), torch.rand(6, 1, 32, 32)
    return F.binary_cross_entropy_with_logits(model(ids, img), torch.randint(0, 2, (6, 14)).float())


# the loops give every layer the initial features; all but the last layer's work is lost
_V, _L = 'multimodal.vision_encoder', 'multimodal.language_encoder'
TRUTH = dict(raises=None, at='module:' + _V + '.0', culprits=[_V + '.0', _L + '.0', _L + '.1', _V, _L, 'multimodal', _V + '.0.n2', _L + '.0.n2', _L + '.1.n2'], dim=None, got=None, wanted=None,
             hint_any=['unused', 'last', 'nothing uses', 'never', 'same input', 'thrown', 'overwrit'])
MENDED = [('        for layer in self.vision_encoder:\n            hidden_vision = layer(vision_feats)',
           '        hidden_vision, hidden_language = vision_feats, language_features\n        for layer in self.vision_encoder:\n            hidden_vision = layer(hidden_vision)'),
          ('hidden_language = layer(language_features)', 'hidden_language = layer(hidden_language)')]
