import torch
from torch import nn
from torchvision import models

SOURCE = 'https://github.com/pytorch/pytorch/issues/15129'
CATEGORY = 'layer'
DESCRIPTION = 'All children of a torchvision ResNet are put into one nn.Sequential: the flatten between avgpool and fc stands in forward() and is lost.'


class ResNetFeatures(nn.Module):
    """PyTorch ResNet."""

    def __init__(self, num_classes=1000):
        super().__init__()
        self.resnet = nn.Sequential(
            *list(models.resnet18(weights=None, num_classes=num_classes).children()))
        for name, param in self.resnet.named_parameters():
            param.requires_grad = name.startswith(('7.', '9.', '10.'))

    def forward(self, x):
        """Forward pass."""
        x = self.resnet(x)
        return x


def preprocess(img):
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    img = nn.functional.interpolate(img.unsqueeze(0), size=(64, 64), mode='bilinear', align_corners=False).squeeze(0)
    return (img - mean) / std


def load_batch(n=4):
    g = torch.Generator().manual_seed(0)
    images = [torch.rand(3, 80 + 4 * i, 96, generator=g) for i in range(n)]
    labels = torch.randint(0, 20, (n,), generator=g)
    return torch.stack([preprocess(im) for im in images]), labels


def build():
    torch.manual_seed(0)
    return ResNetFeatures(num_classes=20)


def step(model):
    model.eval()
    images, labels = load_batch()
    scores = model(images)
    return nn.functional.cross_entropy(scores, labels)


# real fix: nn.Flatten() between the pooling and the linear layer (or keep the model's own forward)
# offending tensor: (4, 512, 1, 1)
TRUTH = dict(raises='RuntimeError', at='module:resnet.9', culprits=['resnet', 'resnet.8'], dim=3, got=1, wanted=512,
             hint_any=['flatten', 'squeeze', 'view('])
MENDED = [('*list(models.resnet18(weights=None, num_classes=num_classes).children()))',
           '*list(models.resnet18(weights=None).children())[:-1], nn.Flatten(), nn.Linear(512, num_classes))')]
