import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814'
CATEGORY = 'silent'
DESCRIPTION = 'A small convolutional network for ten classes ends in a softmax and is trained with CrossEntropyLoss: the loss stays at 2.30.'


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, 16 * 5 * 5)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = F.softmax(self.fc3(x), dim=1)
        return x


def train(model, loader, optimizer, criterion):
    running = 0.0
    for epoch in range(2):
        for images, labels in loader:
            optimizer.zero_grad()
            outputs = model(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running = loss.detach()
        print('epoch', epoch, 'loss =', running.item())
    return running


def build():
    return Net()


def step(model):
    data = TensorDataset(torch.rand(40, 1, 28, 28), torch.randint(0, 10, (40,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return train(model, DataLoader(data, batch_size=10), optimizer, nn.CrossEntropyLoss())


# the thread: do not pass a softmax into CrossEntropyLoss
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['function:softmax', 'function:cross_entropy'], dim=None, got=None, wanted=None,
             hint_any=['softmax', 'logits', 'twice'])
MENDED = [('x = F.softmax(self.fc3(x), dim=1)', 'x = self.fc3(x)')]
