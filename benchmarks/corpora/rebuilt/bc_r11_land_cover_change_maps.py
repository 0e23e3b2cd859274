import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/DingLei14/Bi-SRNet/issues/1 (also DingLei14/SCanNet issue 19; the conversion by Color2Index is that of the repository\'s data set file)'
CATEGORY = 'loss'
DESCRIPTION = ('Semantic change detection in aerial pictures: the label maps of both dates are read as colour pictures (2, H, W, 3), the function that turns colours '
               'into class numbers was left out.')

ST_COLORMAP = [[255, 255, 255], [0, 0, 255], [128, 128, 128], [0, 128, 0], [0, 255, 0], [128, 0, 0], [255, 0, 0]]

colormap2label = torch.zeros(256 ** 3, dtype=torch.uint8)
for i, cm in enumerate(ST_COLORMAP):
    colormap2label[(cm[0] * 256 + cm[1]) * 256 + cm[2]] = i


def color_to_index(color_label):
    data = color_label.long()
    idx = (data[:, :, 0] * 256 + data[:, :, 1]) * 256 + data[:, :, 2]
    return colormap2label[idx].long()


def index_to_color(pred):
    return torch.tensor(ST_COLORMAP, dtype=torch.uint8)[pred]


class SECOND(torch.utils.data.Dataset):
    def __init__(self, size, height=32, width=32):
        self.imgs_A, self.imgs_B = torch.rand(size, 3, height, width), torch.rand(size, 3, height, width)
        classes = torch.randint(0, len(ST_COLORMAP), (2, size, height, width))
        same = torch.rand(size, height, width) < 0.7
        classes[:, same] = 0
        self.labels_A, self.labels_B = index_to_color(classes[0]), index_to_color(classes[1])

    def __len__(self):
        return len(self.imgs_A)

    def __getitem__(self, idx):
        label_A, label_B = self.labels_A[idx], self.labels_B[idx]
        return self.imgs_A[idx], self.imgs_B[idx], label_A.long(), label_B.long()


class ResBlock(nn.Module):
    def __init__(self, inplanes, planes):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(inplanes, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes), nn.ReLU(),
                                  nn.Conv2d(planes, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes))
        self.short = nn.Conv2d(inplanes, planes, 1)

    def forward(self, x):
        return F.relu(self.conv(x) + self.short(x))


class BiSRNet(nn.Module):
    def __init__(self, in_channels=3, num_classes=7):
        super().__init__()
        self.FCN = nn.Sequential(nn.Conv2d(in_channels, 16, 3, stride=2, padding=1), nn.ReLU(), ResBlock(16, 32))
        self.resCD = nn.Sequential(ResBlock(64, 32), ResBlock(32, 32))
        self.classifier1 = nn.Conv2d(32, num_classes, 1)
        self.classifier2 = nn.Conv2d(32, num_classes, 1)
        self.classifierCD = nn.Conv2d(32, 1, 1)

    def forward(self, x1, x2):
        size = x1.shape[2:]
        x1, x2 = self.FCN(x1), self.FCN(x2)
        change = self.classifierCD(self.resCD(torch.cat([x1, x2], 1)))
        up = [F.interpolate(o, size, mode='bilinear', align_corners=False) for o in (change, self.classifier1(x1), self.classifier2(x2))]
        return up


class CrossEntropyLoss2d(nn.Module):
    def __init__(self, weight=None, ignore_index=-1):
        super().__init__()
        self.nll_loss = nn.NLLLoss(weight, ignore_index=ignore_index, reduction='mean')

    def forward(self, inputs, targets):
        return self.nll_loss(F.log_softmax(inputs, dim=1), targets)


def build():
    torch.manual_seed(0)
    return BiSRNet()


def step(model):
    criterion = CrossEntropyLoss2d(ignore_index=0)
    loader = torch.utils.data.DataLoader(SECOND(4), batch_size=2, shuffle=True)
    imgs_A, imgs_B, labels_A, labels_B = next(iter(loader))
    out_change, outputs_A, outputs_B = model(imgs_A, imgs_B)
    loss_seg = criterion(outputs_A, labels_A) * 0.5 + criterion(outputs_B, labels_B) * 0.5
    return loss_seg + out_change.sigmoid().mean()


TRUTH = dict(raises='RuntimeError', at='loss:nll_loss', culprits=['target'], dim=3, got=3, hint_any=['rgb', 'colour', 'color', 'channel', 'class ind', 'index', 'trailing'])
MENDED = [('return self.imgs_A[idx], self.imgs_B[idx], label_A.long(), label_B.long()',
           'return self.imgs_A[idx], self.imgs_B[idx], color_to_index(label_A), color_to_index(label_B)')]
