import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/cheind/py-style-transfer/issues/2 (128 x 97 against 128 x 96)'
CATEGORY = 'loss'
DESCRIPTION = ('Style transfer over several scales: the content picture is halved by the pyramid, the result of the coarser scale is doubled for the next one; '
               'a width of 99 is halved to 49, then to 24.')


class Normalize(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer('std', torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def forward(self, x):
        return (x - self.mean) / self.std


class VGG(nn.Module):
    def __init__(self, widths=(8, 12, 16)):
        super().__init__()
        layers, c = [Normalize()], 3
        for w in widths:
            layers += [nn.Conv2d(c, w, 3, padding=1), nn.ReLU(), nn.Conv2d(w, w, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)]
            c = w
        self.features = nn.Sequential(*layers[:-1])
        for p in self.parameters():
            p.requires_grad_(False)

    def forward(self, x, ids):
        out = {}
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in ids:
                out[i] = x
        return out


def gram_matrix(x):
    n, c, h, w = x.shape
    f = x.view(n, c, h * w)
    return torch.bmm(f, f.transpose(1, 2)) / (c * h * w)


class ContentLoss:
    def __init__(self, weights, picture):
        self.weights, self.picture = weights, picture

    def prepare(self, vgg):
        self.targets = vgg(self.picture, self.weights)

    def __call__(self, features):
        return sum(w * F.mse_loss(features[i], self.targets[i]) for i, w in self.weights.items())


class StyleLoss:
    def __init__(self, weights, picture):
        self.weights, self.picture = weights, picture

    def prepare(self, vgg):
        self.targets = {i: gram_matrix(f) for i, f in vgg(self.picture, self.weights).items()}

    def __call__(self, features):
        return sum(w * F.mse_loss(gram_matrix(features[i]), self.targets[i]) for i, w in self.weights.items())


class PlausibilityLoss:
    def __call__(self, x):
        return (x[..., 1:] - x[..., :-1]).abs().mean() + (x[..., 1:, :] - x[..., :-1, :]).abs().mean()


class StyleTransfer(nn.Module):
    def __init__(self):
        super().__init__()
        self.vgg = VGG()

    def generate(self, losses, seed, niter=1, lr=0.05):
        x = seed.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([x], lr=lr)
        for loss in losses:
            loss.prepare(self.vgg)
        ids = sorted({i for loss in losses for i in loss.weights})
        for _ in range(niter):
            optimizer.zero_grad()
            features = self.vgg(x, ids)
            total = sum(loss(features) for loss in losses) + 0.1 * PlausibilityLoss()(x)
            total.backward()
            optimizer.step()
            x.data.clamp_(0, 1)
        return x.detach(), total.detach()

    def generate_multiscale(self, content, style, nlevels=3):
        pyramid = [(content, style)]
        for _ in range(nlevels - 1):
            pyramid.append(tuple(F.interpolate(p, scale_factor=0.5, mode='bilinear', align_corners=False, recompute_scale_factor=False) for p in pyramid[-1]))
        seed = torch.rand_like(pyramid[-1][0])
        for content, style in reversed(pyramid):
            losses = [ContentLoss({9: 1.}, content), StyleLoss({2: 1e3, 7: 1e3}, style)]
            seed, total = self.generate(losses, seed)
            seed = F.interpolate(seed, scale_factor=2, mode='bilinear', align_corners=False)
        return total


def build():
    torch.manual_seed(0)
    return StyleTransfer()


def step(model):
    content, style = torch.rand(1, 3, 128, 100), torch.rand(1, 3, 128, 128)
    return model.generate_multiscale(content[..., :99], style)


# real answer: the sides have to be divisible by 2 for every level; or resize the seed to the size of the next picture
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['function:interpolate', 'input'], dim=3, hint_any=['interpolate', 'odd', 'divisible', 'multiple', 'size'])
MENDED = [('content[..., :99]', 'content[..., :96]')]
