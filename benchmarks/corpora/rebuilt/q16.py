import timm
import torch
import torch.nn as nn

SOURCE = 'https://github.com/huggingface/pytorch-image-models/issues/1663'
CATEGORY = 'layer'
DESCRIPTION = 'Fine-tuning with timm: create_model(...).get_classifier() hands back the last Linear alone, which then gets the pictures.'


class CFG:
    model_name = 'resnet10t'
    num_classes = 3
    img_size = 64
    epochs = 2
    batch_size = 8
    label_smoothing = 0.1


class Classifier(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.model = timm.create_model(cfg.model_name, pretrained=False, num_classes=cfg.num_classes).get_classifier()
        self.model.fc = nn.Sequential(nn.Linear(in_features=self.model.in_features, out_features=cfg.num_classes, bias=True))
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer('std', torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, x):
        x = (x - self.mean) / self.std
        return self.model(x)


class Trainer:
    def __init__(self, cfg, model):
        self.cfg, self.model = cfg, model
        self.criterion = nn.CrossEntropyLoss(label_smoothing=cfg.label_smoothing)

    def augment(self, inputs):
        return inputs.flip(3) if torch.rand(1) < 0.5 else inputs

    def fit(self, train_loader):
        total, seen = 0., 0
        for epoch in range(self.cfg.epochs):
            for inputs, targets in train_loader:
                outputs = self.model(self.augment(inputs))
                total = total + self.criterion(outputs, targets) * len(inputs)
                seen += len(inputs)
        return total / seen


def build():
    return Classifier(CFG)


def step(model):
    loader = [(torch.rand(CFG.batch_size, 3, CFG.img_size, CFG.img_size), torch.randint(0, CFG.num_classes, (CFG.batch_size,)))]
    return Trainer(CFG, model).fit(loader)


# real fix: keep the whole model (create_model with num_classes has made the right head already)
# offending tensor: the pictures (8, 3, 64, 64) into Linear(512, 3)
TRUTH = dict(raises='RuntimeError', at='module:model', culprits=['model', ''], dim=3, got=64, wanted=512,
             hint_any=['features', '512', 'linear', 'input', 'flatten'])
MENDED = [('num_classes=cfg.num_classes).get_classifier()', 'num_classes=cfg.num_classes)'),
          ('        self.model.fc = nn.Sequential(nn.Linear(in_features=self.model.in_features, out_features=cfg.num_classes, bias=True))\n', '')]
