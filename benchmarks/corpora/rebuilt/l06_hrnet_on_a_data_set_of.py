import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/HRNet/HRNet-Semantic-Segmentation/issues/41 (class weights that do not go with the classes; the derived data set is reconstructed)'
CATEGORY = 'loss'
DESCRIPTION = 'HRNet on a data set of its own: the data set class is derived from Cityscapes and brings its 19 class weights to a loss over 6 classes.'


class BaseDataset(Dataset):
    def __init__(self, ignore_label=255, crop_size=(64, 96)):
        self.ignore_label, self.crop_size = ignore_label, crop_size
        self.class_weights = None

    def __len__(self):
        return 6

    def __getitem__(self, index):
        h, w = self.crop_size
        image = torch.randn(3, h, w)
        label = torch.randint(0, self.num_classes, (h, w))
        label[:4] = self.ignore_label
        return image, label


class Cityscapes(BaseDataset):
    def __init__(self, num_classes=19, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.class_weights = torch.FloatTensor([0.8373, 0.918, 0.866, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023,
                                                0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507])


class RoadDataset(Cityscapes):
    def __init__(self, root='data/road', **kwargs):
        super().__init__(**kwargs)
        self.root = root


class HighResolutionNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        widths = config['widths']
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU())
        self.branches = nn.ModuleList([nn.Conv2d(16, w, 3, 2 ** i, 1) for i, w in enumerate(widths)])
        self.last_layer = nn.Sequential(nn.Conv2d(sum(widths), sum(widths), 1), nn.BatchNorm2d(sum(widths)), nn.ReLU(),
                                        nn.Conv2d(sum(widths), config['num_classes'], 1))

    def forward(self, x):
        x = self.stem(x)
        xs = [branch(x) for branch in self.branches]
        size = xs[0].shape[2:]
        xs = [xs[0]] + [F.interpolate(y, size=size, mode='bilinear', align_corners=False) for y in xs[1:]]
        return self.last_layer(torch.cat(xs, 1))


class CrossEntropy(nn.Module):
    def __init__(self, ignore_label=-1, weight=None):
        super().__init__()
        self.ignore_label = ignore_label
        self.criterion = nn.CrossEntropyLoss(weight=weight, ignore_index=ignore_label)

    def forward(self, score, target):
        ph, pw = score.size(2), score.size(3)
        h, w = target.size(1), target.size(2)
        if ph != h or pw != w:
            score = F.interpolate(score, size=(h, w), mode='bilinear', align_corners=False)
        return self.criterion(score, target)


class FullModel(nn.Module):
    def __init__(self, model, loss):
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, inputs, labels):
        outputs = self.model(inputs)
        return self.loss(outputs, labels).unsqueeze(0), outputs


CONFIG = dict(num_classes=6, widths=[8, 16, 32], ignore_label=255)
train_dataset = RoadDataset(num_classes=CONFIG['num_classes'], ignore_label=CONFIG['ignore_label'])


def build():
    torch.manual_seed(0)
    model = HighResolutionNet(CONFIG)
    criterion = CrossEntropy(ignore_label=CONFIG['ignore_label'], weight=train_dataset.class_weights)
    return FullModel(model, criterion)


def step(model):
    images, labels = next(iter(DataLoader(train_dataset, batch_size=2)))
    losses, _ = model(images, labels)
    return losses.mean()


# maintainer: check the number of classes and class_weights; without weights of one's own set them to None
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['loss.criterion'], dim=0, got=19, wanted=6,
             hint_any=['weight', '19'])
MENDED = [('        self.root = root\n', '        self.root = root\n        self.class_weights = None\n')]
