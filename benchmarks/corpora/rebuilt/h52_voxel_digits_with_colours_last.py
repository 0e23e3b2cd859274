import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://duoke360.com/post/34414 (Chinese copy of a Stack Overflow question: expected input[100, 16, 16, 16, 3] to have 3 channels, but got 16; answer: permute)'
CATEGORY = 'layer'
DESCRIPTION = '3D MNIST: the voxels get their colours in a last axis, Conv3d takes the first axis of the cube for the channels.'


def colour_table(n=256):
    t = torch.linspace(0, 1, n)
    return torch.stack([t, 1 - (2 * t - 1).abs(), 1 - t], dim=1)


def array_to_color(array, table):
    return table[(array * 255).long()]


def rgb_data_transform(data):
    table = colour_table()
    data_t = []
    for i in range(data.shape[0]):
        data_t.append(array_to_color(data[i], table).reshape(16, 16, 16, 3))
    return torch.stack(data_t)


class CNNModel(nn.Module):
    def __init__(self, num_classes=10):
        super(CNNModel, self).__init__()
        self.conv_layer1 = self._conv_layer_set(3, 32)
        self.conv_layer2 = self._conv_layer_set(32, 64)
        self.fc1 = nn.Linear(2 ** 3 * 64, 128)
        self.fc2 = nn.Linear(128, num_classes)
        self.relu = nn.LeakyReLU()
        self.batch = nn.BatchNorm1d(128)
        self.drop = nn.Dropout(p=0.15)

    def _conv_layer_set(self, in_c, out_c):
        return nn.Sequential(
            nn.Conv3d(in_c, out_c, kernel_size=(3, 3, 3), padding=0),
            nn.LeakyReLU(),
            nn.MaxPool3d((2, 2, 2)),
        )

    def forward(self, x):
        out = self.conv_layer1(x)
        out = self.conv_layer2(out)
        out = out.view(out.size(0), -1)
        out = self.fc1(out)
        out = self.relu(out)
        out = self.batch(out)
        out = self.drop(out)
        return self.fc2(out)


def build():
    return CNNModel()


def step(model):
    X_train = torch.rand(100, 4096)
    y_train = torch.randint(0, 10, (100,))
    train = TensorDataset(rgb_data_transform(X_train), y_train)
    for images, labels in DataLoader(train, batch_size=50, shuffle=False):
        outputs = model(images)
        return nn.CrossEntropyLoss()(outputs, labels)


TRUTH = dict(raises='RuntimeError', at='module:conv_layer1.0', culprits=['input', 'function:reshape'], dim=1, got=16, wanted=3,
             hint_any=['permute', 'channel', 'movedim', 'last'])
MENDED = [('outputs = model(images)', 'outputs = model(images.permute(0, 4, 1, 2, 3).contiguous())')]
