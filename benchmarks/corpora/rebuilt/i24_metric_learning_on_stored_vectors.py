import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/KevinMusgrave/pytorch-metric-learning/issues/357 (embedding layers with a classification layer in front of CosFaceLoss; the sizes and the place are ours)'
CATEGORY = 'layer'
DESCRIPTION = 'CosFace on stored feature vectors: the loss holds a class weight of (embedding, classes), the network ends in a classification layer of its own and hands over class scores.'


class CosFaceLoss(nn.Module):
    def __init__(self, num_classes, embedding_size, margin=0.35, scale=64):
        super().__init__()
        self.W = nn.Parameter(torch.empty(embedding_size, num_classes))
        nn.init.normal_(self.W)
        self.num_classes, self.margin, self.scale = num_classes, margin, scale

    def get_cosine(self, embeddings):
        return torch.matmul(F.normalize(embeddings, dim=1), F.normalize(self.W, dim=0))

    def forward(self, embeddings, labels):
        cosine = self.get_cosine(embeddings)
        mask = F.one_hot(labels, self.num_classes).float()
        return F.cross_entropy(self.scale * (cosine - self.margin * mask), labels)


class Net(nn.Module):
    def __init__(self, embedding_size, num_classes):
        super().__init__()
        self.fc1 = nn.Linear(embedding_size, embedding_size)
        self.fc2 = nn.Linear(embedding_size, num_classes)

    def forward(self, x):
        x = F.normalize(x, p=2, dim=len(x.size()) - 1)
        x = self.fc1(x)
        x = self.fc2(x)
        return x


class Experiment(nn.Module):
    def __init__(self, embedding_size=512, num_classes=32):
        super().__init__()
        self.net = Net(embedding_size, num_classes)
        self.loss_func = CosFaceLoss(num_classes=num_classes, embedding_size=embedding_size)


def epoch(exp, loader):
    losses = []
    for data, labels in loader:
        embeddings = exp.net(data)
        losses.append(exp.loss_func(embeddings, labels))
    return torch.stack(losses).mean()


def build():
    return Experiment()


def step(exp):
    vectors, labels = torch.randn(64, 512), torch.randint(0, 32, (64,))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(vectors, labels), batch_size=32)
    return epoch(exp, loader)


# real fix: leave fc2 out (the loss is the classifier), or give the loss the width of what it gets
TRUTH = dict(raises='RuntimeError', at='function:matmul', culprits=['net.fc2', 'net', 'loss_func'], dim=1, got=32, wanted=512,
             hint_any=['512', 'embedding', 'fc2', 'class'])
MENDED = [('        x = self.fc2(x)\n', '')]
