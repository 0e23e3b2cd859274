import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://taourl.com/read-1973755.html (question: mat1 and mat2 shapes cannot be multiplied (62x12288 and 784x512); the answer: 64x64 colour images in a network for 28x28)'
CATEGORY = 'layer'
DESCRIPTION = 'The network of the PyTorch quickstart, made for 784 pixels, gets a folder of 64x64 colour photographs.'


class Resize:
    def __init__(self, size):
        self.size = size

    def __call__(self, img):
        return nn.functional.interpolate(img[None], size=self.size, mode='bilinear', align_corners=False)[0]


class PhotoFolder(Dataset):
    classes = ['bird', 'cat', 'dog', 'fish']

    def __init__(self, root, count, transform=None):
        self.root = root
        self.count = count
        self.transform = transform

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = torch.rand(3, 70 + index % 5, 90)
        if self.transform is not None:
            image = self.transform(image)
        return image, index % len(self.classes)


class NeuralNetwork(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(28 * 28, 512),
            nn.ReLU(),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Linear(512, num_classes),
        )

    def forward(self, x):
        x = self.flatten(x)
        logits = self.linear_relu_stack(x)
        return logits


def train_loop(dataloader, model, loss_fn, optimizer):
    losses = []
    for batch, (X, y) in enumerate(dataloader):
        pred = model(X)
        loss = loss_fn(pred, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return torch.stack(losses).mean()


def build():
    return NeuralNetwork(len(PhotoFolder.classes))


def step(model):
    data = PhotoFolder('photos/train', 62, transform=Resize((64, 64)))
    loader = DataLoader(data, batch_size=64, shuffle=True)
    return train_loop(loader, model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=1e-3))


TRUTH = dict(raises='RuntimeError', at='module:linear_relu_stack.0', culprits=['linear_relu_stack.0', 'input'], dim=1, got=12288, wanted=784,
             hint_any=['12288', 'in_features', '64'])
MENDED = [('nn.Linear(28 * 28, 512)', 'nn.Linear(3 * 64 * 64, 512)')]
