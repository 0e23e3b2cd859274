import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/udacity/deep-learning-v2-pytorch/issues/86'
CATEGORY = 'layer'
DESCRIPTION = 'Fashion-MNIST exercise: the flattened images go into a misspelt variable, the network gets the pictures.'


def get_loaders(batch_size=64):
    images = torch.randn(256, 1, 28, 28)
    labels = torch.randint(0, 10, (256,))
    trainset = TensorDataset(images[:192], labels[:192])
    testset = TensorDataset(images[192:], labels[192:])
    return DataLoader(trainset, batch_size=batch_size, shuffle=True), DataLoader(testset, batch_size=batch_size)


def build():
    return nn.Sequential(nn.Linear(784, 256),
                         nn.ReLU(),
                         nn.Linear(256, 128),
                         nn.ReLU(),
                         nn.Linear(128, 64),
                         nn.ReLU(),
                         nn.Linear(64, 10),
                         nn.LogSoftmax(dim=1))


def step(model):
    trainloader, testloader = get_loaders()
    criterion = nn.NLLLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    running_loss = 0
    for images, labels in trainloader:
        imagees = images.view(images.shape[0], -1)

        log_ps = model(images)
        loss = criterion(log_ps, labels)

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        running_loss += loss.item()
    return torch.tensor(running_loss / len(trainloader))


# the issue has view(1, -1) in the same line, which the answer corrects too
TRUTH = dict(raises='RuntimeError', at='module:0', culprits=['input', 'function:view'], dim=3, got=28, wanted=784,
             hint_any=['flatten', 'view', '784'])
MENDED = [('imagees = images.view', 'images = images.view')]
