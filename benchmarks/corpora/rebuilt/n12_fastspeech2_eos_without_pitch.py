import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/espnet/espnet/issues/5990'
CATEGORY = 'layer'
DESCRIPTION = 'FastSpeech2 with durations from a forced aligner: pitch and energy are averaged for each phone of the text.'


def pad_list(xs, value=0):
    out = xs[0].new_full((len(xs), max(len(x) for x in xs)), value)
    for i, x in enumerate(xs):
        out[i, :len(x)] = x
    return out


def make_utterance(length, idim=40, odim=20):
    durations = torch.randint(1, 5, (length,))
    frames = int(durations.sum())
    return dict(text=torch.randint(1, idim - 1, (length,)), feats=torch.randn(frames, odim), durations=durations,
                f0=torch.rand(frames), energy=torch.rand(frames))


def average_by_duration(x, d):
    ends = d.cumsum(0).tolist()
    return torch.stack([x[a:b].mean() for a, b in zip([0] + ends[:-1], ends)])


def collate(utterances):
    texts, durations, pitch, energy = [], [], [], []
    for u in utterances:
        texts.append(u['text'])
        durations.append(F.pad(u['durations'], (0, 1)))
        pitch.append(average_by_duration(u['f0'], u['durations']))
        energy.append(average_by_duration(u['energy'], u['durations']))
    lengths = torch.tensor([len(t) for t in texts])
    feats = nn.utils.rnn.pad_sequence([u['feats'] for u in utterances], batch_first=True)
    return dict(text=pad_list(texts), text_lengths=lengths, feats=feats, durations=pad_list(durations),
                pitch=pad_list(pitch).unsqueeze(-1), energy=pad_list(energy).unsqueeze(-1))


class FFTBlock(nn.Module):
    def __init__(self, adim, heads=2, kernel=3):
        super().__init__()
        self.attn = nn.MultiheadAttention(adim, heads, batch_first=True)
        self.conv1 = nn.Conv1d(adim, 2 * adim, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv1d(2 * adim, adim, kernel, padding=kernel // 2)
        self.norm1, self.norm2 = nn.LayerNorm(adim), nn.LayerNorm(adim)

    def forward(self, x):
        x = self.norm1(x + self.attn(x, x, x, need_weights=False)[0])
        return self.norm2(x + self.conv2(F.relu(self.conv1(x.transpose(1, 2)))).transpose(1, 2))


class VariancePredictor(nn.Module):
    def __init__(self, adim):
        super().__init__()
        self.conv = nn.Conv1d(adim, adim, 3, padding=1)
        self.linear = nn.Linear(adim, 1)

    def forward(self, xs):
        return self.linear(F.relu(self.conv(xs.transpose(1, 2))).transpose(1, 2))


class FastSpeech2(nn.Module):
    def __init__(self, idim=40, odim=20, adim=24):
        super().__init__()
        self.eos, self.padding_idx = idim - 1, 0
        self.embed = nn.Embedding(idim, adim, padding_idx=0)
        self.encoder = nn.ModuleList([FFTBlock(adim) for _ in range(2)])
        self.duration_predictor, self.pitch_predictor, self.energy_predictor = (VariancePredictor(adim) for _ in range(3))
        self.pitch_embed = nn.Sequential(nn.Conv1d(1, adim, 1), nn.Dropout(0.1))
        self.energy_embed = nn.Sequential(nn.Conv1d(1, adim, 1), nn.Dropout(0.1))
        self.decoder = nn.ModuleList([FFTBlock(adim)])
        self.feat_out = nn.Linear(adim, odim)

    def length_regulator(self, hs, ds):
        return nn.utils.rnn.pad_sequence([h.repeat_interleave(d, dim=0) for h, d in zip(hs, ds)], batch_first=True)

    def forward(self, text, text_lengths, feats, durations, pitch, energy):
        xs = F.pad(text, [0, 1], 'constant', self.padding_idx)
        for i, length in enumerate(text_lengths):
            xs[i, length] = self.eos
        hs = self.embed(xs)
        for block in self.encoder:
            hs = block(hs)
        d_outs, p_outs, e_outs = self.duration_predictor(hs), self.pitch_predictor(hs), self.energy_predictor(hs)
        p_embs = self.pitch_embed(pitch.transpose(1, 2)).transpose(1, 2)
        e_embs = self.energy_embed(energy.transpose(1, 2)).transpose(1, 2)
        hs = hs + e_embs + p_embs
        zs = self.length_regulator(hs, durations)
        for block in self.decoder:
            zs = block(zs)
        loss = F.l1_loss(self.feat_out(zs), feats) + F.mse_loss(d_outs.squeeze(-1), torch.log1p(durations.float()))
        return loss + F.mse_loss(p_outs, pitch) + F.mse_loss(e_outs, energy)


def build():
    return FastSpeech2()


def step(model):
    return model(**collate([make_utterance(n) for n in (24, 19, 21, 15)]))


# real fix: pitch and energy need a value for <eos> too (T_text + 1; a zero is enough), as the durations have
# offending tensor: e_embs (4, 24, 24) against hs (4, 25, 24)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['input', 'function:pad', 'function:stack'], dim=1, got=24, wanted=25,
             hint_any=['eos', 'pad', 'one more', 'length', '25', 't + 1'])
MENDED = [("pitch.append(average_by_duration(u['f0'], u['durations']))", "pitch.append(F.pad(average_by_duration(u['f0'], u['durations']), (0, 1)))"),
          ("energy.append(average_by_duration(u['energy'], u['durations']))", "energy.append(F.pad(average_by_duration(u['energy'], u['durations']), (0, 1)))")]
