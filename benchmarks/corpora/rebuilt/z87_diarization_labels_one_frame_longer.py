from itertools import permutations

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/espnet/espnet/pull/3957'
CATEGORY = 'loss'
DESCRIPTION = ('Diarization encoder with a conv2d input layer (stride 2 twice, no padding): 100 frames give 24, the label '
               'aggregator pads and counts 25.')


class Conv2dSubsampling(nn.Module):
    def __init__(self, idim, odim):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, odim, 3, 2), nn.ReLU(), nn.Conv2d(odim, odim, 3, 2), nn.ReLU())
        self.out = nn.Linear(odim * (((idim - 1) // 2 - 1) // 2), odim)

    def forward(self, x, lengths):
        x = self.conv(x.unsqueeze(1))
        b, c, t, f = x.size()
        lengths = ((lengths - 1) // 2 - 1) // 2
        return self.out(x.transpose(1, 2).reshape(b, t, c * f)), lengths


class TransformerEncoder(nn.Module):
    def __init__(self, input_size, output_size=16, attention_heads=4, num_blocks=2):
        super().__init__()
        self.embed = Conv2dSubsampling(input_size, output_size)
        self.encoders = nn.ModuleList([nn.TransformerEncoderLayer(output_size, attention_heads, 32, batch_first=True)
                                       for _ in range(num_blocks)])
        self.after_norm = nn.LayerNorm(output_size)

    def forward(self, feats, lengths):
        x, olens = self.embed(feats, lengths)
        pad = torch.arange(x.size(1))[None] >= olens[:, None]
        for block in self.encoders:
            x = block(x, src_key_padding_mask=pad)
        return self.after_norm(x), olens


class LabelAggregate(nn.Module):
    """majority vote of the frame labels inside each window"""

    def __init__(self, win_length, hop_length):
        super().__init__()
        self.win_length, self.hop_length = win_length, hop_length

    def forward(self, labels, lengths):
        pad = (self.win_length - self.hop_length + 1) // 2
        labels = F.pad(labels.transpose(1, 2), (pad, pad), 'constant', 0)
        windows = labels.unfold(2, self.win_length, self.hop_length)
        agg = (windows.sum(dim=3) > self.win_length // 2).float()
        return agg.transpose(1, 2), (lengths + 2 * pad - self.win_length) // self.hop_length + 1


class ESPnetDiarizationModel(nn.Module):
    def __init__(self, n_mels=12, num_spk=2):
        super().__init__()
        self.encoder = TransformerEncoder(n_mels)
        self.decoder = nn.Linear(16, num_spk)
        self.label_aggregator = LabelAggregate(win_length=8, hop_length=4)

    def forward(self, feats, lengths, spk_labels, spk_lengths):
        encoder_out, olens = self.encoder(feats, lengths)
        pred = self.decoder(encoder_out)
        spk_labels, spk_lengths = self.label_aggregator(spk_labels, spk_lengths)
        return self.pit_loss(pred, spk_labels, olens)

    def pit_loss_single_permute(self, pred, label, length):
        bce_loss = nn.BCEWithLogitsLoss(reduction='none')
        mask = (torch.arange(label.size(1))[None] < length[:, None]).unsqueeze(2).float()
        loss = bce_loss(pred, label) * mask
        return loss.mean(dim=2).sum(dim=1, keepdim=True)

    def pit_loss(self, pred, label, lengths):
        losses = [self.pit_loss_single_permute(pred, label[:, :, list(p)], lengths) for p in permutations(range(label.size(2)))]
        min_loss, _ = torch.cat(losses, dim=1).min(dim=1)
        return min_loss.sum() / lengths.sum()


def build():
    return ESPnetDiarizationModel()


def step(model):
    lengths = torch.tensor([100, 88])
    return model(torch.randn(2, 100, 12), lengths, torch.randint(0, 2, (2, 100, 2)).float(), lengths)


# the fix: spk_labels = spk_labels[:, :pred.shape[1], :]
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits',
             culprits=['target', 'label_aggregator', 'function:pad', 'function:unfold', 'encoder.embed', 'encoder.embed.conv',
                       'encoder.embed.conv.0', 'encoder.embed.conv.2'], dim=1, got=25, wanted=24,
             hint_any=['label_aggregator', 'frames', 'subsampl', 'stride', 'unfold'])
MENDED = [('        return self.pit_loss(pred, spk_labels, olens)',
           '        return self.pit_loss(pred, spk_labels[:, :pred.shape[1]], olens)')]
