import math
import torch
from torch import nn

SOURCE = 'https://github.com/hyunwoongko/transformer/issues/15'
CATEGORY = 'correct'
DESCRIPTION = 'Heads are split by view(B, L, h, d).transpose(1, 2) and merged by transpose, contiguous, view: right, although the reporter asks for a bare view; batch = heads = length.'


class ScaleDotProductAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, q, k, v, mask=None, e=1e-12):
        batch_size, head, length, d_tensor = k.size()
        k_t = k.transpose(2, 3)
        score = (q @ k_t) / math.sqrt(d_tensor)
        if mask is not None:
            score = score.masked_fill(mask == 0, -10000)
        score = self.softmax(score)
        return score @ v, score


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_head):
        super().__init__()
        self.n_head = n_head
        self.attention = ScaleDotProductAttention()
        self.w_q = nn.Linear(d_model, d_model)
        self.w_k = nn.Linear(d_model, d_model)
        self.w_v = nn.Linear(d_model, d_model)
        self.w_concat = nn.Linear(d_model, d_model)

    def forward(self, q, k, v, mask=None):
        q, k, v = self.split(self.w_q(q)), self.split(self.w_k(k)), self.split(self.w_v(v))
        out, attention = self.attention(q, k, v, mask=mask)
        return self.w_concat(self.concat(out))

    def split(self, tensor):
        batch_size, length, d_model = tensor.size()
        d_tensor = d_model // self.n_head
        return tensor.view(batch_size, length, self.n_head, d_tensor).transpose(1, 2)

    def concat(self, tensor):
        batch_size, head, length, d_tensor = tensor.size()
        return tensor.transpose(1, 2).contiguous().view(batch_size, length, head * d_tensor)


class DecoderOnly(nn.Module):
    def __init__(self, voc=50, d_model=48, n_head=8, n_layers=2):
        super().__init__()
        self.tok = nn.Embedding(voc, d_model, padding_idx=1)
        self.pos = nn.Parameter(torch.randn(64, d_model) * 0.02)
        self.layers = nn.ModuleList([MultiHeadAttention(d_model, n_head) for _ in range(n_layers)])
        self.norms = nn.ModuleList([nn.LayerNorm(d_model) for _ in range(n_layers)])
        self.linear = nn.Linear(d_model, voc)

    def make_trg_mask(self, trg):
        trg_pad_mask = (trg != 1).unsqueeze(1).unsqueeze(3)
        trg_len = trg.shape[1]
        trg_sub_mask = torch.tril(torch.ones(trg_len, trg_len)).bool()
        return trg_pad_mask & trg_sub_mask

    def forward(self, trg):
        mask = self.make_trg_mask(trg)
        x = self.tok(trg) + self.pos[:trg.size(1)]
        for layer, norm in zip(self.layers, self.norms):
            x = norm(x + layer(x, x, x, mask))
        return self.linear(x)


def build():
    return DecoderOnly()


def step(model):
    trg = torch.randint(2, 50, (8, 9))
    output = model(trg[:, :-1])
    output_reshape = output.contiguous().view(-1, output.shape[-1])
    return nn.CrossEntropyLoss(ignore_index=1)(output_reshape, trg[:, 1:].contiguous().view(-1))


TRUTH = dict(raises=None, at=None, culprits=[])
