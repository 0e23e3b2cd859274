import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/gram-ai/capsule-networks/issues/28'
CATEGORY = 'layer'
DESCRIPTION = 'Capsule network: the margin loss multiplies labels with (B,10) class lengths; the labels are class numbers (16,), not one-hot rows.'

NUM_CLASSES, NUM_ROUTING_ITERATIONS, BATCH_SIZE = 10, 3, 16


class CapsuleLayer(nn.Module):
    def __init__(self, num_capsules, num_route_nodes, in_channels, out_channels, kernel_size=None, stride=None):
        super().__init__()
        self.num_route_nodes, self.num_capsules = num_route_nodes, num_capsules
        if num_route_nodes != -1:
            self.route_weights = nn.Parameter(0.1 * torch.randn(num_capsules, num_route_nodes, in_channels, out_channels))
        else:
            self.capsules = nn.ModuleList([nn.Conv2d(in_channels, out_channels, kernel_size, stride) for _ in range(num_capsules)])

    @staticmethod
    def squash(t, dim=-1):
        n = (t ** 2).sum(dim=dim, keepdim=True)
        return n / (1 + n) * t / torch.sqrt(n + 1e-8)

    def forward(self, x):
        if self.num_route_nodes == -1:
            outputs = torch.cat([c(x).view(x.size(0), -1, 1) for c in self.capsules], dim=-1)
            return self.squash(outputs)
        priors = x[None, :, :, None, :] @ self.route_weights[:, None, :, :, :]
        logits = torch.zeros_like(priors)
        for i in range(NUM_ROUTING_ITERATIONS):
            probs = F.softmax(logits, dim=2)
            outputs = self.squash((probs * priors).sum(dim=2, keepdim=True))
            if i != NUM_ROUTING_ITERATIONS - 1:
                logits = logits + (priors * outputs).sum(dim=-1, keepdim=True)
        return outputs


class CapsuleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 9, 1)
        self.primary_capsules = CapsuleLayer(8, -1, 16, 4, kernel_size=9, stride=2)
        self.digit_capsules = CapsuleLayer(NUM_CLASSES, 4 * 6 * 6, 8, 8)
        self.decoder = nn.Sequential(nn.Linear(8 * NUM_CLASSES, 64), nn.ReLU(inplace=True), nn.Linear(64, 784), nn.Sigmoid())

    def forward(self, x, y=None):
        x = F.relu(self.conv1(x), inplace=True)
        x = self.primary_capsules(x)
        x = self.digit_capsules(x).squeeze(3).squeeze(2).transpose(0, 1)
        classes = (x ** 2).sum(dim=-1) ** 0.5
        _, top = classes.max(dim=1)
        y = torch.eye(NUM_CLASSES).index_select(dim=0, index=top)
        reconstructions = self.decoder((x * y[:, :, None]).reshape(x.size(0), -1))
        return classes, reconstructions


class CapsuleLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.reconstruction_loss = nn.MSELoss(reduction='sum')

    def forward(self, images, labels, classes, reconstructions):
        left = F.relu(0.9 - classes, inplace=True) ** 2
        right = F.relu(classes - 0.1, inplace=True) ** 2
        margin_loss = labels * left + 0.5 * (1. - labels) * right
        reconstruction_loss = self.reconstruction_loss(reconstructions, images.view(reconstructions.size(0), -1))
        return (margin_loss.sum() + 0.0005 * reconstruction_loss) / images.size(0)


def processor(model, capsule_loss, sample):
    data, labels = sample
    data = data.unsqueeze(1).float() / 255.0
    labels = labels.long()
    classes, reconstructions = model(data, labels)
    return capsule_loss(data, labels, classes, reconstructions), classes


def build():
    return CapsuleNet()


def step(model):
    sample = torch.randint(0, 256, (BATCH_SIZE, 28, 28)), torch.randint(0, NUM_CLASSES, (BATCH_SIZE,))
    loss, _ = processor(model, CapsuleLoss(), sample)
    return loss


# real fix: one-hot labels, torch.eye(NUM_CLASSES).index_select(0, labels)
# offending tensor: labels (16,), (16, 10) expected
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['target', 'input', 'function:long', 'function:to'], dim=None, got=16, wanted=10,
             hint_any=['one-hot', 'one_hot', 'label', 'class', 'unsqueeze', 'target'])
MENDED = [('labels = labels.long()\n', 'labels = torch.eye(NUM_CLASSES).index_select(dim=0, index=labels.long())\n')]
