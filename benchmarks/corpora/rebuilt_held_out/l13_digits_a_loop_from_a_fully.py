import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://e-com-net.com/article/1743708265516122112.htm'
CATEGORY = 'layer'
DESCRIPTION = 'Digits: a loop from a fully connected example makes rows of 784 pixels of the images, the network begins with a convolution.'

num_epochs, batch_size, learning_rate = 1, 20, 0.001


class Digits(Dataset):
    def __init__(self, n=60):
        g = torch.Generator().manual_seed(3)
        self.x = torch.rand(n, 28, 28, generator=g)
        self.y = torch.randint(0, 10, (n,), generator=g)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i].unsqueeze(0), self.y[i]


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 10, 3, padding=1)
        self.conv2 = nn.Conv2d(10, 20, 3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.relu = nn.ReLU()
        self.fc1 = nn.Linear(980, 100)
        self.fc2 = nn.Linear(100, 10)

    def forward(self, x):
        out = self.pool(self.relu(self.conv1(x)))
        out = self.pool(self.relu(self.conv2(out)))
        out = out.view(out.size(0), -1)
        out = self.fc1(out)
        out = self.relu(out)
        return self.fc2(out)


def build():
    torch.manual_seed(0)
    return Net()


def step(model):
    criterion = nn.CrossEntropyLoss()
    train_loader = DataLoader(Digits(), batch_size=batch_size)
    for epoch in range(num_epochs):
        for i, (images, labels) in enumerate(train_loader):
            images = images.view(-1, 28 * 28)
            model.zero_grad()
            outputs = model(images)
            loss = criterion(outputs, labels)
            loss.backward()
            with torch.no_grad():
                for p in model.parameters():
                    p -= learning_rate * p.grad
    return loss.detach()


# real fix: the images stay as the loader gives them
TRUTH = dict(raises='RuntimeError', at='module:conv1', culprits=['function:view', 'input'], dim=None, got=None, wanted=None,
             hint_any=['4d', '28', 'channel', 'view', 'batch'])
MENDED = [('images = images.view(-1, 28 * 28)', 'images = images.view(-1, 1, 28, 28)')]
