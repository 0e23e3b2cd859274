import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/sh-lee-prml/HierSpeechpp/issues/57 (cause decided: the loader keeps 201 phonemes and passes the length before the cut)'
CATEGORY = 'loss'
DESCRIPTION = 'Text to speech: speech units are predicted from text; the phonemes must be readable again from the units.'


class AudioDataset:
    """every item is brought to a fixed size, the true lengths travel along"""

    def __init__(self, max_length=600, max_text=201, n_units=32):
        self.max_length, self.max_text, self.n_units = max_length, max_text, n_units
        self.items = [(480, 160), (590, 209), (400, 120), (510, 170)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        g = torch.Generator().manual_seed(index)
        n_frames, n_phonemes = self.items[index]
        w2v = torch.zeros(self.n_units, self.max_length)
        w2v[:, :n_frames] = torch.randn(self.n_units, n_frames, generator=g)
        phonemes = torch.randint(1, 100, (n_phonemes,), generator=g)
        text_for_ctc = torch.zeros(self.max_text, dtype=torch.long)
        text_for_ctc[:n_phonemes] = phonemes[:self.max_text]
        return w2v, torch.LongTensor([n_frames]), text_for_ctc, torch.LongTensor([n_phonemes])


class PhonemePredictor(nn.Module):
    def __init__(self, in_dim, hidden, n_phonemes):
        super().__init__()
        self.pre = nn.Conv1d(in_dim, hidden, 3, padding=1)
        self.conv = nn.Conv1d(hidden, hidden, 5, padding=2)
        self.phoneme_predictor = nn.Conv1d(hidden, n_phonemes, 1)

    def forward(self, x, mask):
        x = F.relu(self.pre(x * mask))
        x = x + F.relu(self.conv(x * mask))
        return self.phoneme_predictor(x * mask)


class SynthesizerTrn(nn.Module):
    def __init__(self, n_units=32, hidden=32, n_symbols=101):
        super().__init__()
        self.posterior = nn.Conv1d(n_units, hidden, 3, padding=1)
        self.decoder = nn.Conv1d(hidden, n_units, 3, padding=1)
        self.predictor = PhonemePredictor(hidden, hidden, n_symbols)

    def forward(self, w2v, length):
        mask = (torch.arange(w2v.size(2)) < length[:, None]).float().unsqueeze(1)
        z = self.posterior(w2v) * mask
        return self.decoder(z) * mask, mask, self.predictor(z, mask)


def build():
    torch.manual_seed(0)
    return SynthesizerTrn()


def step(model):
    dataset = AudioDataset()
    w2v, length, text_for_ctc, text_ctc_length = [torch.stack(t) for t in zip(*(dataset[i] for i in range(len(dataset))))]
    length = length.squeeze()
    max_len = length.max()
    w2v = w2v[:, :, :max_len]
    text_ctc_length = text_ctc_length.squeeze()
    max_text_ctc_length = text_ctc_length.max()
    text_for_ctc = text_for_ctc[:, :max_text_ctc_length]

    w2v_predicted, mask, phoneme_predicted = model(w2v, length)
    loss_w2v = torch.sum(torch.abs(w2v - w2v_predicted * mask)) / (torch.sum(mask) * w2v.size(1))
    phoneme_predicted = phoneme_predicted.permute(2, 0, 1).log_softmax(2)
    loss_phoneme_prediction = F.ctc_loss(phoneme_predicted, text_for_ctc, length, text_ctc_length)
    return loss_w2v + loss_phoneme_prediction


TRUTH = dict(raises='RuntimeError', at='function:ctc_loss', culprits=['target', 'function:ctc_loss', 'function:zeros'], dim=1, got=201, wanted=209,
             hint_any=['209', '201', 'target_lengths', 'length', 'padded'])
MENDED = [('text_for_ctc = torch.zeros(self.max_text, dtype=torch.long)', 'text_for_ctc = torch.zeros(self.max_length, dtype=torch.long)'),
          ('text_for_ctc[:n_phonemes] = phonemes[:self.max_text]', 'text_for_ctc[:n_phonemes] = phonemes')]
