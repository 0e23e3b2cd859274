import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://whosebug.com/question/3488019/Lack-of-Sparse-Solution-with-L1-Regularization-in-Pytorch (copy of a Stack Overflow question)'
CATEGORY = 'silent'
DESCRIPTION = 'L1 penalty for the first layer of a small classifier: the norm is taken of layer.weight.data, which is cut off from the graph, so the penalty raises the loss and has no gradient.'


class Network(nn.Module):
    def __init__(self, nf, nh, nc):
        super().__init__()
        self.lin1 = nn.Linear(nf, nh)
        self.lin2 = nn.Linear(nh, nc)

    def forward(self, x):
        l1out = F.relu(self.lin1(x))
        out = F.softmax(self.lin2(l1out), dim=1)
        return out, l1out


def l1loss(layer):
    return torch.norm(layer.weight.data, p=1)


def two_relevant_features(n=150, nf=10):
    x = torch.randn(n, nf)
    label = (x[:, 0] * x[:, 1] > 0).long()
    return x, F.one_hot(label, 2).float()


nf, nh, nc = 10, 6, 2
learningrate = 0.02
lmbda = 0.1
batchsize = 50


def build():
    return Network(nf, nh, nc)


def step(model):
    crit = nn.MSELoss()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=learningrate)
    xtr, ytr = two_relevant_features()
    per = torch.randperm(len(xtr))
    for i in range(0, len(xtr), batchsize):
        ind = per[i:i + batchsize]
        bx, by = xtr[ind], ytr[ind]
        optimizer.zero_grad()
        output, l1out = model(bx)
        loss = crit(output, by) + lmbda * l1loss(model.lin1)
        loss.backward()
        optimizer.step()
    return loss.detach()


# answer of the question: leave .data away
TRUTH = dict(raises=None, at='function:norm', culprits=['function:norm', 'lin1'], dim=None, got=None, wanted=None,
             hint_any=['.data', 'gradient', 'detach', 'graph', 'norm'])
MENDED = [('layer.weight.data', 'layer.weight')]
