import math
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/facebookresearch/fairseq/issues/1682 (also issue 1339)'
CATEGORY = 'silent'
DESCRIPTION = 'fairseq encoder layer used for language modelling: attn_mask is turned into large negative numbers and then not handed to the self-attention, which sees the following words.'


class MultiheadAttention(nn.Module):
    def __init__(self, embed_dim, num_heads, dropout=0.0, self_attention=False):
        super().__init__()
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.head_dim = embed_dim // num_heads
        self.scaling = self.head_dim ** -0.5
        self.k_proj, self.v_proj = nn.Linear(embed_dim, embed_dim), nn.Linear(embed_dim, embed_dim)
        self.q_proj, self.out_proj = nn.Linear(embed_dim, embed_dim), nn.Linear(embed_dim, embed_dim)

    def forward(self, query, key, value, key_padding_mask=None, attn_mask=None):
        tgt_len, bsz, embed_dim = query.size()
        q, k, v = self.q_proj(query) * self.scaling, self.k_proj(key), self.v_proj(value)
        q, k, v = (t.contiguous().view(-1, bsz * self.num_heads, self.head_dim).transpose(0, 1) for t in (q, k, v))
        src_len = k.size(1)
        attn_weights = torch.bmm(q, k.transpose(1, 2))
        if attn_mask is not None:
            attn_weights = attn_weights + attn_mask.unsqueeze(0)
        if key_padding_mask is not None:
            attn_weights = attn_weights.view(bsz, self.num_heads, tgt_len, src_len)
            attn_weights = attn_weights.masked_fill(key_padding_mask.unsqueeze(1).unsqueeze(2), float('-inf'))
            attn_weights = attn_weights.view(bsz * self.num_heads, tgt_len, src_len)
        attn_probs = F.dropout(F.softmax(attn_weights, dim=-1), p=self.dropout, training=self.training)
        attn = torch.bmm(attn_probs, v).transpose(0, 1).contiguous().view(tgt_len, bsz, embed_dim)
        return self.out_proj(attn), attn_probs


class TransformerEncoderLayer(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.embed_dim = args.encoder_embed_dim
        self.self_attn = MultiheadAttention(self.embed_dim, args.encoder_attention_heads, args.attention_dropout, self_attention=True)
        self.self_attn_layer_norm = nn.LayerNorm(self.embed_dim)
        self.dropout = args.dropout
        self.normalize_before = args.encoder_normalize_before
        self.fc1 = nn.Linear(self.embed_dim, args.encoder_ffn_embed_dim)
        self.fc2 = nn.Linear(args.encoder_ffn_embed_dim, self.embed_dim)
        self.final_layer_norm = nn.LayerNorm(self.embed_dim)

    def forward(self, x, encoder_padding_mask, attn_mask=None):
        residual = x
        x = self.maybe_layer_norm(self.self_attn_layer_norm, x, before=True)
        if attn_mask is not None:
            attn_mask = attn_mask.masked_fill(attn_mask.bool(), -1e8)
        x, _ = self.self_attn(query=x, key=x, value=x, key_padding_mask=encoder_padding_mask)
        x = F.dropout(x, p=self.dropout, training=self.training)
        x = residual + x
        x = self.maybe_layer_norm(self.self_attn_layer_norm, x, after=True)
        residual = x
        x = self.maybe_layer_norm(self.final_layer_norm, x, before=True)
        x = F.dropout(self.fc2(F.gelu(self.fc1(x))), p=self.dropout, training=self.training)
        x = residual + x
        return self.maybe_layer_norm(self.final_layer_norm, x, after=True)

    def maybe_layer_norm(self, layer_norm, x, before=False, after=False):
        return layer_norm(x) if after ^ self.normalize_before else x


class LanguageModel(nn.Module):
    def __init__(self, args, vocab, padding_idx=1):
        super().__init__()
        self.padding_idx, self.embed_scale = padding_idx, math.sqrt(args.encoder_embed_dim)
        self.embed_tokens = nn.Embedding(vocab, args.encoder_embed_dim, padding_idx)
        self.embed_positions = nn.Embedding(64, args.encoder_embed_dim)
        self.layers = nn.ModuleList([TransformerEncoderLayer(args) for _ in range(args.encoder_layers)])
        self.output_projection = nn.Linear(args.encoder_embed_dim, vocab)

    def forward(self, src_tokens):
        length = src_tokens.size(1)
        x = self.embed_scale * self.embed_tokens(src_tokens) + self.embed_positions(torch.arange(length))
        x = x.transpose(0, 1)
        future = torch.triu(torch.ones(length, length), 1)
        for layer in self.layers:
            x = layer(x, src_tokens.eq(self.padding_idx), attn_mask=future)
        return self.output_projection(x.transpose(0, 1))


def build():
    args = SimpleNamespace(encoder_embed_dim=16, encoder_attention_heads=4, encoder_ffn_embed_dim=32, encoder_layers=2,
                           attention_dropout=0.1, dropout=0.1, encoder_normalize_before=False)
    return LanguageModel(args, vocab=40)


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, betas=(0.9, 0.98))
    tokens = torch.randint(4, 40, (4, 17))
    tokens[1, 13:], tokens[3, 9:] = 1, 1
    model.train()
    for _ in range(3):
        logits = model(tokens[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, 40), tokens[:, 1:].reshape(-1), ignore_index=1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at='module:layers.0.self_attn',
             culprits=['layers.0.self_attn', 'layers.1.self_attn', 'layers.0', 'layers.1', 'function:masked_fill'], dim=None, got=None, wanted=None,
             hint_any=['mask', 'unused', 'never used', 'future', 'causal'])
MENDED = [('key_padding_mask=encoder_padding_mask)\n        x = F.dropout', 'key_padding_mask=encoder_padding_mask, attn_mask=attn_mask)\n        x = F.dropout')]
