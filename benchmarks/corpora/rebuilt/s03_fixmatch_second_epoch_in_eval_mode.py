import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kekmodel/FixMatch-pytorch/issues/42'
CATEGORY = 'silent'
DESCRIPTION = 'model.train() stands before the loop over epochs; the test at the end of an epoch leaves the model in eval mode for all later ones.'


class BasicBlock(nn.Module):
    def __init__(self, in_planes, out_planes, stride, drop_rate=0.0):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes, momentum=0.001)
        self.relu1 = nn.LeakyReLU(negative_slope=0.1)
        self.conv1 = nn.Conv2d(in_planes, out_planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_planes, momentum=0.001)
        self.relu2 = nn.LeakyReLU(negative_slope=0.1)
        self.conv2 = nn.Conv2d(out_planes, out_planes, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(in_planes, out_planes, 1, stride=stride, bias=False)

    def forward(self, x):
        x = self.relu1(self.bn1(x))
        out = self.conv2(self.relu2(self.bn2(self.conv1(x))))
        return self.shortcut(x) + out


class WideResNet(nn.Module):
    def __init__(self, num_classes=10, channels=(8, 8, 16)):
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        self.block1 = BasicBlock(channels[0], channels[1], 1)
        self.block2 = BasicBlock(channels[1], channels[2], 2)
        self.bn1 = nn.BatchNorm2d(channels[2], momentum=0.001)
        self.fc = nn.Linear(channels[2], num_classes)

    def forward(self, x):
        out = self.block2(self.block1(self.conv1(x)))
        out = F.leaky_relu(self.bn1(out), 0.1)
        return self.fc(F.adaptive_avg_pool2d(out, 1).flatten(1))


def interleave(x, size):
    s = list(x.shape)
    return x.reshape([-1, size] + s[1:]).transpose(0, 1).reshape([-1] + s[1:])


def de_interleave(x, size):
    s = list(x.shape)
    return x.reshape([size, -1] + s[1:]).transpose(0, 1).reshape([-1] + s[1:])


def test(model, test_loader):
    correct, total = 0, 0
    with torch.no_grad():
        for inputs, targets in test_loader:
            model.eval()
            outputs = model(inputs)
            correct += (outputs.argmax(1) == targets).sum().item()
            total += targets.numel()
    return correct / total


def train(args, loader, test_loader, model, optimizer):
    model.train()
    for epoch in range(args['epochs']):
        for (inputs_x, targets_x), (inputs_u_w, inputs_u_s) in loader:
            batch_size = inputs_x.shape[0]
            inputs = interleave(torch.cat((inputs_x, inputs_u_w, inputs_u_s)), 2 * args['mu'] + 1)
            logits = de_interleave(model(inputs), 2 * args['mu'] + 1)
            logits_x = logits[:batch_size]
            logits_u_w, logits_u_s = logits[batch_size:].chunk(2)
            Lx = F.cross_entropy(logits_x, targets_x, reduction='mean')
            pseudo_label = torch.softmax(logits_u_w.detach() / args['T'], dim=-1)
            max_probs, targets_u = torch.max(pseudo_label, dim=-1)
            mask = max_probs.ge(args['threshold']).float()
            Lu = (F.cross_entropy(logits_u_s, targets_u, reduction='none') * mask).mean()
            loss = Lx + args['lambda_u'] * Lu
            loss.backward()
            optimizer.step()
            model.zero_grad()
        test(model, test_loader)
    return loss.detach()


def build():
    return WideResNet()


def step(model):
    args = dict(epochs=2, mu=3, T=1.0, threshold=0.05, lambda_u=1.0)
    labeled = torch.randn(4, 3, 8, 8) * 2 + 0.5, torch.randint(0, 10, (4,))
    weak = torch.randn(12, 3, 8, 8) * 2 + 0.5
    loader = [(labeled, (weak, weak + 0.1 * torch.randn_like(weak)))] * 2
    test_loader = [(torch.randn(6, 3, 8, 8), torch.randint(0, 10, (6,)))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, nesterov=True)
    return train(args, loader, test_loader, model, optimizer)


# real fix: model.train() inside of the loop over epochs (the second epoch trains with the running statistics)
TRUTH = dict(raises=None, at='module:block1.bn1', culprits=['', 'block1.bn1', 'block1.bn2', 'block2.bn1', 'block2.bn2', 'bn1'], dim=None, got=None,
             wanted=None, hint_any=['eval', 'train()', 'mode', 'running'])
MENDED = [("    model.train()\n    for epoch in range(args['epochs']):\n", "    for epoch in range(args['epochs']):\n        model.train()\n")]
