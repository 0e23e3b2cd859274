import random

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/QwenAudio/CosyVoice/issues/1350'
CATEGORY = 'layer'
DESCRIPTION = 'CosyVoice flow: speech tokens upsampled by token_mel_ratio give 50 frames, the mel spectrogram of the utterance has 51; the removed interpolate of the mel used to hide it.'


def make_pad_mask(lengths, max_len):
    return torch.arange(max_len)[None] >= lengths[:, None]


class UpsampleConformerEncoder(nn.Module):
    def __init__(self, dim, ratio):
        super().__init__()
        self.ratio = ratio
        self.pre = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0., batch_first=True)
        self.up = nn.Conv1d(dim, dim, 5, padding=2)
        self.post = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0., batch_first=True)

    def forward(self, xs, xs_lens):
        xs = self.pre(xs, src_key_padding_mask=make_pad_mask(xs_lens, xs.shape[1]))
        xs = F.interpolate(xs.transpose(1, 2), scale_factor=float(self.ratio), mode='nearest')
        xs = self.up(xs).transpose(1, 2)
        return self.post(xs), xs_lens * self.ratio


class ConditionalDecoder(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.time_mlp = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 32))
        self.block1 = nn.Conv1d(in_channels, 32, 3, padding=1)
        self.block2 = nn.Conv1d(32, out_channels, 3, padding=1)

    def forward(self, x, mask, mu, t, spks, cond):
        t = self.time_mlp(t[:, None])
        x = torch.cat([x, mu], dim=1)
        x = torch.cat([x, spks[:, :, None].expand(-1, -1, x.shape[-1])], dim=1)
        x = torch.cat([x, cond], dim=1)
        h = F.mish(self.block1(x * mask)) + t[:, :, None]
        return self.block2(h * mask) * mask


class ConditionalCFM(nn.Module):
    def __init__(self, n_feats, spk_dim, sigma_min=1e-6):
        super().__init__()
        self.sigma_min = sigma_min
        self.estimator = ConditionalDecoder(3 * n_feats + spk_dim, n_feats)

    def compute_loss(self, x1, mask, mu, spks, cond):
        t = 1 - torch.cos(torch.rand([mu.shape[0], 1, 1]) * 0.5 * torch.pi)
        z = torch.randn_like(x1)
        y = (1 - (1 - self.sigma_min) * t) * z + t * x1
        u = x1 - (1 - self.sigma_min) * z
        pred = self.estimator(y, mask, mu, t.flatten(), spks, cond)
        return F.mse_loss(pred * mask, u * mask, reduction='sum') / (torch.sum(mask) * u.shape[1])


class CausalMaskedDiffWithXvec(nn.Module):
    def __init__(self, dim=24, output_size=20, spk_embed_dim=10, vocab_size=50, token_mel_ratio=2):
        super().__init__()
        self.input_embedding = nn.Embedding(vocab_size, dim)
        self.spk_embed_affine_layer = nn.Linear(spk_embed_dim, output_size)
        self.encoder = UpsampleConformerEncoder(dim, token_mel_ratio)
        self.encoder_proj = nn.Linear(dim, output_size)
        self.decoder = ConditionalCFM(output_size, output_size)

    def forward(self, batch):
        token, token_len = batch['speech_token'], batch['speech_token_len']
        feat, feat_len = batch['speech_feat'], batch['speech_feat_len']
        embedding = self.spk_embed_affine_layer(F.normalize(batch['embedding'], dim=1))
        mask = (~make_pad_mask(token_len, token.shape[1])).float().unsqueeze(-1)
        token = self.input_embedding(token) * mask
        h, h_lengths = self.encoder(token, token_len)
        h = self.encoder_proj(h)
        conds = torch.zeros(feat.shape)
        for i, j in enumerate(feat_len):
            if i % 2 == 0:
                continue
            index = random.randint(0, int(0.3 * j))
            conds[i, :index] = feat[i, :index]
        conds = conds.transpose(1, 2)
        mask = (~make_pad_mask(h_lengths, h.shape[1])).float()
        return self.decoder.compute_loss(feat.transpose(1, 2).contiguous(), mask.unsqueeze(1), h.transpose(1, 2).contiguous(), embedding, conds)


def padding(utterances, hop=480, token_hop=960):
    tokens = [torch.randint(0, 50, (n // token_hop,)) for n in utterances]
    feats = [torch.randn(n // hop, 20) for n in utterances]
    pad = lambda xs: nn.utils.rnn.pad_sequence(xs, batch_first=True)
    return dict(speech_token=pad(tokens), speech_token_len=torch.tensor([len(t) for t in tokens]),
                speech_feat=pad(feats), speech_feat_len=torch.tensor([len(f) for f in feats]), embedding=torch.randn(len(utterances), 10))


def build():
    return CausalMaskedDiffWithXvec()


def step(model):
    return model(padding([24600, 19200, 15000, 21100]))


# real fix: trim tokens and mel in the data pipeline so that len(mel) == 2 * len(token), or put back feat = F.interpolate(feat, size=h.shape[1:])
# noisy mel (4, 20, 51) with mu (4, 20, 50)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['input', 'function:pad_sequence'], dim=2, got=50, wanted=51,
             hint_any=['trim', 'crop', 'interpolate', 'length', 'frame', '51', 'pad'])
MENDED = [('feat, feat_len = batch[\'speech_feat\'], batch[\'speech_feat_len\']',
           'feat, feat_len = batch[\'speech_feat\'][:, :2 * token.shape[1]], batch[\'speech_feat_len\'].clamp(max=2 * token.shape[1])')]
