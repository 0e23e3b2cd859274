import numpy as np
import torch
from torch import nn, Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/sithu31296/semantic-segmentation/issues/9'
CATEGORY = 'layer'
DESCRIPTION = 'Dice loss by hand on 18 classes of an own Cityscapes-like set: the label image comes in as its 4 colour channels (RGBA).'

PALETTE = torch.tensor([
    [128, 64, 128], [244, 35, 232], [70, 70, 70], [102, 102, 156], [190, 153, 153], [153, 153, 153], [250, 170, 30], [220, 220, 0],
    [107, 142, 35], [152, 251, 152], [70, 130, 180], [220, 20, 60], [255, 0, 0], [0, 0, 142], [0, 0, 70], [0, 60, 100], [0, 80, 100],
    [0, 0, 230]])


class CustomDataset(Dataset):
    CLASSES = 18

    def __init__(self, root: str, split: str = 'train', size=(32, 64)):
        self.root, self.split, self.size = root, split, size

    def __len__(self) -> int:
        return 8

    def imread(self, index):
        rng = np.random.RandomState(index)
        h, w = self.size
        ids = rng.randint(0, self.CLASSES, (h // 8, w // 8)).repeat(8, 0).repeat(8, 1)
        rgb = PALETTE.numpy()[ids].astype(np.uint8)
        rgba = np.concatenate([rgb, np.full((h, w, 1), 255, np.uint8)], axis=-1)
        return torch.from_numpy(rgb).permute(2, 0, 1), torch.from_numpy(rgba).permute(2, 0, 1)

    def encode(self, label: Tensor) -> Tensor:
        return label.long()

    def __getitem__(self, index: int):
        image, label = self.imread(index)
        return image.float() / 255., self.encode(label)


class Dice(nn.Module):
    def __init__(self, delta: float = 0.5, aux_weights: list = [1, 0.4]):
        super().__init__()
        self.delta = delta
        self.aux_weights = aux_weights

    def _forward(self, preds: Tensor, targets: Tensor) -> Tensor:
        # preds and targets in shape [B, C, H, W]
        num_classes = preds.shape[1]
        tp = torch.sum(targets*preds, dim=(2, 3))
        fn = torch.sum(targets*(1-preds), dim=(2, 3))
        fp = torch.sum((1-targets)*preds, dim=(2, 3))
        dice_score = (tp + 1e-6) / (tp + self.delta * fn + (1 - self.delta) * fp + 1e-6)
        dice_score = torch.sum(1 - dice_score, dim=-1)
        dice_score = dice_score / num_classes
        return dice_score.mean()

    def forward(self, preds, targets: Tensor) -> Tensor:
        if isinstance(preds, tuple):
            return sum([w * self._forward(pred, targets) for (pred, w) in zip(preds, self.aux_weights)])
        return self._forward(preds, targets)


class ConvModule(nn.Sequential):
    def __init__(self, c1, c2, k, s=1, p=0):
        super().__init__(nn.Conv2d(c1, c2, k, s, p, bias=False), nn.BatchNorm2d(c2), nn.ReLU(True))


class BiSeNet(nn.Module):
    def __init__(self, num_classes: int = 18, c: int = 16):
        super().__init__()
        self.spatial_path = nn.Sequential(ConvModule(3, c, 3, 2, 1), ConvModule(c, c * 2, 3, 2, 1))
        self.context_path = nn.Sequential(ConvModule(3, c, 7, 4, 3), ConvModule(c, c * 2, 3, 2, 1))
        self.ffm = ConvModule(c * 4, c * 2, 1)
        self.output_head = nn.Conv2d(c * 2, num_classes, 1)
        self.context_head = nn.Conv2d(c * 2, num_classes, 1)

    def forward(self, x):
        size = x.shape[-2:]
        sp = self.spatial_path(x)
        cx = self.context_path(x)
        fm = self.ffm(torch.cat([sp, F.interpolate(cx, size=sp.shape[-2:], mode='bilinear', align_corners=True)], dim=1))
        outs = (self.output_head(fm), self.context_head(cx))
        return tuple(F.interpolate(o, size=size, mode='bilinear', align_corners=True).softmax(dim=1) for o in outs)


def build():
    torch.manual_seed(0)
    return BiSeNet(CustomDataset.CLASSES)


def step(model):
    trainloader = DataLoader(CustomDataset('data', 'train'), batch_size=4)
    loss_fn = Dice()
    train_loss = 0.0
    for img, lbl in trainloader:
        preds = model(img)
        train_loss = train_loss + loss_fn(preds, lbl)
    return train_loss / len(trainloader)


# real fix: turn the colours of the label image into one plane a class, (B, 18, H, W)
# offending tensor: targets (4, 4, 32, 64)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['target', 'input'], dim=1, got=4, wanted=18,
             hint_any=['label', 'target', 'one-hot', 'one_hot', 'classes', '18'])
MENDED = [('        return label.long()\n', '        return torch.stack([(label[:3] == c[:, None, None]).all(0) for c in PALETTE]).long()\n')]
