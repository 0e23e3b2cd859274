from types import SimpleNamespace

import torch
import torch.nn as nn
from torch.nn import functional

SOURCE = 'https://github.com/coqui-ai/TTS/issues/374 (the loss that fails is that of the traceback; the rest is reconstructed)'
CATEGORY = 'loss'
DESCRIPTION = 'Tacotron (the postnet gives linear spectrograms): the criterion picks the linear target for the postnet loss, the newer difference loss of the postnet takes the mel as for Tacotron2.'

CONFIG = SimpleNamespace(model='Tacotron', num_mels=80, num_freq=513, num_chars=50, r=5, stopnet_pos_weight=10.0,
                         decoder_loss_alpha=0.5, postnet_loss_alpha=0.25, decoder_diff_spec_alpha=0.25, postnet_diff_spec_alpha=0.25)


def sequence_mask(lengths, max_len):
    return torch.arange(max_len)[None, :] < lengths[:, None]


class L1LossMasked(nn.Module):
    def forward(self, x, target, length):
        mask = sequence_mask(length, target.size(1)).unsqueeze(2).float()
        mask = mask.expand_as(target)
        loss = functional.l1_loss(x * mask[..., :1], target * mask, reduction='sum')
        return loss / mask.sum()


class DifferentialSpectralLoss(nn.Module):
    def __init__(self, loss_func):
        super().__init__()
        self.loss_func = loss_func

    def forward(self, x, target, length):
        x_diff = x[:, 1:] - x[:, :-1]
        target_diff = target[:, 1:] - target[:, :-1]
        return self.loss_func(x_diff, target_diff, length - 1)


class TacotronLoss(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        self.criterion = L1LossMasked()
        self.criterion_diff_spec = DifferentialSpectralLoss(loss_func=self.criterion)
        self.criterion_st = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(c.stopnet_pos_weight))

    def forward(self, postnet_output, decoder_output, mel_input, linear_input, stopnet_output, stopnet_target, output_lens):
        c, return_dict = self.config, {}
        decoder_loss = self.criterion(decoder_output, mel_input, output_lens)
        if c.model in ('Tacotron', 'TacotronGST'):
            postnet_loss = self.criterion(postnet_output, linear_input, output_lens)
        else:
            postnet_loss = self.criterion(postnet_output, mel_input, output_lens)
        loss = c.decoder_loss_alpha * decoder_loss + c.postnet_loss_alpha * postnet_loss
        stop_loss = self.criterion_st(stopnet_output, stopnet_target)
        loss = loss + stop_loss
        if c.decoder_diff_spec_alpha > 0:
            decoder_diff_spec_loss = self.criterion_diff_spec(decoder_output, mel_input, output_lens)
            loss = loss + c.decoder_diff_spec_alpha * decoder_diff_spec_loss
        if c.postnet_diff_spec_alpha > 0:
            postnet_diff_spec_loss = self.criterion_diff_spec(postnet_output, mel_input, output_lens)
            loss = loss + c.postnet_diff_spec_alpha * postnet_diff_spec_loss
        return_dict.update(loss=loss, decoder_loss=decoder_loss, postnet_loss=postnet_loss, stopnet_loss=stop_loss)
        return return_dict


class PostCBHG(nn.Module):
    def __init__(self, mel_dim):
        super().__init__()
        self.bank = nn.ModuleList(nn.Conv1d(mel_dim, 16, k, padding=k // 2) for k in (1, 3, 5))
        self.bn, self.proj = nn.BatchNorm1d(48), nn.Conv1d(48, mel_dim, 3, padding=1)
        self.gru = nn.GRU(mel_dim, 32, batch_first=True, bidirectional=True)

    def forward(self, mels):
        x = mels.transpose(1, 2)
        x = self.proj(self.bn(torch.relu(torch.cat([conv(x) for conv in self.bank], dim=1))))
        return self.gru(x.transpose(1, 2) + mels)[0]


class Tacotron(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.r, self.num_mels = c.r, c.num_mels
        self.embedding = nn.Embedding(c.num_chars, 32)
        self.encoder = nn.GRU(32, 32, batch_first=True, bidirectional=True)
        self.prenet = nn.Sequential(nn.Linear(c.num_mels, 64), nn.ReLU(), nn.Dropout(0.5))
        self.attention = nn.MultiheadAttention(64, 1, batch_first=True)
        self.decoder_rnn = nn.GRU(128, 64, batch_first=True)
        self.proj_to_mel = nn.Linear(64, c.num_mels * c.r)
        self.stopnet = nn.Linear(64, 1)
        self.postnet = PostCBHG(c.num_mels)
        self.last_linear = nn.Linear(64, c.num_freq)

    def forward(self, characters, mel_specs):
        memory, _ = self.encoder(self.embedding(characters))
        frames = mel_specs[:, self.r - 1::self.r]
        query = self.prenet(functional.pad(frames[:, :-1], (0, 0, 1, 0)))
        context, alignments = self.attention(query, memory, memory)
        hidden, _ = self.decoder_rnn(torch.cat([query, context], dim=-1))
        decoder_outputs = self.proj_to_mel(hidden).reshape(len(characters), -1, self.num_mels)
        postnet_outputs = self.last_linear(self.postnet(decoder_outputs))
        return decoder_outputs, postnet_outputs, alignments, self.stopnet(hidden).squeeze(-1)


def build():
    return Tacotron(CONFIG)


def format_data(batch, r):
    text, mel, linear, lens = batch
    stop = (~sequence_mask(lens, mel.size(1))).float()
    stop = (stop.view(len(text), mel.size(1) // r, -1).sum(2) > 0).float()
    return text, mel, linear, lens, stop


def step(model):
    batch = torch.randint(0, 50, (8, 30)), torch.rand(8, 90, 80), torch.rand(8, 90, 513), torch.tensor([90, 85, 80, 71, 66, 60, 52, 41])
    text, mel, linear, lens, stop = format_data(batch, CONFIG.r)
    decoder_output, postnet_output, _, stopnet_output = model(text, mel)
    return TacotronLoss(CONFIG)(postnet_output, decoder_output, mel, linear, stopnet_output, stop, lens)['loss']


# real fix: the linear spectrogram is the target of the postnet in every loss: criterion_diff_spec(postnet_output, linear_input, ...) for Tacotron
# offending tensor: target_diff (8, 89, 80), x_diff is (8, 89, 513)
TRUTH = dict(raises='RuntimeError', at='loss:l1_loss', culprits=['target', 'last_linear'], dim=2, got=80, wanted=513,
             hint_any=['target', 'mel', 'linear'])
MENDED = [('self.criterion_diff_spec(postnet_output, mel_input, output_lens)', 'self.criterion_diff_spec(postnet_output, linear_input, output_lens)')]
