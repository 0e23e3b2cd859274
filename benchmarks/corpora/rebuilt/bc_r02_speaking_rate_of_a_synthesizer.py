import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/espnet/espnet/pull/6680'
CATEGORY = 'layer'
DESCRIPTION = ('Speech synthesis after FastSpeech 2 with a speaking rate: the length regulator stretches the durations by alpha, the mask of the decoder is '
               'made from the durations as they were predicted.')


def make_non_pad_mask(lengths, maxlen=None):
    maxlen = int(lengths.max()) if maxlen is None else maxlen
    return torch.arange(maxlen)[None, :] < lengths[:, None]


class MultiHeadedAttention(nn.Module):
    def __init__(self, n_head, n_feat):
        super().__init__()
        self.d_k, self.h = n_feat // n_head, n_head
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (nn.Linear(n_feat, n_feat) for _ in range(4))

    def forward(self, x, mask):
        b = x.size(0)
        q, k, v = (lin(x).view(b, -1, self.h, self.d_k).transpose(1, 2) for lin in (self.linear_q, self.linear_k, self.linear_v))
        scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(self.d_k)
        mask = mask.unsqueeze(1).eq(0)
        scores = scores.masked_fill(mask, torch.finfo(scores.dtype).min)
        attn = torch.softmax(scores, dim=-1).masked_fill(mask, 0.0)
        return self.linear_out(torch.matmul(attn, v).transpose(1, 2).reshape(b, -1, self.h * self.d_k))


class EncoderLayer(nn.Module):
    def __init__(self, size, heads, units):
        super().__init__()
        self.self_attn = MultiHeadedAttention(heads, size)
        self.feed_forward = nn.Sequential(nn.Linear(size, units), nn.ReLU(), nn.Linear(units, size))
        self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)

    def forward(self, x, mask):
        x = x + self.self_attn(self.norm1(x), mask)
        return x + self.feed_forward(self.norm2(x))


class DurationPredictor(nn.Module):
    def __init__(self, idim, n_chans=32, offset=1.0):
        super().__init__()
        self.offset = offset
        self.conv = nn.Sequential(nn.Conv1d(idim, n_chans, 3, padding=1), nn.ReLU(), nn.Conv1d(n_chans, n_chans, 3, padding=1), nn.ReLU())
        self.linear = nn.Linear(n_chans, 1)
        nn.init.constant_(self.linear.bias, 1.6)

    def inference(self, xs):
        xs = self.linear(self.conv(xs.transpose(1, 2)).transpose(1, 2)).squeeze(-1)
        return torch.clamp(torch.round(xs.exp() - self.offset), min=0).long()


class LengthRegulator(nn.Module):
    def forward(self, xs, ds, alpha=1.0):
        if alpha != 1.0:
            ds = torch.round(ds.float() * alpha).long()
        repeated = [torch.repeat_interleave(x, d, dim=0) for x, d in zip(xs, ds)]
        return nn.utils.rnn.pad_sequence(repeated, batch_first=True)


class FastSpeech2(nn.Module):
    def __init__(self, idim=40, odim=20, adim=32, aheads=2, layers=2):
        super().__init__()
        self.embed = nn.Embedding(idim, adim, padding_idx=0)
        self.encoder = nn.ModuleList(EncoderLayer(adim, aheads, 64) for _ in range(layers))
        self.duration_predictor = DurationPredictor(adim)
        self.length_regulator = LengthRegulator()
        self.decoder = nn.ModuleList(EncoderLayer(adim, aheads, 64) for _ in range(layers))
        self.feat_out = nn.Linear(adim, odim)

    def _source_mask(self, ilens):
        return make_non_pad_mask(ilens).unsqueeze(-2)

    def _forward(self, xs, ilens, alpha=1.0):
        x_masks = self._source_mask(ilens)
        hs = self.embed(xs)
        for layer in self.encoder:
            hs = layer(hs, x_masks)
        d_outs = self.duration_predictor.inference(hs)
        d_outs = d_outs.masked_fill(~make_non_pad_mask(ilens), 0)
        hs = self.length_regulator(hs, d_outs, alpha)
        olens = torch.sum(d_outs, dim=-1)
        h_masks = self._source_mask(olens)
        for layer in self.decoder:
            hs = layer(hs, h_masks)
        return self.feat_out(hs), d_outs

    def inference(self, text, speed_control_alpha=1.0):
        ilens = torch.tensor([len(t) for t in text])
        xs = nn.utils.rnn.pad_sequence(text, batch_first=True)
        return self._forward(xs, ilens, alpha=speed_control_alpha)


def build():
    torch.manual_seed(0)
    return FastSpeech2()


def step(model):
    text = [torch.randint(1, 40, (n,)) for n in (9, 7)]
    mel, durations = model.inference(text, speed_control_alpha=1.25)
    return mel.pow(2).mean()


# real fix: the durations are scaled once before both the length regulator and the mask
TRUTH = dict(raises='RuntimeError', at='function:masked_fill', culprits=['length_regulator', 'function:sum', 'function:round', 'function:repeat_interleave'],
             dim=3, hint_any=['mask', 'duration', 'alpha', 'length_regulator', 'repeat'])
MENDED = [('        hs = self.length_regulator(hs, d_outs, alpha)', '        d_outs = torch.round(d_outs.float() * alpha).long()\n        hs = self.length_regulator(hs, d_outs)')]
