import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/mlwithme/TransformerTranslation/issues/6'
CATEGORY = 'correct'
DESCRIPTION = 'Own multi-head attention for translation: masked_fill without "== 0", asked about in the issue; the mask is true at the padding, so it is right.'

PAD = 1


def scaled_dot_product(q, k, v, attn_mask=None, key_padding_mask=None):
    attn_output_weights = torch.matmul(q, k.transpose(-2, -1)) * q.size(-1) ** -0.5
    if attn_mask is not None:
        attn_output_weights = attn_output_weights + attn_mask
    if key_padding_mask is not None:
        attn_output_weights = attn_output_weights.masked_fill(
            key_padding_mask.unsqueeze(1).unsqueeze(2), float('-inf'))
    return torch.matmul(F.softmax(attn_output_weights, dim=-1), v)


class MyMultiheadAttention(nn.Module):
    def __init__(self, embed_dim, num_heads):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, embed_dim // num_heads
        self.q_proj, self.k_proj = nn.Linear(embed_dim, embed_dim), nn.Linear(embed_dim, embed_dim)
        self.v_proj, self.out_proj = nn.Linear(embed_dim, embed_dim), nn.Linear(embed_dim, embed_dim)

    def split(self, x):
        length, bsz, _ = x.shape
        return x.reshape(length, bsz, self.num_heads, self.head_dim).permute(1, 2, 0, 3)

    def forward(self, query, key, value, attn_mask=None, key_padding_mask=None):
        tgt_len, bsz, embed_dim = query.shape
        q, k, v = self.split(self.q_proj(query)), self.split(self.k_proj(key)), self.split(self.v_proj(value))
        out = scaled_dot_product(q, k, v, attn_mask, key_padding_mask)
        return self.out_proj(out.permute(2, 0, 1, 3).reshape(tgt_len, bsz, embed_dim))


class Layer(nn.Module):
    def __init__(self, d_model, nhead, cross):
        super().__init__()
        self.self_attn = MyMultiheadAttention(d_model, nhead)
        self.cross_attn = MyMultiheadAttention(d_model, nhead) if cross else None
        self.ff = nn.Sequential(nn.Linear(d_model, 2 * d_model), nn.ReLU(), nn.Linear(2 * d_model, d_model))
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(3 if cross else 2))

    def forward(self, x, mask, padding, memory=None, memory_padding=None):
        x = self.norms[0](x + self.self_attn(x, x, x, mask, padding))
        if self.cross_attn is not None:
            x = self.norms[1](x + self.cross_attn(x, memory, memory, None, memory_padding))
        return self.norms[-1](x + self.ff(x))


class TranslationModel(nn.Module):
    def __init__(self, src_vocab=50, tgt_vocab=60, d_model=32, nhead=4, max_len=16):
        super().__init__()
        self.src_embedding, self.tgt_embedding = nn.Embedding(src_vocab, d_model), nn.Embedding(tgt_vocab, d_model)
        self.position = nn.Parameter(torch.randn(max_len, 1, d_model) * 0.02)
        self.encoder, self.decoder = Layer(d_model, nhead, False), Layer(d_model, nhead, True)
        self.classification = nn.Linear(d_model, tgt_vocab)

    def forward(self, src, tgt, tgt_mask, src_padding, tgt_padding):
        memory = self.encoder(self.src_embedding(src) + self.position[:src.size(0)], None, src_padding)
        x = self.tgt_embedding(tgt) + self.position[:tgt.size(0)]
        return self.classification(self.decoder(x, tgt_mask, tgt_padding, memory, src_padding))


def create_mask(src, tgt):
    tgt_mask = torch.triu(torch.full((tgt.size(0), tgt.size(0)), float('-inf')), diagonal=1)
    return tgt_mask, (src == PAD).transpose(0, 1), (tgt == PAD).transpose(0, 1)


def sentences(vocab, batch):
    return nn.utils.rnn.pad_sequence([torch.randint(4, vocab, (int(n),)) for n in torch.randint(4, 11, (batch,))], padding_value=PAD)


def build():
    return TranslationModel()


def step(model):
    loss_fn = nn.CrossEntropyLoss(ignore_index=PAD)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    src, tgt = sentences(50, 6), sentences(60, 6)
    tgt_input, tgt_out = tgt[:-1, :], tgt[1:, :]
    tgt_mask, src_padding, tgt_padding = create_mask(src, tgt_input)
    logits = model(src, tgt_input, tgt_mask, src_padding, tgt_padding)
    optimizer.zero_grad()
    loss = loss_fn(logits.reshape(-1, logits.shape[-1]), tgt_out.reshape(-1))
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
