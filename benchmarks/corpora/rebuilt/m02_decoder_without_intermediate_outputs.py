import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/fundamentalvision/Deformable-DETR/issues/205 (cause read from the shapes: [100, 2] against [2, 100, 2])'
CATEGORY = 'layer'
DESCRIPTION = 'DETR taken apart: the transformer is built without return_intermediate_dec, hs is (B,Q,D) and hs[lvl] takes one image where a layer was meant.'


def _get_clones(module, n):
    return nn.ModuleList([copy.deepcopy(module) for _ in range(n)])


def inverse_sigmoid(x, eps=1e-5):
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


class MLP(nn.Module):
    def __init__(self, din, dim, dout, n):
        super().__init__()
        sizes = [din] + [dim] * (n - 1)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:] + [dout]))

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(x)) if i < len(self.layers) - 1 else layer(x)
        return x


class Decoder(nn.Module):
    def __init__(self, layer, num_layers, return_intermediate=False):
        super().__init__()
        self.layers = _get_clones(layer, num_layers)
        self.return_intermediate = return_intermediate

    def forward(self, tgt, reference_points, memory):
        intermediate, intermediate_refs = [], []
        for layer in self.layers:
            tgt = layer(tgt, memory)
            if self.return_intermediate:
                intermediate.append(tgt)
                intermediate_refs.append(reference_points)
        if self.return_intermediate:
            return torch.stack(intermediate), torch.stack(intermediate_refs)
        return tgt, reference_points


class Transformer(nn.Module):
    def __init__(self, d_model, nhead, num_encoder_layers=1, num_decoder_layers=2, dropout=0.1, return_intermediate_dec=False):
        super().__init__()
        enc = nn.TransformerEncoderLayer(d_model, nhead, 64, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(enc, num_encoder_layers)
        self.decoder = Decoder(nn.TransformerDecoderLayer(d_model, nhead, 64, dropout, batch_first=True), num_decoder_layers, return_intermediate_dec)
        self.level_embed = nn.Parameter(torch.randn(2, d_model) * 0.02)
        self.reference_points = nn.Linear(d_model, 2)

    def forward(self, srcs, query_embed):
        tokens = torch.cat([s.flatten(2).transpose(1, 2) + self.level_embed[i] for i, s in enumerate(srcs)], 1)
        memory = self.encoder(tokens)
        query, tgt = query_embed.unsqueeze(0).expand(len(tokens), -1, -1).chunk(2, -1)
        reference = self.reference_points(query).sigmoid()
        hs, inter_references = self.decoder(tgt, reference, memory)
        return hs, reference, inter_references


def build_deforamble_transformer(hidden_dim=32, nheads=4, dec_layers=2):
    return Transformer(hidden_dim, nheads, num_decoder_layers=dec_layers, dropout=0.1)


class DeformableDETR(nn.Module):
    def __init__(self, channels=(16, 32), hidden=32, num_classes=5, num_queries=100, dec_layers=2):
        super().__init__()
        self.transformer = build_deforamble_transformer(hidden, 4, dec_layers)
        self.input_proj = nn.ModuleList(nn.Sequential(nn.Conv2d(c, hidden, 1), nn.GroupNorm(8, hidden)) for c in channels)
        self.query_embed = nn.Embedding(num_queries, hidden * 2)
        self.class_embed = _get_clones(nn.Linear(hidden, num_classes), dec_layers)
        self.bbox_embed = _get_clones(MLP(hidden, hidden, 4, 3), dec_layers)

    def forward(self, x, features):
        srcs = [proj(f) for proj, f in zip(self.input_proj, features)]
        hs, init_reference, inter_references = self.transformer(srcs, self.query_embed.weight)
        outputs_classes, outputs_coords = [], []
        for lvl in range(hs.shape[0]):
            reference = inverse_sigmoid(init_reference if lvl == 0 else inter_references[lvl - 1])
            outputs_class = self.class_embed[lvl](hs[lvl])
            tmp = self.bbox_embed[lvl](hs[lvl])
            tmp[..., :2] += reference
            outputs_classes.append(outputs_class)
            outputs_coords.append(tmp.sigmoid())
        return torch.stack(outputs_classes), torch.stack(outputs_coords)


def build():
    return DeformableDETR()


def step(model):
    x = torch.ones(2, 3, 69, 69)
    features = [torch.randn(2, 16, 9, 9), torch.randn(2, 32, 5, 5)]
    logits, boxes = model(x, features)
    labels, target = torch.randint(0, 5, (2, 100)), torch.rand(2, 100, 4)
    loss = sum(F.cross_entropy(l.flatten(0, 1), labels.flatten()) for l in logits)
    return loss + 5 * sum(F.l1_loss(b, target) for b in boxes)


# real fix: return_intermediate_dec=True where the transformer is built, hs is then (layers, B, Q, D)
# offending tensor: hs (2, 100, 32), its first dimension is the batch
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['transformer', 'transformer.decoder', 'function:getitem', ''], dim=None, got=None, wanted=None,
             hint_any=['hs', 'getitem', 'layer', 'decoder', 'intermediate', 'index'])
MENDED = [('num_decoder_layers=dec_layers, dropout=0.1)', 'num_decoder_layers=dec_layers, dropout=0.1, return_intermediate_dec=True)')]
