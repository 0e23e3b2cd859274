import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

SOURCE = 'https://github.com/espnet/espnet/issues/5990'
CATEGORY = 'layer'
DESCRIPTION = 'FastSpeech 2: the model appends an end symbol to the phonemes (62), token-averaged pitch and energy come from the data loader for the 61 phonemes.'

VOCAB, ADIM, ODIM = 40, 24, 20


def make_pad_mask(lengths, maxlen=None):
    maxlen = maxlen or int(lengths.max())
    return torch.arange(maxlen)[None] >= lengths[:, None]


class VariancePredictor(nn.Module):
    def __init__(self, dim, chans=32):
        super().__init__()
        self.conv = nn.ModuleList([nn.Conv1d(dim, chans, 3, padding=1), nn.Conv1d(chans, chans, 3, padding=1)])
        self.norms = nn.ModuleList([nn.LayerNorm(chans), nn.LayerNorm(chans)])
        self.linear = nn.Linear(chans, 1)

    def forward(self, xs, masks):
        for conv, norm in zip(self.conv, self.norms):
            xs = norm(F.relu(conv(xs.transpose(1, 2))).transpose(1, 2))
        return self.linear(xs).masked_fill(masks.unsqueeze(-1), 0.0)


class LengthRegulator(nn.Module):
    def forward(self, xs, ds):
        return pad_sequence([x.repeat_interleave(d, 0) for x, d in zip(xs, ds)], batch_first=True)


class FastSpeech2(nn.Module):
    def __init__(self):
        super().__init__()
        self.eos = VOCAB - 1
        self.embed = nn.Embedding(VOCAB, ADIM, padding_idx=0)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(ADIM, 2, 48, batch_first=True), 1)
        self.duration_predictor = VariancePredictor(ADIM)
        self.pitch_predictor, self.energy_predictor = VariancePredictor(ADIM), VariancePredictor(ADIM)
        self.pitch_embed = nn.Sequential(nn.Conv1d(1, ADIM, 1), nn.Dropout(0.5))
        self.energy_embed = nn.Sequential(nn.Conv1d(1, ADIM, 1), nn.Dropout(0.5))
        self.length_regulator = LengthRegulator()
        self.decoder = nn.GRU(ADIM, ADIM, batch_first=True)
        self.feat_out = nn.Linear(ADIM, ODIM)

    def _forward(self, xs, ilens, ds, ps, es):
        h_masks = make_pad_mask(ilens)
        hs = self.encoder(self.embed(xs), src_key_padding_mask=h_masks)
        d_outs = self.duration_predictor(hs, h_masks).squeeze(-1)
        p_outs = self.pitch_predictor(hs.detach(), h_masks)
        e_outs = self.energy_predictor(hs, h_masks)
        p_embs = self.pitch_embed(ps.transpose(1, 2)).transpose(1, 2)
        e_embs = self.energy_embed(es.transpose(1, 2)).transpose(1, 2)
        hs = hs + e_embs + p_embs
        hs = self.length_regulator(hs, ds)
        return self.feat_out(self.decoder(hs)[0]), d_outs, p_outs, e_outs, h_masks

    def forward(self, text, text_lengths, feats, durations, pitch, energy):
        xs = F.pad(text, [0, 1])
        for i, length in enumerate(text_lengths):
            xs[i, length] = self.eos
        ilens = text_lengths + 1
        ds = F.pad(durations, [0, 1], value=0)
        ps, es = pitch, energy
        before, d_outs, p_outs, e_outs, masks = self._forward(xs, ilens, ds, ps, es)
        keep = ~masks
        loss = F.l1_loss(before, feats[:, :before.size(1)])
        loss = loss + F.mse_loss(d_outs[keep], torch.log1p(ds[keep].float()))
        return loss + F.mse_loss(p_outs[keep], ps[keep]) + F.mse_loss(e_outs[keep], es[keep])


def collate(batch):
    keys = ('text', 'durations', 'pitch', 'energy', 'feats')
    out = {k: pad_sequence([b[k] for b in batch], batch_first=True) for k in keys}
    out['text_lengths'] = torch.tensor([len(b['text']) for b in batch])
    return out


def utterance(n):
    durations = torch.randint(1, 6, (n,))
    return dict(text=torch.randint(1, VOCAB - 1, (n,)), durations=durations, pitch=torch.randn(n, 1), energy=torch.randn(n, 1),
                feats=torch.randn(int(durations.sum()), ODIM))


def build():
    return FastSpeech2()


def step(model):
    return model(**collate([utterance(n) for n in (61, 48, 55, 37)]))


# real fix: pitch and energy have to cover the end symbol too, T_text + 1 (the statistics of the dump had been made without it)
# offending tensor: e_embs (4, 61, 24), hs (4, 62, 24)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['input', 'function:pad', '', 'function:pad_sequence'], dim=1, got=61, wanted=62,
             hint_any=['pad', 'pitch', 'energy', 'eos', '62', 'input'])
MENDED = [('ps, es = pitch, energy', 'ps, es = F.pad(pitch, [0, 0, 0, 1]), F.pad(energy, [0, 0, 0, 1])')]
