import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Eric-mingjie/rethinking-network-pruning/issues/39'
CATEGORY = 'layer'
DESCRIPTION = 'L1 pruning of LeNet5 copies one column per kept channel into the first dense layer, which sees 6x6 values per channel.'


class LeNet5(nn.Module):
    def __init__(self, cfg=(6, 16), num_classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, cfg[0], 3), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(cfg[0], cfg[1], 3), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.fc1 = nn.Linear(cfg[1] * 6 * 6, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x):
        x = self.features(x)
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def l1_masks(model, keep):
    masks = []
    for m, k in zip([m for m in model.modules() if isinstance(m, nn.Conv2d)], keep):
        order = m.weight.data.abs().sum(dim=(1, 2, 3)).argsort(descending=True)
        mask = torch.zeros(m.out_channels)
        mask[order[:k]] = 1
        masks.append(mask)
    return masks


def copy_weights(model, newmodel, cfg_mask):
    start_mask = torch.ones(3)
    layer_id_in_cfg = 0
    for m0, m1 in zip(model.modules(), newmodel.modules()):
        if isinstance(m0, nn.Conv2d):
            idx0 = start_mask.nonzero().squeeze(1)
            idx1 = cfg_mask[layer_id_in_cfg].nonzero().squeeze(1)
            m1.weight.data = m0.weight.data[idx1][:, idx0].clone()
            m1.bias.data = m0.bias.data[idx1].clone()
            start_mask = cfg_mask[layer_id_in_cfg]
            layer_id_in_cfg += 1
        elif isinstance(m0, nn.Linear):
            if layer_id_in_cfg == len(cfg_mask):
                idx0 = cfg_mask[-1].nonzero().squeeze(1)
                m1.weight.data = m0.weight.data[:, idx0].clone()
                m1.bias.data = m0.bias.data.clone()
                layer_id_in_cfg += 1
                continue
            m1.weight.data = m0.weight.data.clone()
            m1.bias.data = m0.bias.data.clone()


def build():
    torch.manual_seed(0)
    model = LeNet5()
    cfg = (1, 8)
    newmodel = LeNet5(cfg)
    copy_weights(model, newmodel, l1_masks(model, cfg))
    return newmodel


def step(model):
    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([1, 6])
    return F.cross_entropy(model(images), labels)


# real fix: the columns of a channel in the flattened map are idx0 * 36 ... idx0 * 36 + 35
TRUTH = dict(raises='RuntimeError', at='module:fc1', culprits=['fc1'], dim=1, got=288, wanted=8,
             hint_any=['288', 'in_features', 'weight', '(120, 8)', '120, 8', 'column'])
MENDED = [('m0.weight.data[:, idx0].clone()', 'm0.weight.data.view(120, -1, 36)[:, idx0].flatten(1).clone()')]
