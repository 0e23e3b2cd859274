import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'http://www.kouhan.cn/en/article/00050409 (Stack Overflow: size of tensor a (133) must match the size of tensor b (10))'
CATEGORY = 'loss'
DESCRIPTION = 'Dog breeds: CrossEntropyLoss is exchanged for MSELoss, the targets stay class indices: (10,133) against (10,).'

BATCH_SIZE = 10
N_BREEDS = 133


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(3, 16, 3)
        self.conv2 = nn.Conv2d(16, 24, 3)
        self.conv3 = nn.Conv2d(24, 32, 3)
        self.conv4 = nn.Conv2d(32, 32, 3)
        self.conv5 = nn.Conv2d(32, 48, 3)
        self.fc1 = nn.Linear(48 * 3 * 3, 200)
        self.fc2 = nn.Linear(200, 180)
        self.fc3 = nn.Linear(180, N_BREEDS)
        self.max_pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.dropout = nn.Dropout(0.20)
        self.conv_bn1 = nn.BatchNorm2d(96, 3)
        self.conv_bn2 = nn.BatchNorm2d(16)
        self.conv_bn3 = nn.BatchNorm2d(24)
        self.conv_bn4 = nn.BatchNorm2d(32)
        self.conv_bn5 = nn.BatchNorm2d(32)
        self.conv_bn6 = nn.BatchNorm2d(48)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = self.max_pool(x)
        x = self.conv_bn2(x)
        x = F.relu(self.conv2(x))
        x = self.max_pool(x)
        x = self.conv_bn3(x)
        x = F.relu(self.conv3(x))
        x = self.max_pool(x)
        x = self.conv_bn4(x)
        x = F.relu(self.conv4(x))
        x = self.max_pool(x)
        x = self.conv_bn5(x)
        x = F.relu(self.conv5(x))
        x = self.max_pool(x)
        x = self.conv_bn6(x)
        x = x.view(-1, 48 * 3 * 3)
        x = self.dropout(x)
        x = F.relu(self.fc1(x))
        x = self.dropout(x)
        x = F.relu(self.fc2(x))
        x = self.dropout(x)
        x = self.fc3(x)
        return x


def build():
    return Net()


def train(n_epochs, loaders, model, criterion):
    for epoch in range(1, n_epochs + 1):
        train_loss = 0.0
        model.train()
        for batch_idx, (data, target) in enumerate(loaders['train']):
            model.zero_grad()
            output = model(data)
            loss = criterion(output, target)
            train_loss = train_loss + (1 / (batch_idx + 1)) * (loss - train_loss)
    return train_loss


def step(model):
    images = torch.rand(20, 3, 128, 128)
    breeds = torch.randint(0, N_BREEDS, (20,))
    loaders = {'train': DataLoader(TensorDataset(images, breeds), batch_size=BATCH_SIZE)}
    criterion_scratch = nn.MSELoss()
    return train(1, loaders, model, criterion_scratch)


# real fix: MSELoss wants a one-hot target of the output's shape (or go back to CrossEntropyLoss)
# offending tensor: target (10,), (10, 133) wanted
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target'], dim=None, got=None, wanted=None,
             hint_any=['one_hot', 'one-hot', 'cross', 'class ind'])
MENDED = [('loss = criterion(output, target)', 'loss = criterion(output, F.one_hot(target, N_BREEDS).float())')]
