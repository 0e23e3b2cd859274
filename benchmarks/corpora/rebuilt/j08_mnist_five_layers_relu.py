import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/hunkim/PyTorchZeroToAll/pull/4'
CATEGORY = 'silent'
DESCRIPTION = 'MNIST tutorial: the last of five linear layers goes through a relu as well before CrossEntropyLoss, so no logit can be negative and dead classes stay dead.'

batch_size = 32


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.l1 = nn.Linear(784, 64)
        self.l2 = nn.Linear(64, 48)
        self.l3 = nn.Linear(48, 32)
        self.l4 = nn.Linear(32, 24)
        self.l5 = nn.Linear(24, 10)

    def forward(self, x):
        x = x.view(-1, 784)
        x = F.relu(self.l1(x))
        x = F.relu(self.l2(x))
        x = F.relu(self.l3(x))
        x = F.relu(self.l4(x))
        x = F.relu(self.l5(x))
        return x


def mnist_like(count):
    labels = torch.randint(0, 10, (count,))
    images = torch.rand(count, 1, 28, 28) * 0.1
    for image, label in zip(images, labels):
        image[0, 2 * label:2 * label + 6, 6:22] += 0.8
    return TensorDataset((images - 0.1307) / 0.3081, labels)


def train(epoch, model, train_loader, optimizer, criterion):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        optimizer.zero_grad()
        output = model(data)
        loss = criterion(output, target)
        loss.backward()
        optimizer.step()
    return loss.detach()


def build():
    return Net()


def step(model):
    train_loader = DataLoader(mnist_like(2 * batch_size), batch_size=batch_size, shuffle=True)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    return train(1, model, train_loader, optimizer, criterion)


# fix of the pull request: return self.l5(x)
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['function:relu'], dim=None, got=None, wanted=None,
             hint_any=['relu', 'negative', 'logits', 'activation'])
MENDED = [('        x = F.relu(self.l5(x))\n        return x', '        return self.l5(x)')]
