import math
import torch
import torch.nn as nn

SOURCE = 'https://github.com/harvard-edge/cs249r_book/pull/1875'
CATEGORY = 'layer'
DESCRIPTION = 'Hand-written multi-head attention reshapes a 3-D mask to (B,1,Lq,Lq): right for self-attention, impossible for cross attention with another source length.'


class MultiHeadAttention(nn.Module):
    def __init__(self, embed_dim, num_heads):
        super().__init__()
        assert embed_dim % num_heads == 0
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def split(self, x):
        batch_size, seq_len, _ = x.shape
        return x.reshape(batch_size, seq_len, self.num_heads, self.head_dim).transpose(1, 2)

    def forward(self, x, context=None, mask=None):
        context = x if context is None else context
        Q, K, V = self.split(self.q_proj(x)), self.split(self.k_proj(context)), self.split(self.v_proj(context))
        mask_reshaped = mask
        if mask is not None and len(mask.shape) == 3:
            batch_size_mask, seq_len_mask, _ = mask.shape
            mask_reshaped = mask.reshape(batch_size_mask, 1, seq_len_mask, seq_len_mask)
        scores = torch.matmul(Q, K.transpose(-2, -1)) / math.sqrt(self.head_dim)
        if mask_reshaped is not None:
            scores = scores.masked_fill(mask_reshaped == 0, -1e9)
        attended = torch.matmul(torch.softmax(scores, dim=-1), V)
        batch_size, _, seq_len, _ = attended.shape
        attended = attended.transpose(1, 2).reshape(batch_size, seq_len, self.embed_dim)
        return self.out_proj(attended)


class EncoderBlock(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.attention, self.ln1, self.ln2 = MultiHeadAttention(d, h), nn.LayerNorm(d), nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x, mask):
        x = x + self.attention(self.ln1(x), mask=mask)
        return x + self.mlp(self.ln2(x))


class DecoderBlock(EncoderBlock):
    def __init__(self, d, h):
        super().__init__(d, h)
        self.cross_attention, self.ln3 = MultiHeadAttention(d, h), nn.LayerNorm(d)

    def forward(self, x, memory, mask, memory_mask):
        x = x + self.attention(self.ln1(x), mask=mask)
        x = x + self.cross_attention(self.ln3(x), context=memory, mask=memory_mask)
        return x + self.mlp(self.ln2(x))


class Transformer(nn.Module):
    def __init__(self, vocab, d=32, h=4, layers=2, max_len=64):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(max_len, d)
        self.encoder = nn.ModuleList([EncoderBlock(d, h) for _ in range(layers)])
        self.decoder = nn.ModuleList([DecoderBlock(d, h) for _ in range(layers)])
        self.head = nn.Linear(d, vocab)

    def embed(self, ids):
        return self.tok(ids) + self.pos(torch.arange(ids.shape[1]))

    def forward(self, src, tgt):
        B, S = src.shape
        T = tgt.shape[1]
        keep = (src != 0)
        src_mask = keep[:, None, :].expand(B, S, S)
        causal = torch.tril(torch.ones(T, T)).expand(B, T, T)
        memory_mask = keep[:, None, :].expand(B, T, S)
        memory, x = self.embed(src), self.embed(tgt)
        for block in self.encoder:
            memory = block(memory, src_mask)
        for block in self.decoder:
            x = block(x, memory, causal, memory_mask)
        return self.head(x)


def build():
    torch.manual_seed(0)
    return Transformer(vocab=30)


def step(model):
    src = torch.randint(1, 30, (4, 10))
    src[1, 7:], src[3, 4:] = 0, 0
    tgt = torch.randint(1, 30, (4, 8))
    logits = model(src, tgt[:, :-1])
    return nn.functional.cross_entropy(logits.transpose(1, 2), tgt[:, 1:])


# real fix: both lengths are taken from the mask: reshape(B, 1, seq_q, seq_k)
# offending tensor: mask (4, 7, 10)
TRUTH = dict(raises='RuntimeError', at='function:reshape', culprits=['function:reshape'], dim=2, got=10, wanted=7,
             hint_any=['unsqueeze(1)', '(4, 1, 7, 10)', 'shape[2]', 'seq_k'])
MENDED = [('batch_size_mask, seq_len_mask, _ = mask.shape', 'batch_size_mask, seq_len_mask, key_len_mask = mask.shape'),
          ('(batch_size_mask, 1, seq_len_mask, seq_len_mask)', '(batch_size_mask, 1, seq_len_mask, key_len_mask)')]
