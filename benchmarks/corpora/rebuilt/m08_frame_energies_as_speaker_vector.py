import pickle
import io

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/espnet/espnet/issues/2174 (cause read from the numbers: 512 + a size that changes with every recording)'
CATEGORY = 'layer'
DESCRIPTION = 'Multi-speaker Tacotron: the speaker vector is read from the wrong entry of a pickle, one number a frame, so the width changes with the recording.'


class Encoder(nn.Module):
    def __init__(self, idim=40, elayers=1, eunits=32, conv_layers=2):
        super().__init__()
        self.embed = nn.Embedding(idim, eunits, padding_idx=0)
        self.convs = nn.ModuleList(nn.Sequential(nn.Conv1d(eunits, eunits, 5, padding=2), nn.BatchNorm1d(eunits), nn.ReLU(), nn.Dropout(0.5)) for _ in range(conv_layers))
        self.blstm = nn.LSTM(eunits, eunits // 2, elayers, batch_first=True, bidirectional=True)

    def forward(self, xs):
        xs = self.embed(xs).transpose(1, 2)
        for conv in self.convs:
            xs = xs + conv(xs)
        return self.blstm(xs.transpose(1, 2))[0]


class AttLoc(nn.Module):
    def __init__(self, eprojs, dunits, att_dim=16, filts=7):
        super().__init__()
        self.mlp_enc = nn.Linear(eprojs, att_dim)
        self.mlp_dec = nn.Linear(dunits, att_dim, bias=False)
        self.loc_conv = nn.Conv1d(1, 4, filts, padding=filts // 2, bias=False)
        self.mlp_att = nn.Linear(4, att_dim, bias=False)
        self.gvec = nn.Linear(att_dim, 1)

    def forward(self, enc, state, prev):
        loc = self.mlp_att(self.loc_conv(prev.unsqueeze(1)).transpose(1, 2))
        e = self.gvec(torch.tanh(self.mlp_enc(enc) + loc + self.mlp_dec(state).unsqueeze(1))).squeeze(2)
        w = e.softmax(1)
        return torch.bmm(w.unsqueeze(1), enc).squeeze(1), w


class Tacotron2(nn.Module):
    def __init__(self, eunits=32, spk_embed_dim=64, dunits=32, odim=20):
        super().__init__()
        self.enc = Encoder(eunits=eunits)
        self.att = AttLoc(eunits + spk_embed_dim, dunits)
        self.prenet = nn.Sequential(nn.Linear(odim, 16), nn.ReLU(), nn.Dropout(0.5))
        self.cell = nn.LSTMCell(16 + eunits + spk_embed_dim, dunits)
        self.feat_out, self.prob_out = nn.Linear(dunits, odim), nn.Linear(dunits, 1)
        self.dunits, self.odim = dunits, odim

    def forward(self, xs, ys, spembs):
        hs = self.enc(xs)
        spembs = F.normalize(spembs).unsqueeze(1).expand(-1, hs.size(1), -1)
        hs = torch.cat([hs, spembs], dim=-1)
        b = hs.size(0)
        z, c = hs.new_zeros(b, self.dunits), hs.new_zeros(b, self.dunits)
        w, prev, outs, stops = hs.new_full((b, hs.size(1)), 1 / hs.size(1)), hs.new_zeros(b, self.odim), [], []
        for y in ys.transpose(0, 1):
            context, w = self.att(hs, z, w)
            z, c = self.cell(torch.cat([self.prenet(prev), context], 1), (z, c))
            outs.append(self.feat_out(z))
            stops.append(self.prob_out(z))
            prev = y
        return torch.stack(outs, 1), torch.cat(stops, 1)


def write_speakers(frames=193):
    speakers = {name: {'log_energy': torch.randn(frames), 'xvector': torch.randn(64), 'gender': g} for name, g in (('p225', 'f'), ('p226', 'm'))}
    return pickle.dumps({k: {n: v.tolist() if torch.is_tensor(v) else v for n, v in d.items()} for k, d in speakers.items()})


def load_speaker_vectors(blob, names, entry='log_energy'):
    speakers = pickle.load(io.BytesIO(blob))
    return torch.tensor([speakers[n][entry] for n in names])


def build():
    return Tacotron2()


def step(model):
    xs, ys = torch.randint(1, 40, (3, 13)), torch.randn(3, 6, 20)
    spembs = load_speaker_vectors(write_speakers(), ['p225', 'p226', 'p225'])
    feats, stops = model(xs, ys, spembs)
    stop_target = F.one_hot(torch.full((3,), 5), 6).float()
    return F.l1_loss(feats, ys) + F.binary_cross_entropy_with_logits(stops, stop_target)


# real fix: the x-vector of the speaker has to be given (64 numbers), not a feature of the recording
# offending tensor: spembs (3, 193), after cat hs (3, 13, 225) where 96 are needed
TRUTH = dict(raises='RuntimeError', at='module:att.mlp_enc', culprits=['input', 'function:expand', 'function:normalize', 'function:cat', 'function:unsqueeze'], dim=2, got=225, wanted=96,
             hint_any=['spemb', 'input', '193', '64', 'cat'])
MENDED = [("entry='log_energy'", "entry='xvector'")]
