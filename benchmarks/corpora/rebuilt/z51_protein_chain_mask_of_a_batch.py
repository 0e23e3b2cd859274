import torch
import torch.nn as nn

SOURCE = 'https://github.com/junliu621/PPLM/issues/6'
CATEGORY = 'layer'
DESCRIPTION = 'The inter-chain mask of a protein pair is repeated batch * heads times, which is right for one pair (L, L) and wrong for a batch (B, L, L).'


def rotate_half(x):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((-b, a), dim=-1)


class RotaryEmbedding(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.register_buffer('inv_freq', 1.0 / (10000 ** (torch.arange(0, dim, 2).float() / dim)))

    def forward(self, q, k):
        freqs = torch.einsum('i,j->ij', torch.arange(q.size(1)).float(), self.inv_freq)
        emb = torch.cat((freqs, freqs), dim=-1)[None]
        return q * emb.cos() + rotate_half(q) * emb.sin(), k * emb.cos() + rotate_half(k) * emb.sin()


class MultiheadAttention(nn.Module):
    def __init__(self, embed_dim, num_heads):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, embed_dim // num_heads
        self.scaling = self.head_dim ** -0.5
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(embed_dim, embed_dim) for _ in range(4))
        self.inter_attn_weight = nn.Parameter(torch.randn(num_heads))
        self.rot_emb = RotaryEmbedding(self.head_dim)

    def forward(self, query, inter_chain_mask):
        tgt_len, bsz, embed_dim = query.size()
        q, k, v = self.q_proj(query) * self.scaling, self.k_proj(query), self.v_proj(query)
        q, k, v = (t.contiguous().view(tgt_len, bsz * self.num_heads, self.head_dim).transpose(0, 1) for t in (q, k, v))
        q_rope, k_rope = self.rot_emb(q, k)
        attn_intra = torch.bmm(q_rope, k_rope.transpose(1, 2))
        attn_inter = torch.bmm(q, k.transpose(1, 2))
        inter = inter_chain_mask.repeat(attn_intra.shape[0], 1, 1)
        attn_intra[inter.bool()] = 0
        attn_inter[(1 - inter).bool()] = 0
        attn_weights = attn_intra + self.inter_attn_weight.repeat(bsz)[:, None, None] * attn_inter
        attn_weights = attn_weights + inter
        attn = torch.bmm(attn_weights.softmax(-1), v)
        return self.out_proj(attn.transpose(0, 1).contiguous().view(tgt_len, bsz, embed_dim))


class TransformerLayer(nn.Module):
    def __init__(self, embed_dim, ffn_dim, heads):
        super().__init__()
        self.self_attn = MultiheadAttention(embed_dim, heads)
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(embed_dim), nn.LayerNorm(embed_dim)
        self.fc1, self.fc2 = nn.Linear(embed_dim, ffn_dim), nn.Linear(ffn_dim, embed_dim)

    def forward(self, x, inter_chain_mask):
        x = x + self.self_attn(self.self_attn_layer_norm(x), inter_chain_mask)
        return x + self.fc2(nn.functional.gelu(self.fc1(self.final_layer_norm(x))))


class PPLM(nn.Module):
    def __init__(self, num_layers=2, embed_dim=32, heads=4, alphabet=33):
        super().__init__()
        self.embed_tokens = nn.Embedding(alphabet, embed_dim, padding_idx=1)
        self.layers = nn.ModuleList(TransformerLayer(embed_dim, 64, heads) for _ in range(num_layers))
        self.lm_head = nn.Linear(embed_dim, alphabet)

    def forward(self, tokens, inter_chain_mask):
        x = self.embed_tokens(tokens).transpose(0, 1)
        for layer in self.layers:
            x = layer(x, inter_chain_mask)
        return self.lm_head(x.transpose(0, 1))


def inter_chain_mask(len_a, total):
    mask = torch.zeros(total, total)
    mask[:len_a, len_a:] = 1
    mask[len_a:, :len_a] = 1
    return mask


def collate(pairs):
    tokens = torch.stack([torch.cat(p) for p in pairs])
    return tokens, torch.stack([inter_chain_mask(len(a), len(a) + len(b)) for a, b in pairs])


def build():
    return PPLM()


def step(model):
    pairs = [(torch.randint(4, 24, (n,)), torch.randint(4, 24, (18 - n,))) for n in (7, 9, 11, 8)]
    tokens, mask = collate(pairs)
    masked = torch.rand(tokens.shape) < 0.3
    logits = model(tokens.masked_fill(masked, 32), mask)
    return nn.functional.cross_entropy(logits.flatten(0, 1), torch.where(masked, tokens, -100).flatten())


# real fix: inter_chain_mask.repeat_interleave(num_heads, dim=0) for a mask of the batch
TRUTH = dict(raises='IndexError', at='function:__setitem__', culprits=['function:repeat'], dim=0, got=64, wanted=16,
             hint_any=['repeat', 'head', '16'])
MENDED = [('inter_chain_mask.repeat(attn_intra.shape[0], 1, 1)', 'inter_chain_mask.repeat_interleave(self.num_heads, dim=0)')]
