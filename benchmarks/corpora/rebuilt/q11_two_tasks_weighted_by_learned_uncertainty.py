import torch
import torch.nn as nn

SOURCE = 'https://discuss.pytorch.org/t/how-to-learn-the-weights-between-two-losses/39681'
CATEGORY = 'silent'
DESCRIPTION = 'Uncertainty weighting of two losses: torch.Tensor(list of losses) copies their numbers, so only the weights sigma get a gradient and the tasks themselves are never trained.'


class TaskHead(nn.Module):
    def __init__(self, backbone, width, out_dim):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out_dim))

    def forward(self, x):
        return self.head(self.backbone(x))


class MultiTaskLoss(nn.Module):
    def __init__(self, tasks):
        super().__init__()
        self.tasks = nn.ModuleList(tasks)
        self.sigma = nn.Parameter(torch.ones(len(tasks)))
        self.mse = nn.MSELoss()

    def forward(self, x, targets):
        l = [self.mse(f(x), y) for y, f in zip(targets, self.tasks)]
        l = 0.5 * torch.Tensor(l) / self.sigma ** 2
        l = l.sum() + torch.log(self.sigma.prod())
        return l


def scene(n, in_dim=10):
    x = torch.randn(n, in_dim)
    depth = x[:, :1] - x[:, 1:2] ** 2
    normals = torch.tanh(x[:, 2:5])
    return x, [depth, normals]


def build():
    backbone = nn.Sequential(nn.Linear(10, 24), nn.ReLU())
    return MultiTaskLoss([TaskHead(backbone, 24, 1), TaskHead(backbone, 24, 3)])


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, targets = scene(32)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(x, targets)
        loss.backward()
        optimizer.step()
    return loss.detach()


# torch.stack(l) keeps the graph
TRUTH = dict(raises=None, at='function:Tensor', culprits=['function:Tensor', 'function:tensor', 'mse', ''], dim=None, got=None, wanted=None,
             hint_any=['gradient', 'graph', 'stack', 'detach', 'copies'])
MENDED = [('torch.Tensor(l)', 'torch.stack(l)')]
