import types

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/layumi/Person_reID_baseline_pytorch/issues/337'
CATEGORY = 'layer'
DESCRIPTION = 'Adversarial training of a re-id Swin (224x224): the clipping bounds are normalised blank images of the 256x128 crop of the ResNet baseline.'

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
opt = types.SimpleNamespace(use_swin=True, batchsize=4, adv=0.1, classes=12, droprate=0.5)
h, w = (224, 224) if opt.use_swin else (256, 128)


class ClassBlock(nn.Module):
    def __init__(self, input_dim, class_num, droprate, linear=64):
        super().__init__()
        self.add_block = nn.Sequential(nn.Linear(input_dim, linear), nn.BatchNorm1d(linear), nn.Dropout(p=droprate))
        self.classifier = nn.Linear(linear, class_num)

    def forward(self, x):
        return self.classifier(self.add_block(x))


class SwinReID(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, 32, stride=32)
        self.pos = nn.Parameter(torch.zeros(1, (h // 32) * (w // 32), dim))
        self.block = nn.TransformerEncoderLayer(dim, 4, 48, batch_first=True)
        self.classifier = ClassBlock(dim, opt.classes, opt.droprate)

    def features(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        return self.block(x + self.pos).mean(1)

    def forward(self, x):
        return self.classifier(self.features(x))


def to_tensor_and_normalize(image):
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (image - mean) / std


def resize(image, size=(256, 128)):
    return F.interpolate(image[None], size=size, mode='bilinear', align_corners=False)[0]


def clip_single(image):
    zeros = to_tensor_and_normalize(resize(torch.zeros(3, 32, 32)))
    ones = to_tensor_and_normalize(resize(torch.ones(3, 32, 32)))
    low_mask = image < zeros
    up_mask = image > ones
    image = torch.where(low_mask, zeros, image)
    return torch.where(up_mask, ones, image)


def odfa(model, images, rate=8 / 255, rounds=2):
    model.eval()
    reference = model.features(images).detach()
    adversarial = images.clone()
    for _ in range(rounds):
        adversarial = adversarial.detach().requires_grad_(True)
        loss = F.mse_loss(model.features(adversarial), -reference)
        grad, = torch.autograd.grad(loss, adversarial)
        moved = (adversarial - rate * grad.sign()).detach()
        adversarial = torch.stack([clip_single(image) for image in moved])
    model.train()
    return adversarial


def build():
    return SwinReID()


def step(model):
    inputs = torch.stack([to_tensor_and_normalize(torch.rand(3, h, w)) for _ in range(opt.batchsize)])
    labels = torch.randint(0, opt.classes, (opt.batchsize,))
    loss = F.cross_entropy(model(inputs), labels)
    inputs_adv = odfa(model, inputs)
    return loss + opt.adv * F.cross_entropy(model(inputs_adv), labels)


# real fix: the bounds need the size of the images: Resize((224, 224)) with --use_swin
# offending tensor: zeros (3, 256, 128), image (3, 224, 224)
TRUTH = dict(raises='RuntimeError', at='function:lt', culprits=['function:interpolate', 'function:div', 'function:sub', 'function:zeros'], dim=2, got=128, wanted=224,
             hint_any=['interpolate', 'resize', 'bound', 'zeros', '224'])
MENDED = [('def resize(image, size=(256, 128)):', 'def resize(image, size=(h, w)):')]
