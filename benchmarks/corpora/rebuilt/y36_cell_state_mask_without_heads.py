import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ArcInstitute/state/pull/213'
CATEGORY = 'layer'
DESCRIPTION = 'Cell perturbation transformer: the attention mask is (B, S, S) while the scores are (B, heads, S, S); the head dimension is missing.'


class Attention(nn.Module):
    def __init__(self, hidden_size, num_attention_heads):
        super().__init__()
        self.heads = num_attention_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x, attention_mask=None):
        b, s, d = x.shape
        q, k, v = (t.view(b, s, self.heads, -1).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask)
        return self.o_proj(out.transpose(1, 2).reshape(b, s, d))


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(cfg['hidden_size']), nn.LayerNorm(cfg['hidden_size'])
        self.attn = Attention(cfg['hidden_size'], cfg['num_attention_heads'])
        self.mlp = nn.Sequential(nn.Linear(cfg['hidden_size'], cfg['intermediate_size']), nn.GELU(),
                                 nn.Linear(cfg['intermediate_size'], cfg['hidden_size']))

    def forward(self, x, attention_mask=None):
        x = x + self.attn(self.ln_1(x), attention_mask)
        return x + self.mlp(self.ln_2(x))


class StateTransitionPerturbationModel(nn.Module):
    def __init__(self, input_dim=40, pert_dim=10, cell_set_len=12, hidden_dim=32, mask_attn=True, **cfg):
        super().__init__()
        self.cell_sentence_len, self.mask_attn = cell_set_len, mask_attn
        self.basal_encoder = nn.Sequential(nn.Linear(input_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, hidden_dim))
        self.pert_encoder = nn.Linear(pert_dim, hidden_dim)
        self.batch_token = nn.Parameter(torch.randn(1, 1, hidden_dim))
        self.transformer_backbone = nn.ModuleList([Block(dict(hidden_size=hidden_dim, **cfg)) for _ in range(2)])
        self.project_out = nn.Linear(hidden_dim, input_dim)

    def forward(self, batch):
        pert = batch['pert_emb'].reshape(-1, self.cell_sentence_len, batch['pert_emb'].shape[-1])
        basal = batch['ctrl_cell_emb'].reshape(-1, self.cell_sentence_len, batch['ctrl_cell_emb'].shape[-1])
        seq_input = self.pert_encoder(pert) + self.basal_encoder(basal)
        seq_input = torch.cat([self.batch_token.expand(seq_input.size(0), -1, -1), seq_input], dim=1)
        attn_mask = None
        if self.mask_attn:
            batch_size, seq_length, _ = seq_input.shape
            base = torch.eye(seq_length, dtype=torch.bool)
            attn_mask = base.repeat(batch_size, 1, 1)
        hidden = seq_input
        for block in self.transformer_backbone:
            hidden = block(hidden, attn_mask)
        return self.project_out(hidden[:, 1:] + seq_input[:, 1:])


def energy_distance(x, y):
    xy = torch.cdist(x, y).mean()
    return 2 * xy - torch.cdist(x, x).mean() - torch.cdist(y, y).mean()


def build():
    return StateTransitionPerturbationModel(num_attention_heads=8, intermediate_size=64)


def step(model):
    batch = dict(pert_emb=torch.randn(36, 10), ctrl_cell_emb=torch.randn(36, 40), pert_cell_emb=torch.randn(36, 40))
    pred = model(batch)
    return energy_distance(pred, batch['pert_cell_emb'].reshape(-1, 12, 40))


# real fix: the mask needs a head dimension, (B, heads, S, S)
TRUTH = dict(raises='RuntimeError', at='function:scaled_dot_product_attention', culprits=['function:repeat', 'function:scaled_dot_product_attention'],
             dim=0, got=3, wanted=8, hint_any=['head', 'unsqueeze', 'dimension', '(3, 1,'])
MENDED = [('base.repeat(batch_size, 1, 1)', 'base.repeat(batch_size, 8, 1, 1)')]
