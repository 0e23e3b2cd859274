import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/sgrvinod/a-PyTorch-Tutorial-to-Object-Detection/issues/14'
CATEGORY = 'layer'
DESCRIPTION = 'SSD on a data set of its own: an image without objects gives torch.FloatTensor([]) of shape (0,), the box resize wants (n, 4).'

ANNOTATIONS = [
    {'size': (500, 375), 'boxes': [[48, 240, 195, 371], [8, 12, 352, 298]], 'labels': [1, 2]},
    {'size': (500, 333), 'boxes': [[120, 60, 300, 320]], 'labels': [1]},
    {'size': (640, 480), 'boxes': [], 'labels': []},
    {'size': (486, 500), 'boxes': [[174, 101, 349, 351]], 'labels': [2]},
]


def resize(image, boxes, dims=(96, 96)):
    width, height = image.shape[2], image.shape[1]
    image = F.interpolate(image[None], size=dims, mode='bilinear', align_corners=False)[0]
    old_dims = torch.FloatTensor([width, height, width, height]).unsqueeze(0)
    return image, boxes / old_dims


def flip(image, boxes):
    new = boxes.clone()
    new[:, 0], new[:, 2] = 1 - boxes[:, 2], 1 - boxes[:, 0]
    return image.flip(2), new


class PascalDataset:
    def __init__(self, annotations):
        self.annotations = annotations

    def __getitem__(self, i):
        ann = self.annotations[i]
        image = torch.rand(3, ann['size'][1], ann['size'][0])
        boxes = torch.FloatTensor(ann['boxes'])
        labels = torch.LongTensor(ann['labels'])
        image, boxes = resize(image, boxes)
        if i % 2:
            image, boxes = flip(image, boxes)
        return image, boxes, labels

    def collate_fn(self, batch):
        images, boxes, labels = zip(*batch)
        return torch.stack(images), list(boxes), list(labels)


class SSD(nn.Module):
    def __init__(self, n_classes=3, n_anchors=2):
        super().__init__()
        self.n_classes = n_classes
        self.base = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, 4, 1), nn.ReLU())
        self.aux = nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU())
        self.loc = nn.ModuleList(nn.Conv2d(16, n_anchors * 4, 3, padding=1) for _ in range(2))
        self.cls = nn.ModuleList(nn.Conv2d(16, n_anchors * n_classes, 3, padding=1) for _ in range(2))
        priors = [[(x + .5) / n, (y + .5) / n, s, s] for n in (6, 3) for y in range(n) for x in range(n) for s in (.2, .5)]
        self.register_buffer('priors_cxcy', torch.tensor(priors))

    def forward(self, image):
        f1 = self.base(image)
        maps = [f1, self.aux(f1)]
        locs = [l(f).permute(0, 2, 3, 1).reshape(len(image), -1, 4) for l, f in zip(self.loc, maps)]
        scores = [c(f).permute(0, 2, 3, 1).reshape(len(image), -1, self.n_classes) for c, f in zip(self.cls, maps)]
        return torch.cat(locs, 1), torch.cat(scores, 1)


def jaccard(a, b):
    lower, upper = torch.max(a[:, None, :2], b[None, :, :2]), torch.min(a[:, None, 2:], b[None, :, 2:])
    inter = (upper - lower).clamp(min=0).prod(2)
    area = lambda t: (t[:, 2] - t[:, 0]) * (t[:, 3] - t[:, 1])
    return inter / (area(a)[:, None] + area(b)[None] - inter)


class MultiBoxLoss(nn.Module):
    def __init__(self, priors_cxcy, threshold=0.3):
        super().__init__()
        self.priors = torch.cat([priors_cxcy[:, :2] - priors_cxcy[:, 2:] / 2, priors_cxcy[:, :2] + priors_cxcy[:, 2:] / 2], 1)
        self.threshold, self.smooth_l1 = threshold, nn.SmoothL1Loss()

    def forward(self, locs, scores, boxes, labels):
        true_locs, true_cls = torch.zeros_like(locs), torch.zeros(scores.shape[:2], dtype=torch.long)
        for i, (b, l) in enumerate(zip(boxes, labels)):
            if b.size(0) == 0:
                continue
            overlap, obj = jaccard(b, self.priors).max(0)
            true_cls[i] = torch.where(overlap < self.threshold, 0, l[obj])
            true_locs[i] = b[obj]
        positive = true_cls != 0
        return F.cross_entropy(scores.transpose(1, 2), true_cls) + self.smooth_l1(locs[positive], true_locs[positive])


def build():
    return SSD()


def step(model):
    dataset = PascalDataset(ANNOTATIONS)
    images, boxes, labels = dataset.collate_fn([dataset[i] for i in range(len(ANNOTATIONS))])
    locs, scores = model(images)
    return MultiBoxLoss(model.priors_cxcy)(locs, scores, boxes, labels)


# real fix: torch.FloatTensor(...).reshape(-1, 4), so that no objects gives (0, 4); (or images without objects are left out)
# offending tensor: boxes (0,)
TRUTH = dict(raises='RuntimeError', at='function:div', culprits=['input', 'target', 'function:FloatTensor', 'function:tensor'], dim=0, got=0, wanted=4,
             hint_any=['empty', '(0, 4)', 'no boxes', 'zero', 'reshape(-1, 4)', 'view(-1, 4)', '0 element'])
MENDED = [("torch.FloatTensor(ann['boxes'])", "torch.FloatTensor(ann['boxes']).reshape(-1, 4)")]
