import functools

import torch
import torch.nn as nn

SOURCE = 'https://github.com/speechbrain/speechbrain/pull/548'
CATEGORY = 'loss'
DESCRIPTION = 'The bce_loss of a toolkit transposes 3-d predictions (batch, time, label) as nll needs it, but not the targets.'


def length_to_mask(length, max_len):
    return (torch.arange(max_len)[None, :] < length[:, None]).float()


def truncate(predictions, targets, allowed_len_diff=3):
    len_diff = predictions.shape[1] - targets.shape[1]
    if len_diff == 0:
        return predictions, targets
    if abs(len_diff) > allowed_len_diff:
        raise ValueError('Predictions and targets should be same length, but got %s and %s' % (predictions.shape[1], targets.shape[1]))
    if len_diff < 0:
        return predictions, targets[:, :predictions.shape[1]]
    return predictions[:, :targets.shape[1]], targets


def compute_masked_loss(loss_fn, predictions, targets, length=None):
    mask = torch.ones_like(targets)
    if length is not None:
        mask = length_to_mask(length * targets.shape[1], targets.shape[1])
        if targets.dim() == 3:
            mask = mask.unsqueeze(2).repeat(1, 1, targets.shape[2])
    loss = loss_fn(predictions, targets) * mask
    return loss.sum() / mask.sum()


def bce_loss(inputs, targets, length=None, weight=None, pos_weight=None, allowed_len_diff=3):
    if len(inputs.shape) == 3:
        inputs, targets = truncate(inputs, targets, allowed_len_diff)
        inputs = inputs.transpose(1, -1)
    elif length is not None:
        raise ValueError('length can be passed only for >= 2D inputs.')
    loss = functools.partial(nn.functional.binary_cross_entropy_with_logits, weight=weight, pos_weight=pos_weight, reduction='none')
    return compute_masked_loss(loss, inputs, targets.float(), length)


class CRDNN(nn.Module):
    def __init__(self, n_mels, n_labels, channels=16, hidden=32):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.LeakyReLU(), nn.MaxPool2d((1, 2)))
        self.rnn = nn.GRU(channels * (n_mels // 2), hidden, batch_first=True, bidirectional=True)
        self.dnn = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU())
        self.output = nn.Linear(hidden, n_labels)

    def forward(self, feats):
        x = self.cnn(feats.unsqueeze(1)).permute(0, 2, 1, 3).flatten(2)
        x, _ = self.rnn(x)
        linear, norm, act = self.dnn
        x = act(norm(linear(x).transpose(1, 2)).transpose(1, 2))
        return self.output(x)


class EventBrain(nn.Module):
    def __init__(self, hparams):
        super().__init__()
        self.hparams = hparams
        self.model = CRDNN(hparams['n_mels'], hparams['n_labels'])

    def compute_objectives(self, predictions, batch):
        return bce_loss(predictions, batch['target'], length=batch['lens'])

    def fit_batch(self, batch):
        return self.compute_objectives(self.model(batch['feats']), batch)


def build():
    return EventBrain(dict(n_mels=16, n_labels=10))


def step(model):
    batch = dict(feats=torch.randn(8, 50, 16), target=torch.randint(0, 2, (8, 50, 10)), lens=torch.linspace(0.5, 1, 8))
    return model.fit_batch(batch)


# real fix: no transpose in bce_loss
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['function:transpose'], dim=1, got=10, wanted=50,
             hint_any=['transpose', '50'])
MENDED = [('        inputs = inputs.transpose(1, -1)\n', '')]
