import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/espnet/espnet/issues/6116'
CATEGORY = 'correct'
DESCRIPTION = 'espnet: make_pad_mask is True on padding, the encoder passes its inverse, the attention masks where it equals 0; CTC gets (T, B, C). B, heads and layers: 4.'


def make_pad_mask(lengths, maxlen=None):
    maxlen = int(lengths.max()) if maxlen is None else maxlen
    seq_range = torch.arange(maxlen).unsqueeze(0).expand(len(lengths), maxlen)
    return seq_range >= lengths.unsqueeze(-1)


class MultiHeadedAttention(nn.Module):
    def __init__(self, n_head, n_feat, dropout_rate=0.):
        super().__init__()
        self.d_k, self.h = n_feat // n_head, n_head
        self.linear_q, self.linear_k = nn.Linear(n_feat, n_feat), nn.Linear(n_feat, n_feat)
        self.linear_v, self.linear_out = nn.Linear(n_feat, n_feat), nn.Linear(n_feat, n_feat)
        self.dropout = nn.Dropout(p=dropout_rate)

    def forward_qkv(self, query, key, value):
        n_batch = query.size(0)
        q = self.linear_q(query).view(n_batch, -1, self.h, self.d_k)
        k = self.linear_k(key).view(n_batch, -1, self.h, self.d_k)
        v = self.linear_v(value).view(n_batch, -1, self.h, self.d_k)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def forward_attention(self, value, scores, mask):
        n_batch = value.size(0)
        if mask is not None:
            mask = mask.unsqueeze(1).eq(0)
            min_value = torch.finfo(scores.dtype).min
            scores = scores.masked_fill(mask, min_value)
            attn = torch.softmax(scores, dim=-1).masked_fill(mask, 0.0)
        else:
            attn = torch.softmax(scores, dim=-1)
        x = torch.matmul(self.dropout(attn), value)
        x = x.transpose(1, 2).contiguous().view(n_batch, -1, self.h * self.d_k)
        return self.linear_out(x)

    def forward(self, query, key, value, mask):
        q, k, v = self.forward_qkv(query, key, value)
        scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(self.d_k)
        return self.forward_attention(v, scores, mask)


class EncoderLayer(nn.Module):
    def __init__(self, size, n_head):
        super().__init__()
        self.self_attn = MultiHeadedAttention(n_head, size)
        self.feed_forward = nn.Sequential(nn.Linear(size, size * 2), nn.ReLU(), nn.Linear(size * 2, size))
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)

    def forward(self, x, mask):
        h = self.norm1(x)
        x = x + self.self_attn(h, h, h, mask)
        return x + self.feed_forward(self.norm2(x))


class CTC(nn.Module):
    def __init__(self, odim, eprojs):
        super().__init__()
        self.ctc_lo = nn.Linear(eprojs, odim)

    def forward(self, hs_pad, hlens, ys_pad, ys_lens):
        ys_hat = self.ctc_lo(hs_pad).transpose(0, 1).log_softmax(2)
        ys_true = torch.cat([ys_pad[i, :n] for i, n in enumerate(ys_lens)])
        return F.ctc_loss(ys_hat, ys_true, hlens, ys_lens, reduction='sum') / ys_hat.size(1)


class ESPnetASRModel(nn.Module):
    def __init__(self, idim=20, odim=12, size=32, n_head=4, n_layers=4):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(idim, size), nn.LayerNorm(size))
        self.encoders = nn.ModuleList(EncoderLayer(size, n_head) for _ in range(n_layers))
        self.after_norm = nn.LayerNorm(size)
        self.ctc = CTC(odim, size)

    def encode(self, xs_pad, ilens):
        masks = (~make_pad_mask(ilens)[:, None, :])
        xs_pad = self.embed(xs_pad)
        for layer in self.encoders:
            xs_pad = layer(xs_pad, masks)
        return self.after_norm(xs_pad), masks.squeeze(1).sum(1)

    def forward(self, speech, speech_lengths, text, text_lengths):
        encoder_out, encoder_out_lens = self.encode(speech, speech_lengths)
        return self.ctc(encoder_out, encoder_out_lens, text, text_lengths)


def build():
    return ESPnetASRModel()


def step(model):
    speech_lengths, text_lengths = torch.tensor([30, 26, 21, 17]), torch.tensor([8, 7, 5, 4])
    speech, text = torch.zeros(4, 30, 20), torch.full((4, 8), -1)
    for i, (n, m) in enumerate(zip(speech_lengths.tolist(), text_lengths.tolist())):
        speech[i, :n] = torch.randn(n, 20)
        text[i, :m] = torch.randint(1, 12, (m,))
    return model(speech, speech_lengths, text, text_lengths)


TRUTH = dict(raises=None, at=None, culprits=[])
