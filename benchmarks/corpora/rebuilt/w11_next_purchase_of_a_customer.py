import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kang205/SASRec/issues/10 (written for torch)'
CATEGORY = 'correct'
DESCRIPTION = 'Self-attentive recommendation: histories of unequal length, positive and negative next items, a hit rate from the last place.'


class PointWiseFeedForward(nn.Module):
    def __init__(self, hidden_units):
        super().__init__()
        self.conv1 = nn.Conv1d(hidden_units, hidden_units, kernel_size=1)
        self.conv2 = nn.Conv1d(hidden_units, hidden_units, kernel_size=1)

    def forward(self, inputs):
        return self.conv2(F.relu(self.conv1(inputs.transpose(-1, -2)))).transpose(-1, -2) + inputs


class SASRec(nn.Module):
    def __init__(self, item_num, hidden_units=32, maxlen=12, num_blocks=2, num_heads=2):
        super().__init__()
        self.maxlen = maxlen
        self.num_heads = num_heads
        self.item_emb = nn.Embedding(item_num + 1, hidden_units, padding_idx=0)
        self.pos_emb = nn.Embedding(maxlen, hidden_units)
        self.attention_layernorms = nn.ModuleList([nn.LayerNorm(hidden_units) for _ in range(num_blocks)])
        self.attention_layers = nn.ModuleList([nn.MultiheadAttention(hidden_units, num_heads) for _ in range(num_blocks)])
        self.forward_layernorms = nn.ModuleList([nn.LayerNorm(hidden_units) for _ in range(num_blocks)])
        self.forward_layers = nn.ModuleList([PointWiseFeedForward(hidden_units) for _ in range(num_blocks)])
        self.last_layernorm = nn.LayerNorm(hidden_units)

    def log2feats(self, log_seqs):
        seqs = self.item_emb(log_seqs) * self.item_emb.embedding_dim ** 0.5
        seqs = seqs + self.pos_emb.weight
        timeline_mask = log_seqs == 0
        seqs = seqs * ~timeline_mask.unsqueeze(-1)
        tl = seqs.shape[1]
        causal = ~torch.tril(torch.ones((tl, tl), dtype=torch.bool))
        attention_mask = (causal | timeline_mask[:, None, :]) & ~torch.eye(tl, dtype=torch.bool)
        attention_mask = attention_mask.repeat_interleave(self.num_heads, dim=0)
        for norm1, attention, norm2, forward in zip(self.attention_layernorms, self.attention_layers,
                                                    self.forward_layernorms, self.forward_layers):
            seqs = seqs.transpose(0, 1)
            Q = norm1(seqs)
            mha_outputs, _ = attention(Q, seqs, seqs, attn_mask=attention_mask)
            seqs = (Q + mha_outputs).transpose(0, 1)
            seqs = forward(norm2(seqs))
            seqs = seqs * ~timeline_mask.unsqueeze(-1)
        return self.last_layernorm(seqs)

    def forward(self, log_seqs, pos_seqs, neg_seqs):
        log_feats = self.log2feats(log_seqs)
        pos_logits = (log_feats * self.item_emb(pos_seqs)).sum(dim=-1)
        neg_logits = (log_feats * self.item_emb(neg_seqs)).sum(dim=-1)
        return pos_logits, neg_logits

    def predict(self, log_seqs, item_indices):
        final_feat = self.log2feats(log_seqs)[:, -1, :]
        return self.item_emb(item_indices).matmul(final_feat.unsqueeze(-1)).squeeze(-1)


def sample(history, maxlen, itemnum):
    seq, pos, neg = (torch.zeros(maxlen, dtype=torch.long) for _ in range(3))
    nxt, idx, seen = history[-1], maxlen - 1, set(history)
    for i in reversed(history[:-1]):
        seq[idx], pos[idx] = i, nxt
        while neg[idx] == 0 or neg[idx].item() in seen:
            neg[idx] = torch.randint(1, itemnum + 1, ())
        nxt = i
        idx -= 1
        if idx == -1:
            break
    return seq, pos, neg


def evaluate(model, histories, itemnum):
    model.eval()
    with torch.no_grad():
        seq = torch.stack([sample(h, model.maxlen, itemnum)[0] for h in histories])
        items = torch.cat([torch.tensor([[h[-1]] for h in histories]), torch.randint(1, itemnum + 1, (len(histories), 19))], dim=1)
        scores = model.predict(seq, items)
        hit = (scores.argsort(dim=1, descending=True)[:, :5] == 0).any(1).float().mean()
    model.train()
    return hit


def build():
    model = SASRec(item_num=60)
    for name, param in model.named_parameters():
        if param.dim() > 1:
            nn.init.xavier_normal_(param.data)
    model.item_emb.weight.data[0] = 0
    return model


def step(model):
    itemnum = 60
    histories = [torch.randint(1, itemnum + 1, (n,)).tolist() for n in (5, 14, 9, 3, 11, 7, 20, 4)]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    bce_criterion = nn.BCEWithLogitsLoss()
    model.train()
    for epoch in range(3):
        seq, pos, neg = (torch.stack(t) for t in zip(*[sample(h[:-1], model.maxlen, itemnum) for h in histories]))
        pos_logits, neg_logits = model(seq, pos, neg)
        optimizer.zero_grad()
        indices = torch.where(pos != 0)
        loss = bce_criterion(pos_logits[indices], torch.ones_like(pos_logits[indices]))
        loss = loss + bce_criterion(neg_logits[indices], torch.zeros_like(neg_logits[indices]))
        loss.backward()
        optimizer.step()
        evaluate(model, histories, itemnum)
    return loss.detach()


# the asker holds that [:, -1] is wrong for short histories; they are aligned to the right, so the last place is always one of the items
TRUTH = dict(raises=None, culprits=[])
MENDED = []
