import torch
import torch.nn as nn

SOURCE = 'https://github.com/rentruewang/aioway/issues/13 (the lazy tensors of koila are rebuilt as a loop)'
CATEGORY = 'loss'
DESCRIPTION = 'A wrapper against lack of memory runs a batch of 20 in parts of a power of two, only the images are cut, the loss gets all labels.'


class NeuralNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(28 * 28, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, x):
        return self.linear_relu_stack(self.flatten(x))


def memory_of(model, batch):
    numbers = sum(p.numel() for p in model.parameters())
    return 4 * (numbers + batch * (28 * 28 + 64 + 64 + 10))


def maximum_minibatch(model, total, free=2 ** 18):
    size = 1
    while 2 * size <= total and memory_of(model, 2 * size) < 2 ** 10 * free:
        size *= 2
    return size


class Lazy:
    def __init__(self, func, criterion, batch, labels):
        self.func = func
        self.criterion = criterion
        self.batch = batch
        self.labels = labels

    def run(self, partial):
        start, stop = partial
        output = self.func(self.batch[start:stop])
        return self.criterion(output, self.labels)

    def backward_loss(self):
        total_batch = self.batch.size(0)
        size = maximum_minibatch(self.func, total_batch)
        total, losses = 0, 0.0
        while total < total_batch:
            mini_batch_size = min(size, total_batch - total)
            mini_batch = self.run((total, total + mini_batch_size))
            losses = losses + mini_batch * mini_batch_size / total_batch
            total += mini_batch_size
        return losses


def build():
    return NeuralNetwork()


def step(model):
    images = torch.randn(20, 28, 28)
    labels = torch.randint(0, 10, (20,))
    lazy_loss = Lazy(model, nn.CrossEntropyLoss(), images, labels)
    return lazy_loss.backward_loss()


TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target'], dim=0, got=20, wanted=16,
             hint_any=['label', 'slice', '16', 'batch'])
MENDED = [('self.criterion(output, self.labels)', 'self.criterion(output, self.labels[start:stop])')]
