import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/NYUMedML/CNN_design_for_AD/issues/7'
CATEGORY = 'silent'
DESCRIPTION = 'Three-dimensional CNN that tells healthy, impaired and demented subjects apart from MRI volumes and the age; batch or instance norm.'


def norm_layer(norm_type, channels):
    return nn.InstanceNorm3d(channels) if norm_type == 'Instance' else nn.BatchNorm3d(channels)


class NetWork(nn.Module):
    def __init__(self, expansion=1, norm_type='Batch', num_classes=3):
        super().__init__()
        self.conv = nn.Sequential()

        self.conv.add_module('conv0_s1', nn.Conv3d(1, 4 * expansion, kernel_size=1))
        self.conv.add_module('lrn0_s1', norm_layer(norm_type, 4 * expansion))
        self.conv.add_module('relu0_s1', nn.ReLU(inplace=True))
        self.conv.add_module('pool0_s1', nn.MaxPool3d(kernel_size=3, stride=2))

        self.conv.add_module('conv1_s1', nn.Conv3d(4 * expansion, 32 * expansion, kernel_size=3, padding=0, dilation=2))
        self.conv.add_module('lrn1_s1', norm_layer(norm_type, 32 * expansion))
        self.conv.add_module('relu1_s1', nn.ReLU(inplace=True))
        self.conv.add_module('pool1_s1', nn.MaxPool3d(kernel_size=3, stride=2))

        self.conv.add_module('conv2_s1', nn.Conv3d(32 * expansion, 64 * expansion, kernel_size=3, padding=2, dilation=2))
        if norm_type == 'Instance':
            self.conv.add_module('lrn2_s1', nn.InstanceNorm3d(64 * expansion))
        else:
            self.conv.add_module('lrn2_s1', nn.BatchNorm3d(64 * expansion))
        self.conv.add_module('relu2_s1', nn.ReLU(inplace=True))
        self.conv.add_module('pool2_s1', nn.MaxPool3d(kernel_size=3, stride=2))

        self.conv.add_module('conv3_s1', nn.Conv3d(64 * expansion, 64 * expansion, kernel_size=3, padding=1))
        if norm_type == 'Instance':
            self.conv.add_module('lrn3_s1', nn.InstanceNorm3d(64 * expansion))
        else:
            self.conv.add_module('lrn2_s1', nn.BatchNorm3d(64 * expansion))
        self.conv.add_module('relu3_s1', nn.ReLU(inplace=True))
        self.conv.add_module('pool3_s1', nn.AdaptiveAvgPool3d(1))

        self.fc6 = nn.Sequential(nn.Flatten(), nn.Linear(64 * expansion, 32))
        self.age_encoder = nn.Sequential(nn.Linear(4, 32), nn.LayerNorm(32))
        self.classifier = nn.Sequential(nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, num_classes))

    def forward(self, x, age):
        z = self.fc6(self.conv(x))
        return self.classifier(z + self.age_encoder(age))


def age_features(age):
    position = age[:, None] / torch.tensor([10., 100.])
    return torch.cat([position.sin(), position.cos()], dim=1)


def build():
    return NetWork()


def step(model):
    model.train()
    volumes = torch.rand(4, 1, 28, 28, 28)
    ages = torch.tensor([64., 71., 78., 83.])
    diagnoses = torch.tensor([0, 1, 2, 1])
    return F.cross_entropy(model(volumes, age_features(ages)), diagnoses)


# The second add_module('lrn2_s1', ...) replaces the norm behind conv2 instead of adding one behind conv3: conv3 has no norm.
# real fix: the name lrn3_s1
TRUTH = dict(raises=None, at='module:conv', culprits=['conv', 'conv.lrn2_s1', 'conv.conv3_s1'], dim=None, got=None, wanted=None,
             hint_any=['add_module', 'same name', 'replac', 'overwrit', 'lrn3', 'twice', 'norm'])
MENDED = [("        else:\n            self.conv.add_module('lrn2_s1', nn.BatchNorm3d(64 * expansion))\n        self.conv.add_module('relu3_s1'",
           "        else:\n            self.conv.add_module('lrn3_s1', nn.BatchNorm3d(64 * expansion))\n        self.conv.add_module('relu3_s1'")]
