import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://www.bytezonex.com/archives/QBoC8wIS.html (retells a Stack Overflow question: shape [16, 400] is invalid for input of size 9600)'
CATEGORY = 'layer'
DESCRIPTION = 'Small ConvNet: the second convolution makes 24 maps, the view and fc1 count 16 of them.'


class ConvNet(nn.Module):
    def __init__(self, num_classes=10):
        super(ConvNet, self).__init__()
        self.conv1 = nn.Conv2d(in_channels=3, out_channels=16, kernel_size=3)
        self.conv2 = nn.Conv2d(in_channels=16, out_channels=24, kernel_size=4)
        self.conv3 = nn.Conv2d(in_channels=24, out_channels=32, kernel_size=4)

        self.dropout = nn.Dropout2d(p=0.3)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, num_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = self.dropout(x)

        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.dropout(x)

        # x = F.max_pool2d(F.relu(self.conv3(x)), 2)
        # x = self.dropout(x)

        x = x.view(x.size(0), 5 * 5 * 16)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


def train(model, loader, optimizer, epochs=1):
    criterion = nn.CrossEntropyLoss()
    total = 0.0
    for epoch in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total = total + loss.detach()
    return total / len(loader)


def build():
    return ConvNet()


def step(model):
    loader = [(torch.randn(16, 3, 28, 28), torch.randint(0, 10, (16,))) for _ in range(3)]
    return train(model, loader, torch.optim.SGD(model.parameters(), lr=0.01))


TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view', 'fc1'], dim=1, got=600, wanted=400,
             hint_any=['24', '600', 'fc1', 'flatten'])
MENDED = [('nn.Linear(16 * 5 * 5, 120)', 'nn.Linear(24 * 5 * 5, 120)'), ('5 * 5 * 16', '5 * 5 * 24')]
