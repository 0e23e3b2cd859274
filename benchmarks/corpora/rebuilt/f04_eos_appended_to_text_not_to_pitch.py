import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/espnet/espnet/issues/5990'
CATEGORY = 'layer'
DESCRIPTION = 'FastSpeech2: forward appends <eos> to the token ids; durations get an entry for it from the data, the token-averaged pitch and energy do not.'


def make_non_pad_mask(lengths):
    return torch.arange(int(lengths.max())) < lengths[:, None]


class Encoder(nn.Module):
    def __init__(self, idim, adim, layers, padding_idx):
        super().__init__()
        self.embed = nn.Embedding(idim, adim, padding_idx=padding_idx)
        self.encoders = nn.ModuleList(nn.TransformerEncoderLayer(adim, 2, 64, 0.1, batch_first=True) for _ in range(layers))
        self.after_norm = nn.LayerNorm(adim)

    def forward(self, xs, masks):
        xs = self.embed(xs)
        for layer in self.encoders:
            xs = layer(xs, src_key_padding_mask=~masks)
        return self.after_norm(xs)


class VariancePredictor(nn.Module):
    def __init__(self, idim, chans=24, kernel=3):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(idim, chans, kernel, padding=1), nn.ReLU(), nn.Dropout(0.5))
        self.linear = nn.Linear(chans, 1)

    def forward(self, xs, masks):
        return self.linear(self.conv(xs.transpose(1, 2)).transpose(1, 2)).masked_fill(~masks[..., None], 0.0)


class FastSpeech2(nn.Module):
    def __init__(self, idim=40, odim=20, adim=32):
        super().__init__()
        self.eos = idim - 1
        self.padding_idx = 0
        self.encoder = Encoder(idim, adim, 2, 0)
        self.duration_predictor = VariancePredictor(adim)
        self.pitch_predictor = VariancePredictor(adim)
        self.energy_predictor = VariancePredictor(adim)
        self.pitch_embed = nn.Sequential(nn.Conv1d(1, adim, 9, padding=4), nn.Dropout(0.5))
        self.energy_embed = nn.Sequential(nn.Conv1d(1, adim, 9, padding=4), nn.Dropout(0.5))
        self.decoder = nn.TransformerEncoderLayer(adim, 2, 64, 0.1, batch_first=True)
        self.feat_out = nn.Linear(adim, odim)

    def forward(self, text, text_lengths, feats, feats_lengths, durations, pitch, energy):
        text = text[:, :int(text_lengths.max())]
        xs = F.pad(text, [0, 1], 'constant', self.padding_idx)
        for i, l in enumerate(text_lengths):
            xs[i, l] = self.eos
        ilens = text_lengths + 1
        ys, ds, ps, es = feats, durations, pitch, energy
        masks = make_non_pad_mask(ilens)
        hs = self.encoder(xs, masks)
        d_outs = self.duration_predictor(hs, masks).squeeze(-1)
        p_outs = self.pitch_predictor(hs.detach(), masks)
        e_outs = self.energy_predictor(hs, masks)
        p_embs = self.pitch_embed(ps.transpose(1, 2)).transpose(1, 2)
        e_embs = self.energy_embed(es.transpose(1, 2)).transpose(1, 2)
        hs = hs + e_embs + p_embs
        hs = nn.utils.rnn.pad_sequence([h.repeat_interleave(d, 0) for h, d in zip(hs, ds)], batch_first=True)
        out_masks = make_non_pad_mask(feats_lengths)
        zs = self.feat_out(self.decoder(hs, src_key_padding_mask=~out_masks))
        l1 = (zs - ys).abs().mean(-1).masked_select(out_masks).mean()
        dur = F.mse_loss(d_outs.masked_select(masks), torch.log(ds.float() + 1).masked_select(masks))
        pit = F.mse_loss(p_outs.masked_select(masks[..., None]), ps.masked_select(masks[..., None]))
        ene = F.mse_loss(e_outs.masked_select(masks[..., None]), es.masked_select(masks[..., None]))
        return l1 + dur + pit + ene


def build():
    return FastSpeech2()


def token_average(values, durations):
    pos = F.pad(durations.cumsum(0), (1, 0))
    return torch.stack([values[s:e].mean() if e > s else values.new_zeros(()) for s, e in zip(pos[:-1], pos[1:])])


def collate(samples):
    pad = lambda key: nn.utils.rnn.pad_sequence([s[key] for s in samples], batch_first=True)
    lens = lambda key: torch.tensor([len(s[key]) for s in samples])
    return dict(text=pad('text'), text_lengths=lens('text'), feats=pad('feats'), feats_lengths=lens('feats'), durations=pad('durations'),
                pitch=pad('pitch')[..., None], energy=pad('energy')[..., None])


def step(model):
    samples = []
    for n in (61, 40, 52):
        durations = torch.randint(1, 4, (n + 1,))
        frames = int(durations.sum())
        samples.append(dict(text=torch.randint(1, 39, (n,)), feats=torch.randn(frames, 20), durations=durations,
                            pitch=token_average(torch.rand(frames), durations[:n]), energy=token_average(torch.rand(frames), durations[:n])))
    return model(**collate(samples))


# real fix: pitch and energy are averaged over all durations (with the one of <eos>), T_text + 1 values
# offending tensor: e_embs (3, 61, 32), hs is (3, 62, 32)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['input', 'function:pad', 'energy_embed.0', 'function:pad_sequence'], dim=1, got=61, wanted=62,
             hint_any=['eos', 'pitch', 'energy', 'pad'])
MENDED = [('pitch=token_average(torch.rand(frames), durations[:n]), energy=token_average(torch.rand(frames), durations[:n])',
           'pitch=token_average(torch.rand(frames), durations), energy=token_average(torch.rand(frames), durations)')]
