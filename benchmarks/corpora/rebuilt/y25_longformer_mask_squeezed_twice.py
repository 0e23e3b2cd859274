import math
import torch
import torch.nn as nn

SOURCE = 'https://github.com/allenai/longformer/issues/12'
CATEGORY = 'correct'
DESCRIPTION = 'The extended attention mask (B, 1, 1, S) is squeezed back to (B, S) in the self-attention layer; the reporter took the squeeze for a slip for unsqueeze.'


class LongformerSelfAttention(nn.Module):
    def __init__(self, hidden, num_heads, attention_window):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, hidden // num_heads
        self.query, self.key, self.value = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.attention_window = attention_window

    def forward(self, hidden_states, attention_mask):
        attention_mask = attention_mask.squeeze(dim=2).squeeze(dim=1)
        remove_from_windowed = attention_mask != 0
        hidden_states = hidden_states.transpose(0, 1)
        seq_len, bsz, embed_dim = hidden_states.size()
        q, k, v = self.query(hidden_states), self.key(hidden_states), self.value(hidden_states)
        q = q / math.sqrt(self.head_dim)
        q = q.view(seq_len, bsz, self.num_heads, self.head_dim).transpose(0, 1)
        k = k.view(seq_len, bsz, self.num_heads, self.head_dim).transpose(0, 1)
        v = v.view(seq_len, bsz, self.num_heads, self.head_dim).transpose(0, 1)
        attn_weights = torch.einsum('bqhd,bkhd->bqhk', q, k)
        near = (torch.arange(seq_len)[:, None] - torch.arange(seq_len)[None]).abs() <= self.attention_window
        attn_weights = attn_weights.masked_fill(~near[None, :, None, :], -10000.0)
        attn_weights = attn_weights.masked_fill(remove_from_windowed[:, None, None, :], -10000.0)
        attn = torch.softmax(attn_weights, dim=-1)
        attn = attn.masked_fill(remove_from_windowed.unsqueeze(-1).unsqueeze(-1), 0.0)
        out = torch.einsum('bqhk,bkhd->bqhd', attn, v)
        out = out.transpose(0, 1).reshape(seq_len, bsz, embed_dim)
        return out.transpose(0, 1)


class Layer(nn.Module):
    def __init__(self, hidden, num_heads, window):
        super().__init__()
        self.attention = LongformerSelfAttention(hidden, num_heads, window)
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.ffn = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden))

    def forward(self, x, mask):
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.ffn(x))


class Longformer(nn.Module):
    def __init__(self, vocab=80, hidden=32, num_heads=4, windows=(3, 5), num_labels=2):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, hidden, padding_idx=0)
        self.layers = nn.ModuleList([Layer(hidden, num_heads, w) for w in windows])
        self.qa_outputs = nn.Linear(hidden, num_labels)

    def forward(self, input_ids, attention_mask):
        extended = (1.0 - attention_mask[:, None, None, :].float()) * -10000.0
        x = self.embeddings(input_ids)
        for layer in self.layers:
            x = layer(x, extended)
        start_logits, end_logits = self.qa_outputs(x).split(1, dim=-1)
        return start_logits.squeeze(-1), end_logits.squeeze(-1)


def build():
    return Longformer()


def step(model):
    ids = torch.randint(1, 80, (4, 20))
    ids[2:, 15:] = 0
    start, end = model(ids, (ids != 0).long())
    s, e = torch.randint(0, 7, (4,)), torch.randint(7, 15, (4,))
    return (nn.functional.cross_entropy(start, s) + nn.functional.cross_entropy(end, e)) / 2


TRUTH = dict(raises=None, at=None, culprits=[])
