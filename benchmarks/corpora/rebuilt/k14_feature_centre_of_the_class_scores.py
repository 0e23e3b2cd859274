import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/sicara/easy-few-shot-learning/issues/151'
CATEGORY = 'layer'
DESCRIPTION = 'SimpleShot after classical training: the mean is computed while the network still ends in its classifier (10 scores), the episodes use 64 features.'


class BasicBlock(nn.Module):
    def __init__(self, inplanes, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, bias=False), nn.BatchNorm2d(planes))
        self.pool = nn.MaxPool2d(stride)

    def forward(self, x):
        out = self.bn2(self.conv2(F.leaky_relu(self.bn1(self.conv1(x)), 0.1)))
        return self.pool(F.leaky_relu(out + self.downsample(x), 0.1))


class ResNet(nn.Module):
    def __init__(self, planes=(16, 32, 64), num_classes=10, use_fc=False):
        super().__init__()
        sizes = (3,) + planes
        self.layers = nn.Sequential(*[BasicBlock(a, b, 2) for a, b in zip(sizes, planes)])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.use_fc = use_fc
        self.fc = nn.Linear(planes[-1], num_classes)

    def forward(self, x):
        x = torch.flatten(self.avgpool(self.layers(x)), 1)
        if self.use_fc:
            return self.fc(x)
        return x

    def set_use_fc(self, use_fc):
        self.use_fc = use_fc


@torch.no_grad()
def compute_average_features_from_images(dataloader, model):
    model.eval()
    all_embeddings = torch.cat([model(images) for images, _ in dataloader])
    return all_embeddings.mean(dim=0)


class FewShotClassifier(nn.Module):
    def __init__(self, backbone, use_softmax=False, feature_centering=None, feature_normalization=None):
        super().__init__()
        self.backbone = backbone
        self.use_softmax = use_softmax
        self.feature_centering = feature_centering if feature_centering is not None else torch.tensor(0)
        self.feature_normalization = feature_normalization

    def compute_features(self, images):
        original_features = self.backbone(images)
        centered_features = original_features - self.feature_centering
        if self.feature_normalization is not None:
            return F.normalize(centered_features, p=self.feature_normalization, dim=1)
        return centered_features

    def process_support_set(self, support_images, support_labels):
        features = self.compute_features(support_images)
        n_way = len(torch.unique(support_labels))
        self.prototypes = torch.cat([features[torch.nonzero(support_labels == label)].mean(0) for label in range(n_way)])


class SimpleShot(FewShotClassifier):
    def forward(self, query_images):
        query_features = self.compute_features(query_images)
        scores = F.normalize(query_features, dim=1) @ F.normalize(self.prototypes, dim=1).T
        return scores.softmax(-1) if self.use_softmax else scores


def training_epoch(model, data_loader, criterion):
    model.train()
    return sum(criterion(model(images), labels) for images, labels in data_loader)


def evaluate(few_shot_classifier, tasks, criterion):
    total = 0
    for support_images, support_labels, query_images, query_labels in tasks:
        few_shot_classifier.process_support_set(support_images, support_labels)
        total = total + criterion(10 * few_shot_classifier(query_images), query_labels)
    return total / len(tasks)


def make_task(n_way=5, n_shot=5, n_query=4):
    s, q = n_way * n_shot, n_way * n_query
    return (torch.randn(s, 3, 32, 32), torch.arange(n_way).repeat_interleave(n_shot), torch.randn(q, 3, 32, 32), torch.arange(n_way).repeat_interleave(n_query))


def build():
    return ResNet(num_classes=10, use_fc=True)


def step(model):
    criterion = nn.CrossEntropyLoss()
    train_loader = DataLoader(TensorDataset(torch.randn(24, 3, 32, 32), torch.randint(0, 10, (24,))), batch_size=12)
    model.set_use_fc(True)
    train_loss = training_epoch(model, train_loader, criterion)
    feature_centering = compute_average_features_from_images(train_loader, model)
    few_shot_classifier = SimpleShot(model, feature_centering=feature_centering, feature_normalization=2.0)
    model.set_use_fc(False)
    validation_loss = evaluate(few_shot_classifier, [make_task() for _ in range(2)], criterion)
    return train_loss + validation_loss


# real fix: switch the classifier off before the mean is computed (model.set_use_fc(False) above)
# offending tensor: feature_centering (10,)
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['fc', 'function:mean', '', 'function:cat'], dim=0, got=10, wanted=64,
             hint_any=['fc', '10', '64', 'features'])
MENDED = [('    feature_centering = compute', '    model.set_use_fc(False)\n    feature_centering = compute')]
