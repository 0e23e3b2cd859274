import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/DiffPoseTalk/DiffPoseTalk/issues/20'
CATEGORY = 'silent'
DESCRIPTION = 'pe[:, x.shape[1], :] lacks a colon: it is the one encoding of position T, (1, D), added to every frame.'


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=600):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        pe = torch.zeros(max_len, d_model)
        position = torch.arange(0, max_len, dtype=torch.float).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model))
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)
        self.register_buffer('pe', pe.unsqueeze(0))

    def forward(self, x):
        x = x + self.pe[:, x.shape[1], :]
        return self.dropout(x)


def enc_dec_mask(T, S, frame_width=2):
    mask = torch.ones(T, S)
    for i in range(T):
        mask[i, i * frame_width:(i + 1) * frame_width] = 0
    return mask == 1


class DenoisingNetwork(nn.Module):
    def __init__(self, motion_dim=20, audio_dim=24, style_dim=8, feature_dim=32, n_prev=4, n_motions=12, n_steps=100):
        super().__init__()
        self.n_prev, self.n_motions = n_prev, n_motions
        self.TE = PositionalEncoding(feature_dim, dropout=0., max_len=n_steps + 1)
        self.diff_step_map = nn.Sequential(nn.Linear(feature_dim, feature_dim), nn.GELU(), nn.Linear(feature_dim, feature_dim))
        self.person_proj = nn.Linear(style_dim, feature_dim)
        self.feature_proj = nn.Linear(motion_dim, feature_dim)
        self.audio_proj = nn.Linear(audio_dim, feature_dim)
        self.PE = PositionalEncoding(feature_dim, dropout=0.)
        layer = nn.TransformerDecoderLayer(feature_dim, 4, 64, dropout=0., activation='gelu', batch_first=True)
        self.transformer = nn.TransformerDecoder(layer, num_layers=2)
        self.motion_dec = nn.Linear(feature_dim, motion_dim)

    def forward(self, motion_feat, audio_feat, style_feat, prev_motion_feat, prev_audio_feat, step):
        step_emb = self.diff_step_map(self.TE.pe[0, step]).unsqueeze(1)
        person_feat = self.person_proj(style_feat).unsqueeze(1) + step_emb
        audio_feat = self.audio_proj(torch.cat([prev_audio_feat, audio_feat], dim=1))
        feats_in = self.feature_proj(torch.cat([prev_motion_feat, motion_feat], dim=1))
        feats_in = self.PE(torch.cat([person_feat, feats_in], dim=1))
        memory_mask = enc_dec_mask(self.n_prev + self.n_motions, audio_feat.shape[1], 1)
        memory_mask = torch.cat([torch.zeros(1, memory_mask.shape[1], dtype=torch.bool), memory_mask], dim=0)
        feat_out = self.transformer(feats_in, audio_feat, memory_mask=memory_mask)
        return self.motion_dec(feat_out)[:, -self.n_motions:]


class DiffTalkingHead(nn.Module):
    def __init__(self, n_steps=100):
        super().__init__()
        self.denoising_net = DenoisingNetwork(n_steps=n_steps)
        self.n_steps = n_steps
        self.register_buffer('alpha_bars', torch.cumprod(1 - torch.linspace(1e-4, 0.02, n_steps + 1), 0))

    def forward(self, motion, audio, style, prev_motion, prev_audio):
        step = torch.randint(1, self.n_steps + 1, (motion.shape[0],))
        alpha_bar = self.alpha_bars[step].view(-1, 1, 1)
        motion_noisy = alpha_bar.sqrt() * motion + (1 - alpha_bar).sqrt() * torch.randn_like(motion)
        return self.denoising_net(motion_noisy, audio, style, prev_motion, prev_audio, step)


def build():
    return DiffTalkingHead()


def step(model):
    motion, audio = torch.randn(4, 16, 20), torch.randn(4, 16, 24)
    target = model(motion[:, 4:], audio[:, 4:], torch.randn(4, 8), motion[:, :4], audio[:, :4])
    vel = F.mse_loss(target[:, 1:] - target[:, :-1], motion[:, 5:] - motion[:, 4:-1])
    return F.mse_loss(target, motion[:, 4:]) + vel


# real fix: self.pe[:, :x.shape[1], :]
TRUTH = dict(raises=None, at='function:add', culprits=['function:getitem', 'function:add', 'denoising_net.PE'], dim=None, got=None, wanted=17,
             hint_any=[':x.shape', 'slice', 'every position', 'broadcast', 'position', 'colon'])
MENDED = [('self.pe[:, x.shape[1], :]', 'self.pe[:, :x.shape[1], :]')]
