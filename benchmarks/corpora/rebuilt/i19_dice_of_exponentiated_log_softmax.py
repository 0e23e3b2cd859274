import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Jiaxuan-Li/MGU-Net/issues/3'
CATEGORY = 'correct'
DESCRIPTION = 'Retinal layers: the network ends in log_softmax, NLL takes that, and the Dice loss takes its exponential where one expects a softmax or a sigmoid.'


class ConvBNReLU(nn.Sequential):
    def __init__(self, c_in, c_out):
        super().__init__(nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU())


class GraphReasoning(nn.Module):
    def __init__(self, channels, nodes=6):
        super().__init__()
        self.phi, self.theta = nn.Conv2d(channels, channels // 2, 1), nn.Conv2d(channels, nodes, 1)
        self.gcn_nodes, self.gcn_states = nn.Conv1d(nodes, nodes, 1), nn.Conv1d(channels // 2, channels // 2, 1)
        self.out = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x):
        b, _, h, w = x.shape
        project = F.softmax(self.theta(x).flatten(2), dim=1)              # every pixel over the nodes
        states = self.phi(x).flatten(2) @ project.transpose(1, 2)           # b, c/2, nodes
        states = states + self.gcn_nodes(states.transpose(1, 2)).transpose(1, 2)
        states = F.relu(self.gcn_states(states))
        return x + self.out((states @ project).view(b, -1, h, w))


class MGUNet(nn.Module):
    def __init__(self, in_channels=1, n_classes=5, width=8):
        super().__init__()
        self.conv1, self.conv2 = ConvBNReLU(in_channels, width), ConvBNReLU(width, 2 * width)
        self.mgb = GraphReasoning(2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.up_conv = ConvBNReLU(2 * width, width)
        self.final = nn.Conv2d(width, n_classes, 1)

    def forward(self, x):
        skip = self.conv1(x)
        deep = self.mgb(self.conv2(F.max_pool2d(skip, 2)))
        up = self.up_conv(torch.cat([skip, self.up(deep)], 1))
        return F.log_softmax(self.final(up), dim=1)


class DiceLoss(nn.Module):
    def __init__(self, n_classes, smooth=0.01):
        super().__init__()
        self.n_classes, self.smooth = n_classes, smooth

    def forward(self, input, target):
        input = torch.exp(input)
        onehot = F.one_hot(target, self.n_classes).permute(0, 3, 1, 2).float()
        inter = torch.sum(input * onehot, dim=(2, 3)) + self.smooth
        union = torch.sum(input, dim=(2, 3)) + torch.sum(onehot, dim=(2, 3)) + self.smooth
        return 1 - (2.0 * inter / union).mean()


def build():
    return MGUNet()


def step(model):
    image = torch.rand(3, 1, 32, 24)
    boundaries = torch.sort(torch.randint(2, 30, (3, 4, 1, 24)), dim=1).values
    label = (torch.arange(32).view(1, 1, 32, 1) >= boundaries).sum(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    output = model(image)
    loss = nn.NLLLoss()(output, label) + DiceLoss(5)(output, label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
