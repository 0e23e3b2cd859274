import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/gabeur/mmt/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'Multi-modal video retrieval: ReduceDim calls F.normalize with its default dim=1, right for (batch, dim) but applied to (batch, tokens, dim) expert features.'


class ReduceDim(nn.Module):
    def __init__(self, input_dimension, output_dimension):
        super().__init__()
        self.fc = nn.Linear(input_dimension, output_dimension)

    def forward(self, x):
        x = self.fc(x)
        x = F.normalize(x)
        return x


class CENet(nn.Module):
    def __init__(self, expert_dims, txt_dim=40, same_dim=32):
        super().__init__()
        self.modalities = list(expert_dims)
        self.video_dim_reduce = nn.ModuleDict({m: ReduceDim(d, same_dim) for m, d in expert_dims.items()})
        self.modality_emb = nn.ParameterDict({m: nn.Parameter(torch.randn(same_dim) * 0.1) for m in expert_dims})
        layer = nn.TransformerEncoderLayer(same_dim, 4, 64, dropout=0.0, batch_first=True)
        self.vid_bert = nn.TransformerEncoder(layer, 2)
        self.text_gru = nn.GRU(txt_dim, same_dim, batch_first=True)
        self.text_emb = nn.ModuleDict({m: nn.Linear(same_dim, same_dim) for m in expert_dims})
        self.moe = nn.Linear(same_dim, len(self.modalities))

    def forward(self, text, experts):
        tokens, first, at = [], [], 0
        for mod in self.modalities:
            feats = self.video_dim_reduce[mod](experts[mod])
            feats = torch.cat([feats.max(dim=1, keepdim=True)[0], feats], dim=1) + self.modality_emb[mod]
            tokens.append(feats)
            first.append(at)
            at += feats.size(1)
        out = self.vid_bert(torch.cat(tokens, dim=1))
        _, h = self.text_gru(text)
        weights = F.softmax(self.moe(h[0]), dim=1)
        sims = 0
        for k, mod in enumerate(self.modalities):
            vid = F.normalize(out[:, first[k]], dim=-1)
            txt = F.normalize(self.text_emb[mod](h[0]), dim=-1)
            sims = sims + weights[:, k:k + 1] * txt @ vid.t()
        return sims


def max_margin_ranking_loss(sims, margin=0.05):
    diag = sims.diag()
    cost = F.relu(margin + sims - diag.unsqueeze(1)) + F.relu(margin + sims - diag.unsqueeze(0))
    off = ~torch.eye(len(sims), dtype=torch.bool)
    return cost[off].mean()


def build():
    return CENet({'rgb': 48, 'audio': 20, 'ocr': 30})


def step(model):
    experts = {'rgb': torch.randn(8, 6, 48), 'audio': torch.randn(8, 8, 20), 'ocr': torch.randn(8, 5, 30)}
    return max_margin_ranking_loss(model(torch.randn(8, 12, 40), experts))


# real fix: F.normalize(x, dim=-1)
TRUTH = dict(raises=None, at='function:normalize', culprits=['function:normalize'], dim=1, got=None, wanted=None,
             hint_any=['dim=-1', 'dim=2', 'dim=1', 'default'])
MENDED = [('F.normalize(x)', 'F.normalize(x, dim=-1)')]
