import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/sinAshish/Multi-Scale-Attention/issues/16 (that squeeze() drops the batch dimension is read from the sizes and from "batch size 1 is a problem")'
CATEGORY = 'loss'
DESCRIPTION = ('Abdominal organs with a guided attention network and a batch of one slice: getTargetSegmentation ends with squeeze(), '
               'which takes the batch dimension of the label map along.')


class MedicalImageDataset(Dataset):
    def __init__(self, n=6, size=48):
        g = torch.Generator().manual_seed(4)
        self.imgs = torch.rand(n, 1, size, size, generator=g)
        self.masks = torch.randint(0, 5, (n, 1, size, size), generator=g) * 0.24705882

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, i):
        return self.imgs[i], self.masks[i], 'Case%02d.png' % i


def getTargetSegmentation(batch):
    denom = 0.24705882
    return (batch / denom).round().long().squeeze()


def getOneHotSegmentation(batch):
    classes = torch.arange(5).view(1, 5, 1, 1) * 0.24705882
    return ((batch - classes).abs() < 1e-3).float()


class PAM(nn.Module):
    def __init__(self, in_dim):
        super().__init__()
        self.query_conv = nn.Conv2d(in_dim, in_dim // 8, 1)
        self.key_conv = nn.Conv2d(in_dim, in_dim // 8, 1)
        self.value_conv = nn.Conv2d(in_dim, in_dim, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        b, c, h, w = x.shape
        q = self.query_conv(x).view(b, -1, h * w).permute(0, 2, 1)
        k = self.key_conv(x).view(b, -1, h * w)
        attention = torch.bmm(q, k).softmax(-1)
        v = self.value_conv(x).view(b, -1, h * w)
        out = torch.bmm(v, attention.permute(0, 2, 1)).view(b, c, h, w)
        return self.gamma * out + x


class DAF_stack(nn.Module):
    def __init__(self, ch=16, n_classes=5):
        super().__init__()
        self.layer0 = nn.Sequential(nn.Conv2d(1, ch, 3, stride=2, padding=1), nn.PReLU())
        self.layer1 = nn.Sequential(nn.Conv2d(ch, ch, 3, stride=2, padding=1), nn.PReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(ch, ch, 3, stride=2, padding=1), nn.PReLU())
        self.pams = nn.ModuleList([PAM(ch) for _ in range(2)])
        self.predicts = nn.ModuleList([nn.Conv2d(ch, n_classes, 1) for _ in range(4)])

    def forward(self, x):
        l0 = self.layer0(x)
        l1 = self.layer1(l0)
        l2 = self.layer2(l1)
        attended = [self.pams[0](l1), self.pams[1](l2)]
        maps = [l1, l2] + attended
        return [F.interpolate(p(m), size=x.shape[2:], mode='bilinear', align_corners=False) for p, m in zip(self.predicts, maps)]


def dice_loss(pred, target):
    inter = (pred * target).sum((2, 3))
    return 1 - ((2 * inter + 1) / (pred.sum((2, 3)) + target.sum((2, 3)) + 1)).mean()


def build():
    torch.manual_seed(0)
    return DAF_stack()


def step(model):
    torch.manual_seed(1)
    loader = DataLoader(MedicalImageDataset(), batch_size=1, shuffle=True)
    CE_loss = nn.CrossEntropyLoss()
    image, labels, img_names = next(iter(loader))
    segmentation_prediction = model(image)
    Segmentation_class = getTargetSegmentation(labels)
    losses = [CE_loss(output, Segmentation_class) for output in segmentation_prediction]
    lossG = sum(losses)
    predClass = torch.stack(segmentation_prediction).mean(0).softmax(1)
    return lossG + dice_loss(predClass, getOneHotSegmentation(labels))


# real fix: squeeze(1) (in the thread: a batch larger than one)
# offending tensor: Segmentation_class (48, 48) beside outputs (1, 5, 48, 48)
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['function:squeeze', 'target'], dim=0, got=48, wanted=1, hint_any=['squeeze', 'batch', 'unsqueeze'])
MENDED = [('.long().squeeze()', '.long().squeeze(1)')]
