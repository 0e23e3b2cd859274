import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'forums.fast.ai, "Help: I can\'t re-create the matrix multiplication in Lesson 5 - MNIST SGD" (copy in https://huggingface.co/datasets/nvidia/Nemotron-CC-Math-v1)'
CATEGORY = 'layer'
DESCRIPTION = 'Logistic regression of a course, written out by hand: x @ a with the weights of nn.Linear, which lie as (10, 784).'


class DataBunch:
    def __init__(self, x_train, y_train, bs=64):
        self.x_train, self.y_train, self.bs = x_train, y_train, bs

    @property
    def train_dl(self):
        for i in range(0, len(self.x_train), self.bs):
            yield self.x_train[i:i + self.bs], self.y_train[i:i + self.bs]


class Mnist_Logistic(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(784, 10, bias=True)

    def forward(self, xb):
        return self.lin(xb)


class Mnist_Logistic_by_hand(Mnist_Logistic):
    def forward(self, xb):
        a, b = [p for p in self.lin.parameters()]
        return torch.matmul(xb, a) + b


def update(x, y, model, lr, wd=1e-5):
    w2 = 0.0
    y_hat = model(x)
    for p in model.parameters():
        w2 = w2 + (p ** 2).sum()
    loss = F.cross_entropy(y_hat, y) + w2 * wd
    loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            p.sub_(lr * p.grad)
            p.grad.zero_()
    return loss.detach()


def build():
    return Mnist_Logistic_by_hand()


def step(model):
    data = DataBunch(torch.rand(192, 784), torch.randint(0, 10, (192,)))
    losses = [update(x, y, model, lr=2e-2) for x, y in data.train_dl]
    return torch.stack(losses).mean()


TRUTH = dict(raises='RuntimeError', at='function:matmul', culprits=['function:matmul'], dim=0, got=10, wanted=784,
             hint_any=['transpose', '.t()', '.t', 'linear'])
MENDED = [('torch.matmul(xb, a)', 'torch.matmul(xb, a.t())')]
