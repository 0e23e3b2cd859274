import random
import string
from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/ypwhs/captcha_break/issues/29'
CATEGORY = 'loss'
DESCRIPTION = 'CTC captcha reader on 96x34 images: the dataset says 9 time steps, the network makes 96 / 16 = 6.'

characters = '-' + string.digits + string.ascii_uppercase
width, height, n_len, n_classes = 96, 34, 4, len(characters)
n_input_length = 9


class CaptchaDataset(Dataset):
    def __init__(self, characters, length, width, height, input_length, label_length):
        self.characters, self.length = characters, length
        self.width, self.height = width, height
        self.input_length, self.label_length = input_length, label_length

    def __len__(self):
        return self.length

    def draw(self, text):
        image = torch.ones(3, self.height, self.width)
        for i, ch in enumerate(text):
            x = 8 + i * (self.width - 16) // len(text)
            image[:, 6:-6, x:x + 14] = self.characters.index(ch) / len(self.characters)
        return image

    def __getitem__(self, index):
        random_str = ''.join([random.choice(self.characters[1:]) for j in range(self.label_length)])
        image = self.draw(random_str)
        target = torch.tensor([self.characters.find(x) for x in random_str], dtype=torch.long)
        input_length = torch.full(size=(1,), fill_value=self.input_length, dtype=torch.long)
        target_length = torch.full(size=(1,), fill_value=self.label_length, dtype=torch.long)
        return image, target, input_length, target_length


class Model(nn.Module):
    def __init__(self, n_classes, input_shape):
        super().__init__()
        self.input_shape = input_shape
        channels, layers, pools = [16, 32, 32, 64, 64], [1, 1, 1, 1, 1], [2, 2, 2, 2, (2, 1)]
        modules = OrderedDict()

        def cba(name, in_channels, out_channels):
            modules[f'conv{name}'] = nn.Conv2d(in_channels, out_channels, 3, padding=1)
            modules[f'bn{name}'] = nn.BatchNorm2d(out_channels)
            modules[f'relu{name}'] = nn.ReLU(inplace=True)

        last_channel = 3
        for block, (n_channel, n_layer, k_pool) in enumerate(zip(channels, layers, pools)):
            for layer in range(1, n_layer + 1):
                cba(f'{block + 1}{layer}', last_channel, n_channel)
                last_channel = n_channel
            modules[f'pool{block + 1}'] = nn.MaxPool2d(k_pool)
        modules['dropout'] = nn.Dropout(0.25, inplace=True)
        self.cnn = nn.Sequential(modules)
        self.lstm = nn.LSTM(input_size=self.infer_features(), hidden_size=32, num_layers=2, bidirectional=True)
        self.fc = nn.Linear(in_features=64, out_features=n_classes)

    def infer_features(self):
        with torch.no_grad():
            x = self.cnn(torch.zeros((1,) + self.input_shape))
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        return x.shape[1]

    def forward(self, x):
        x = self.cnn(x)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        x = x.permute(2, 0, 1)
        x, _ = self.lstm(x)
        return self.fc(x)


def build():
    return Model(n_classes, input_shape=(3, height, width))


def step(model):
    train_set = CaptchaDataset(characters, 8, width, height, n_input_length, n_len)
    train_loader = DataLoader(train_set, batch_size=4)
    loss_mean = 0
    for data, target, input_lengths, target_lengths in train_loader:
        output = model(data)
        output_log_softmax = F.log_softmax(output, dim=-1)
        loss = F.ctc_loss(output_log_softmax, target, input_lengths, target_lengths)
        loss_mean = loss_mean + loss / len(train_loader)
    return loss_mean


# real fix: n_input_length is not free, it is the length of the model's output (6; more of them: a wider image, or less pooling along the width)
# offending tensors: log probabilities (6, 4, 37), input_lengths 9
TRUTH = dict(raises='RuntimeError', at='loss:ctc_loss', culprits=['function:full', 'target', 'input', 'cnn.pool4'], dim=0, got=6, wanted=None,
             hint_any=['input_length', 'time step', 'sequence length', 'steps', 'at most 6', 'width', 'pool'])
MENDED = [('n_input_length = 9', 'n_input_length = 6')]
