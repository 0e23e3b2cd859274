import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/HHTseng/video-classification/issues/3'
CATEGORY = 'correct'
DESCRIPTION = 'CRNN: stack(dim=0).transpose_(0, 1) of the frame features and RNN_out[:, -1, :] with batch_first=True, as many frames as videos; the reporter had misread the layout.'


class EncoderCNN(nn.Module):
    def __init__(self, img=32, fc_hidden=48, embed=24, drop_p=0.0):
        super().__init__()
        self.drop_p = drop_p
        self.conv1 = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.BatchNorm2d(8, momentum=0.01), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(nn.Conv2d(8, 16, 3, 2), nn.BatchNorm2d(16, momentum=0.01), nn.ReLU(inplace=True))
        size = ((img - 5) // 2 + 1 - 3) // 2 + 1
        self.fc1 = nn.Linear(16 * size * size, fc_hidden)
        self.fc2 = nn.Linear(fc_hidden, embed)

    def forward(self, x_3d):
        cnn_embed_seq = []
        for t in range(x_3d.size(1)):
            x = self.conv2(self.conv1(x_3d[:, t, :, :, :]))
            x = x.view(x.size(0), -1)
            x = F.dropout(F.relu(self.fc1(x)), p=self.drop_p, training=self.training)
            cnn_embed_seq.append(self.fc2(x))
        cnn_embed_seq = torch.stack(cnn_embed_seq, dim=0).transpose_(0, 1)
        return cnn_embed_seq


class DecoderRNN(nn.Module):
    def __init__(self, embed=24, layers=2, hidden=20, fc=16, num_classes=5):
        super().__init__()
        self.LSTM = nn.LSTM(input_size=embed, hidden_size=hidden, num_layers=layers, batch_first=True)
        self.fc1 = nn.Linear(hidden, fc)
        self.fc2 = nn.Linear(fc, num_classes)

    def forward(self, x_RNN):
        RNN_out, (h_n, h_c) = self.LSTM(x_RNN, None)
        x = F.relu(self.fc1(RNN_out[:, -1, :]))
        return self.fc2(x)


def build():
    return nn.Sequential(EncoderCNN(), DecoderRNN())


def step(model):
    X, y = torch.rand(6, 6, 3, 32, 32), torch.randint(0, 5, (6, 1)).view(-1, )
    output = model(X)
    return F.cross_entropy(output, y)


TRUTH = dict(raises=None, at=None, culprits=[])
