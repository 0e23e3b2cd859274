import torch
import torch.nn as nn
from torch.nn import CTCLoss

SOURCE = 'https://github.com/Holmeyoung/crnn-pytorch/issues/62'
CATEGORY = 'loss'
DESCRIPTION = 'Licence plates: the labels are the file names; encode keeps only the plate characters but counts the ".jpg" in the length: 12 of 8.'

alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"


class strLabelConverter(object):
    def __init__(self, alphabet):
        self.alphabet = alphabet + '-'
        self.dict = {}
        for i, char in enumerate(alphabet):
            self.dict[char] = i + 1

    def encode(self, text):
        length = []
        result = []
        for item in text:
            length.append(len(item))
            r = []
            for char in item:
                if char not in self.dict:
                    continue
                r.append(self.dict[char])
            result.append(r)

        max_len = 0
        for r in result:
            if len(r) > max_len:
                max_len = len(r)

        result_temp = []
        for r in result:
            for i in range(max_len - len(r)):
                r.append(0)
            result_temp.append(r)

        text = result_temp
        return (torch.LongTensor(text), torch.LongTensor(length))


class BidirectionalLSTM(nn.Module):
    def __init__(self, nIn, nHidden, nOut):
        super(BidirectionalLSTM, self).__init__()
        self.rnn = nn.LSTM(nIn, nHidden, bidirectional=True)
        self.embedding = nn.Linear(nHidden * 2, nOut)

    def forward(self, input):
        recurrent, _ = self.rnn(input)
        T, b, h = recurrent.size()
        t_rec = recurrent.view(T * b, h)
        output = self.embedding(t_rec)
        return output.view(T, b, -1)


class CRNN(nn.Module):
    def __init__(self, imgH, nc, nclass, nh):
        super(CRNN, self).__init__()
        nm = [16, 32, 48]
        self.cnn = nn.Sequential(
            nn.Conv2d(nc, nm[0], 3, 1, 1), nn.ReLU(True), nn.MaxPool2d(2, 2),
            nn.Conv2d(nm[0], nm[1], 3, 1, 1), nn.BatchNorm2d(nm[1]), nn.ReLU(True), nn.MaxPool2d(2, 2),
            nn.Conv2d(nm[1], nm[2], (imgH // 4, 2), 1, 0), nn.ReLU(True),
        )
        self.rnn = nn.Sequential(BidirectionalLSTM(nm[2], nh, nh), BidirectionalLSTM(nh, nh, nclass))

    def forward(self, input):
        conv = self.cnn(input)
        b, c, h, w = conv.size()
        assert h == 1, "the height of conv must be 1"
        conv = conv.squeeze(2)
        conv = conv.permute(2, 0, 1)
        output = self.rnn(conv)
        return torch.nn.functional.log_softmax(output, dim=2)


converter = strLabelConverter(alphabet)


def plates(batch_size=8):
    g = torch.Generator().manual_seed(3)
    names = []
    for i in range(batch_size):
        n = 8 if i % 2 else 7
        names.append(''.join(alphabet[j] for j in torch.randint(0, len(alphabet), (n,), generator=g)) + '.jpg')
    return torch.rand(batch_size, 1, 32, 100, generator=g), names


def train(crnn, criterion):
    cpu_images, cpu_texts = plates()
    batch_size = cpu_images.size(0)
    text, length = converter.encode(cpu_texts)
    preds = crnn(cpu_images)
    preds_size = torch.LongTensor([preds.size(0)] * batch_size)
    cost = criterion(preds, text, preds_size, length) / batch_size
    return cost


def build():
    torch.manual_seed(0)
    return CRNN(32, 1, len(alphabet) + 1, 24)


def step(crnn):
    return train(crnn, CTCLoss(reduction='sum'))


# real fix: remove the ".jpg" of the file name in encode, before its length is taken
# offending: targets (8, 8), target_lengths up to 12
TRUTH = dict(raises='RuntimeError', at='loss:ctc_loss', culprits=['target'], dim=1, got=8, wanted=12,
             hint_any=['target_lengths', 'target length', 'lengths', '12'])
MENDED = [('            length.append(len(item))', "            item = item.replace('.jpg', '')\n            length.append(len(item))")]
