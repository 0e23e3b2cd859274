import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'http://www.wenzhangge.com/post/28944.html (retells a Stack Overflow question: expected input batch_size to match target batch_size)'
CATEGORY = 'loss'
DESCRIPTION = 'Classifier of four kinds of images: three poolings leave 16 maps of an eighth of the side, view(-1, 16 * quarter * quarter) puts four images into one row. Sides of 256 in the question, 32 here.'

IMAGE_SIZE = 32


class FolderOfImages(Dataset):
    classes = ['cloudy', 'desert', 'green_area', 'water']

    def __init__(self, n=64):
        g = torch.Generator().manual_seed(1)
        self.images = torch.rand(n, 3, IMAGE_SIZE, IMAGE_SIZE, generator=g)
        self.labels = torch.randint(0, len(self.classes), (n,), generator=g)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return (self.images[i] - 0.5) / 0.5, self.labels[i]


class ConvNet(nn.Module):
    def __init__(self, num_classes=4):
        super(ConvNet, self).__init__()
        self.conv1 = nn.Conv2d(in_channels=3, out_channels=4, kernel_size=3, stride=1, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv2 = nn.Conv2d(in_channels=4, out_channels=8, kernel_size=3, stride=1, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(in_channels=8, out_channels=16, kernel_size=3, stride=1, padding=1)
        self.bn3 = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16 * 8 * 8, num_classes)

    def forward(self, X):
        X = self.pool(F.relu(self.bn1(self.conv1(X))))
        X = self.pool(F.relu(self.bn2(self.conv2(X))))
        X = self.pool(F.relu(self.bn3(self.conv3(X))))
        X = X.view(-1, 16 * 8 * 8)
        X = self.fc(X)
        return X


def build():
    torch.manual_seed(0)
    return ConvNet(num_classes=len(FolderOfImages.classes))


def step(model):
    loader = DataLoader(FolderOfImages(), batch_size=16, shuffle=False)
    criterion = nn.CrossEntropyLoss()
    images, labels = next(iter(loader))
    outputs = model(images)
    return criterion(outputs, labels)


TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['function:view', 'fc'], dim=0, got=4, wanted=16,
             hint_any=['256', '1024', 'view', 'batch', 'flatten'])
MENDED = [('nn.Linear(16 * 8 * 8, num_classes)', 'nn.Linear(16 * 4 * 4, num_classes)'),
          ('X.view(-1, 16 * 8 * 8)', 'X.view(X.size(0), -1)')]
