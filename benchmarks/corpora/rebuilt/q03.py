import torch
import torch.nn as nn

SOURCE = 'https://github.com/Sierkinhane/CRNN_Chinese_Characters_Rec/issues/304'
CATEGORY = 'loss'
DESCRIPTION = 'CRNN: the recognition head returns (batch, width, classes), CTC and the number of frames read dim 0 as the width.'

config = dict(img_h=32, img_w=96, nc=1, nclass=38, nh=24, batch_size=6)


class BidirectionalLSTM(nn.Module):
    def __init__(self, n_in, n_hidden, n_out):
        super().__init__()
        self.rnn = nn.LSTM(n_in, n_hidden, bidirectional=True, batch_first=True)
        self.embedding = nn.Linear(n_hidden * 2, n_out)

    def forward(self, x):
        recurrent, _ = self.rnn(x)
        return self.embedding(recurrent)


class CRNN(nn.Module):
    def __init__(self, img_h, nc, nclass, nh):
        super().__init__()
        ks, ps, nm = (3, 3, 3, 3, 2), (1, 1, 1, 1, 0), (8, 16, 24, 32, 32)
        cnn = nn.Sequential()
        for i, (k, p, out) in enumerate(zip(ks, ps, nm)):
            cnn.add_module(f'conv{i}', nn.Conv2d(nc if i == 0 else nm[i - 1], out, k, 1, p))
            if i in (2, 3):
                cnn.add_module(f'batchnorm{i}', nn.BatchNorm2d(out))
            cnn.add_module(f'relu{i}', nn.ReLU(True))
            if i < 2:
                cnn.add_module(f'pool{i}', nn.MaxPool2d(2, 2))
            elif i < 4:
                cnn.add_module(f'pool{i}', nn.MaxPool2d((2, 2), (2, 1), (0, 1)))
        self.cnn = cnn
        self.rnn = nn.Sequential(BidirectionalLSTM(nm[-1], nh, nh), BidirectionalLSTM(nh, nh, nclass))

    def forward(self, x):
        conv = self.cnn(x)
        b, c, h, w = conv.size()
        assert h == 1, 'the height of conv must be 1'
        conv = conv.squeeze(2).permute(0, 2, 1)
        output = self.rnn(conv)
        return torch.log_softmax(output, dim=2)


def encode(words):
    length = torch.IntTensor([len(w) for w in words])
    return torch.IntTensor([1 + (ord(c) - 48) % 37 for w in words for c in w]), length


def build():
    return CRNN(config['img_h'], config['nc'], config['nclass'], config['nh'])


def step(model):
    criterion = nn.CTCLoss(blank=0, zero_infinity=True)
    inp = torch.randn(config['batch_size'], config['nc'], config['img_h'], config['img_w'])
    labels = ['abcd', 'hello', 'plate7', 'x12', 'zebra', 'q9']
    text, length = encode(labels)
    preds = model(inp)
    batch_size = inp.size(0)
    preds_size = torch.IntTensor([preds.size(0)] * batch_size)
    return criterion(preds, text, preds_size, length)


# real fix: the network returns (width, batch, classes): permute(1, 0, 2) at its end
# offending tensor: preds (6, 25, 38), (25, 6, 38) expected
TRUTH = dict(raises='RuntimeError', at='loss:ctc_loss', culprits=['', 'function:permute', 'function:log_softmax', 'rnn'], dim=1, got=25, wanted=6,
             hint_any=['permute', 'transpose', 'batch', 'batch_first', 'time'])
MENDED = [('torch.log_softmax(output, dim=2)', 'torch.log_softmax(output, dim=2).permute(1, 0, 2)')]
