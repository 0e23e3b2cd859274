import torch
import torch.nn as nn

SOURCE = 'https://discuss.pytorch.org/t/lstm-change-batch-first-true-loss-does-not-decrease/62364'
CATEGORY = 'silent'
DESCRIPTION = 'CRNN for text lines: for a deployment the LSTMs get batch_first=True, but the features still come as (width, batch, channels), so the recurrence runs over the images of the batch.'


class BidirectionalLSTM(nn.Module):
    def __init__(self, nIn, nHidden, nOut):
        super().__init__()
        self.rnn = nn.LSTM(nIn, nHidden, bidirectional=True, batch_first=True)
        self.embedding = nn.Linear(nHidden * 2, nOut)

    def forward(self, input):
        recurrent, _ = self.rnn(input)
        T, b, h = recurrent.size()
        t_rec = recurrent.reshape(T * b, h)
        output = self.embedding(t_rec)
        output = output.view(T, b, -1)
        return output


class CRNN(nn.Module):
    def __init__(self, imgH, nc, nclass, nh):
        super().__init__()
        assert imgH % 16 == 0, 'imgH has to be a multiple of 16'
        ks = [3, 3, 3, 3, 2]
        ps = [1, 1, 1, 1, 0]
        nm = [8, 16, 16, 24, 24]
        cnn = nn.Sequential()

        def convRelu(i, batchNormalization=False):
            nIn = nc if i == 0 else nm[i - 1]
            cnn.add_module('conv{0}'.format(i), nn.Conv2d(nIn, nm[i], ks[i], 1, ps[i]))
            if batchNormalization:
                cnn.add_module('batchnorm{0}'.format(i), nn.BatchNorm2d(nm[i]))
            cnn.add_module('relu{0}'.format(i), nn.ReLU(True))

        convRelu(0)
        cnn.add_module('pooling0', nn.MaxPool2d(2, 2))
        convRelu(1, True)
        cnn.add_module('pooling1', nn.MaxPool2d(2, 2))
        convRelu(2)
        cnn.add_module('pooling2', nn.MaxPool2d((2, 2), (2, 1), (0, 1)))
        convRelu(3, True)
        cnn.add_module('pooling3', nn.MaxPool2d((2, 2), (2, 1), (0, 1)))
        convRelu(4)
        self.cnn = cnn
        self.rnn = nn.Sequential(BidirectionalLSTM(nm[-1], nh, nh), BidirectionalLSTM(nh, nh, nclass))

    def forward(self, input):
        conv = self.cnn(input)
        b, c, h, w = conv.size()
        assert h == 1, 'the height of conv must be 1'
        conv = conv.squeeze(2)
        conv = conv.permute(2, 0, 1)
        output = self.rnn(conv)
        return output.log_softmax(2)


def build():
    return CRNN(imgH=32, nc=1, nclass=12, nh=16)


def step(model):
    criterion = nn.CTCLoss(zero_infinity=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    cpu_images = torch.rand(17, 1, 32, 64)
    text = torch.randint(1, 12, (17, 5))
    for _ in range(3):
        preds = model(cpu_images)
        preds_size = torch.full((17,), preds.size(0), dtype=torch.long)
        loss = criterion(preds, text, preds_size, torch.full((17,), 5, dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# 17 steps of width and 17 images
TRUTH = dict(raises=None, at='module:rnn.0.rnn', culprits=['rnn.0.rnn', 'rnn.1.rnn', 'function:permute'], dim=0, got=None, wanted=None,
             hint_any=['batch_first', 'time', 'permute', 'sequence'])
MENDED = [('bidirectional=True, batch_first=True)', 'bidirectional=True)')]
