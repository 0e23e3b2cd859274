import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

SOURCE = 'https://github.com/jeremyfix/deeplearning-lectures/issues/22'
CATEGORY = 'silent'
DESCRIPTION = 'Speech recognition with CTC: the raw outputs of the last linear layer are given to CTCLoss, the line with log_softmax was commented out.'


class CharMap:
    equalized = 'abcdefghijklmnopqrstuvwxyz '

    def __init__(self):
        self.chars = ['<blank>', '<sos>', '<eos>'] + list(self.equalized)
        self.blankid = 0

    @property
    def vocab_size(self):
        return len(self.chars)

    def encode(self, text):
        return torch.tensor([1] + [self.chars.index(c) for c in text] + [2])


class CTCModel(nn.Module):
    def __init__(self, charmap, n_mels, nhidden_rnn, nlayers_rnn, dropout):
        super().__init__()
        self.charmap = charmap
        self.batch_norm = nn.BatchNorm1d(n_mels)
        self.rnn = nn.LSTM(n_mels, nhidden_rnn, num_layers=nlayers_rnn, bidirectional=True, dropout=dropout)
        self.charlin = nn.Sequential(
            nn.Linear(2 * nhidden_rnn, nhidden_rnn), nn.LayerNorm(nhidden_rnn), nn.ReLU(),
            nn.Linear(nhidden_rnn, charmap.vocab_size))

    def forward(self, inputs):
        unpacked_inputs, lens_inputs = pad_packed_sequence(inputs)
        out = self.batch_norm(unpacked_inputs.permute(1, 2, 0)).permute(2, 0, 1)
        out, _ = self.rnn(pack_padded_sequence(out, lens_inputs))
        unpacked_out, lens_out = pad_packed_sequence(out)
        return pack_padded_sequence(self.charlin(unpacked_out), lens_out)


def wrap_ctc_args(packed_predictions, packed_targets):
    unpacked_predictions, lens_predictions = pad_packed_sequence(packed_predictions)  # T, B, vocab_size
    unpacked_targets, lens_targets = pad_packed_sequence(packed_targets)  # T, B
    unpacked_targets = unpacked_targets.transpose(0, 1)  # B, T
    return unpacked_predictions, unpacked_targets, lens_predictions, lens_targets


class BatchCollate:
    def __init__(self, charmap):
        self.charmap = charmap

    def __call__(self, batch):
        batch = sorted(batch, key=lambda item: len(item[0]), reverse=True)
        spectros = pack_sequence([spectro for spectro, _ in batch])
        transcripts = pack_sequence([self.charmap.encode(text) for _, text in batch], enforce_sorted=False)
        return spectros, transcripts


class Corpus(torch.utils.data.Dataset):
    texts = ['bonjour', 'le chat', 'merci', 'a demain', 'oui', 'la mer', 'il pleut', 'non']

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, i):
        return torch.randn(4 * len(self.texts[i]) + 6, 20), self.texts[i]


def build():
    return CTCModel(CharMap(), n_mels=20, nhidden_rnn=24, nlayers_rnn=2, dropout=0.1)


def step(model):
    charmap = CharMap()
    loader = torch.utils.data.DataLoader(Corpus(), batch_size=8, collate_fn=BatchCollate(charmap))
    baseloss = nn.CTCLoss(blank=charmap.blankid, reduction='mean', zero_infinity=True)
    loss = lambda *params: baseloss(*wrap_ctc_args(*params))
    inputs, targets = next(iter(loader))
    predictions = model(inputs)
    return loss(predictions, targets)


# real fix: unpacked_predictions.log_softmax(dim=2) in wrap_ctc_args
TRUTH = dict(raises=None, at='loss:ctc_loss', culprits=['charlin', 'charlin.3', 'function:ctc_loss'], dim=None, got=None, wanted=None,
             hint_any=['log_softmax', 'log-probabilit', 'log probabilit', 'logits', 'normali'])
MENDED = [('return unpacked_predictions, unpacked_targets,', 'return unpacked_predictions.log_softmax(dim=2), unpacked_targets,')]
