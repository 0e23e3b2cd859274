import torch
from torch import nn

SOURCE = 'https://duoke360.com/post/34398 (Chinese copy of the Stack Overflow question "output with shape [1, 28, 28] doesn\'t match the broadcast shape [3, 28, 28]")'
CATEGORY = 'layer'
DESCRIPTION = 'MNIST exercise: the transform normalises the one grey channel with mean and std of three channels. The transform is written here as the first modules of the network.'


class Normalize(nn.Module):
    def __init__(self, mean, std, inplace=False):
        super().__init__()
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1))
        self.inplace = inplace

    def forward(self, tensor):
        if not self.inplace:
            tensor = tensor.clone()
        return tensor.sub_(self.mean).div_(self.std)


class Scale(nn.Module):
    def forward(self, img):
        return img.float() / 255


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.transform = nn.Sequential(
            Scale(),
            Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        )
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)

    def forward(self, x):
        x = self.transform(x)
        x = x.view(x.shape[0], -1)
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        return torch.log_softmax(self.fc3(x), dim=1)


def mnist_batches(n_batches, batch_size=64):
    g = torch.Generator().manual_seed(5)
    for _ in range(n_batches):
        images = torch.randint(0, 256, (batch_size, 1, 28, 28), generator=g, dtype=torch.uint8)
        labels = torch.randint(0, 10, (batch_size,), generator=g)
        yield images, labels


def build():
    torch.manual_seed(0)
    return Network()


def step(model):
    criterion = nn.NLLLoss()
    running_loss = 0
    for images, labels in mnist_batches(2):
        running_loss = running_loss + criterion(model(images), labels)
    return running_loss


TRUTH = dict(raises='RuntimeError', at='function:sub_', culprits=['transform.1'], dim=1, got=1, wanted=3,
             hint_any=['mean', 'channel', 'in place', '3'])
MENDED = [('Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))', 'Normalize((0.5,), (0.5,))')]
