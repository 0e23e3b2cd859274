import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

SOURCE = 'https://github.com/thu-spmi/CAT/issues/22'
CATEGORY = 'loss'
DESCRIPTION = 'A VGG front end quarters the number of frames, the CTC loss is still given the lengths of the unsubsampled utterances.'


class VGG2L(nn.Module):
    def __init__(self, in_channel=1):
        super().__init__()
        self.conv1_1 = nn.Conv2d(in_channel, 8, 3, padding=1)
        self.conv1_2 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv2_1 = nn.Conv2d(8, 16, 3, padding=1)
        self.conv2_2 = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x):
        x = x[:, None]
        x = F.relu(self.conv1_2(F.relu(self.conv1_1(x))))
        x = F.max_pool2d(x, 2, stride=2, ceil_mode=True)
        x = F.relu(self.conv2_2(F.relu(self.conv2_1(x))))
        x = F.max_pool2d(x, 2, stride=2, ceil_mode=True)
        batch, channels, time, bins = x.shape
        return x.transpose(1, 2).reshape(batch, time, channels * bins)


class VGGBLSTM(nn.Module):
    def __init__(self, idim, hdim, n_layers, num_classes):
        super().__init__()
        self.vgg = VGG2L()
        self.lstm = nn.LSTM(16 * (-(-idim // 4)), hdim, n_layers, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(hdim * 2, num_classes)

    def forward(self, logits, input_lengths):
        out, _ = self.lstm(self.vgg(logits))
        return self.linear(out), input_lengths


class Model(nn.Module):
    def __init__(self, idim=40, hdim=32, n_layers=2, num_classes=30):
        super().__init__()
        self.infer = VGGBLSTM(idim, hdim, n_layers, num_classes)

    def forward(self, logits, labels, input_lengths, label_lengths):
        netout, lengths = self.infer(logits, input_lengths)
        netout = torch.log_softmax(netout, dim=2)
        return F.ctc_loss(netout.transpose(0, 1), labels, lengths, label_lengths, zero_infinity=True)


class SpeechDataset:
    def __init__(self, frames, tokens, num_classes=30):
        self.utterances = [(torch.randn(t, 40), torch.randint(1, num_classes, (n,))) for t, n in zip(frames, tokens)]

    def __getitem__(self, index):
        return self.utterances[index]

    def __len__(self):
        return len(self.utterances)


def pad_collate(batch):
    batch = sorted(batch, key=lambda item: len(item[0]), reverse=True)
    mats, labels = zip(*batch)
    input_lengths = torch.tensor([len(m) for m in mats])
    label_lengths = torch.tensor([len(l) for l in labels])
    return pad_sequence(mats, batch_first=True), torch.cat(labels), input_lengths, label_lengths


def build():
    return Model()


def step(model):
    dataset = SpeechDataset(frames=[132, 116, 128, 77], tokens=[12, 10, 14, 6])
    logits, labels, input_lengths, label_lengths = pad_collate([dataset[i] for i in range(len(dataset))])
    return model(logits, labels, input_lengths, label_lengths)


# real fix: subsample the lengths as well, (input_lengths + 3) // 4 for the two poolings with ceil_mode
# offending tensor: input_lengths up to 132, log_probs (33, 4, 30)
TRUTH = dict(raises='RuntimeError', at='loss:ctc_loss', culprits=['input', 'infer', ''], dim=None, got=132, wanted=33,
             hint_any=['length', 'subsampl', 'pool', '132'])
MENDED = [('return self.linear(out), input_lengths', 'return self.linear(out), (input_lengths + 3) // 4')]
