import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence, pack_padded_sequence, pad_packed_sequence

SOURCE = 'https://github.com/thu-spmi/CAT/issues/22 (comments of 2020-07-30: a down-sampling front end was put before the BLSTM)'
CATEGORY = 'loss'
DESCRIPTION = 'A down-sampling front end (4x) was put before the acoustic BLSTM; the frame counts of the data loader still go to the CTC loss.'


class VGG2L(nn.Module):
    def __init__(self, in_channel=1):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(in_channel, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True))
        self.block2 = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True))

    def forward(self, x):
        x = self.block2(self.block1(x.unsqueeze(1)))
        return x.transpose(1, 2).flatten(2)


class BLSTM(nn.Module):
    def __init__(self, idim, hdim, n_layers, dropout):
        super().__init__()
        self.lstm = nn.LSTM(idim, hdim, n_layers, bidirectional=True, batch_first=True, dropout=dropout)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, _ = self.lstm(packed)
        return pad_packed_sequence(out, batch_first=True)[0]


class VGGBLSTM(nn.Module):
    def __init__(self, idim=40, hdim=32, n_layers=2, num_classes=72, dropout=0.2):
        super().__init__()
        self.vgg = VGG2L()
        self.norm = nn.LayerNorm(16 * 10)
        self.blstm = BLSTM(16 * 10, hdim, n_layers, dropout)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * hdim, num_classes)

    def forward(self, logits, input_lengths):
        x = self.norm(self.vgg(logits))
        reduced = [-(-n // 4) for n in input_lengths.tolist()]
        x = self.blstm(x, reduced)
        return F.log_softmax(self.linear(self.dropout(x)), dim=-1)


class CTCTrainer(nn.Module):
    def __init__(self, model, blank=0, label_smoothing=0.05):
        super().__init__()
        self.infer, self.blank, self.smooth = model, blank, label_smoothing

    def forward(self, logits, labels, input_lengths, label_lengths):
        netout = self.infer(logits, input_lengths)
        uniform = -netout.mean()
        netout = netout.transpose(0, 1)
        loss = F.ctc_loss(netout, labels, input_lengths, label_lengths, blank=self.blank, reduction='sum', zero_infinity=True)
        return (1 - self.smooth) * loss / len(label_lengths) + self.smooth * uniform


def collate(batch):
    batch = sorted(batch, key=lambda item: item[0].size(0), reverse=True)
    mats = pad_sequence([mat for mat, _ in batch], batch_first=True)
    labels = torch.cat([label for _, label in batch])
    return mats, labels, torch.tensor([len(mat) for mat, _ in batch]), torch.tensor([len(label) for _, label in batch])


def build():
    return CTCTrainer(VGGBLSTM())


def step(model):
    frames, phones = (131, 128, 116, 113, 104, 97, 83, 77), (21, 24, 15, 10, 19, 13, 7, 6)
    batch = [(torch.randn(n, 40), torch.randint(1, 72, (m,))) for n, m in zip(frames, phones)]
    return model(*collate(batch))


# real fix: the lengths have to be reduced with the frames, (input_lengths + 3) // 4 for the loss
# offending tensor: input_lengths (maximum 131), the network gives 33 frames
TRUTH = dict(raises='RuntimeError', at='loss:ctc_loss', culprits=['input', 'infer.vgg', 'infer.vgg.block1.4', 'infer.vgg.block2.4', 'target'], dim=0, got=33, wanted=131,
             hint_any=['input_lengths', 'length', 'downsampl', 'stride', 'pool', 'frames'])
MENDED = [('F.ctc_loss(netout, labels, input_lengths, label_lengths', 'F.ctc_loss(netout, labels, (input_lengths + 3) // 4, label_lengths')]
