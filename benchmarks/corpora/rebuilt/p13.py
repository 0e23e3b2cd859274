import torch
import torch.nn as nn

SOURCE = 'https://github.com/pochih/FCN-pytorch/issues/15'
CATEGORY = 'loss'
DESCRIPTION = 'FCN on CamVid: the script still holds n_class=20 of Cityscapes, the data set draws one-hot masks with 32 planes.'

data_set = 'CamVid'
n_class = 20
batch_size, w_decay, momentum = 2, 1e-5, 0


class CamVidDataset:
    def __init__(self, n_class=32, size=(48, 64), flip_rate=0.5):
        self.n_class, self.size, self.flip_rate = n_class, size, flip_rate
        self.means = torch.tensor([103.939, 116.779, 123.68]) / 255.

    def __getitem__(self, idx):
        h, w = self.size
        img = torch.rand(3, h, w)
        label = torch.randint(0, self.n_class, (h // 8, w // 8)).repeat_interleave(8, 0).repeat_interleave(8, 1)
        if torch.rand(1) < self.flip_rate:
            img, label = img.flip(2), label.flip(1)
        img = img - self.means.view(3, 1, 1)
        target = torch.zeros(self.n_class, h, w)
        for c in range(self.n_class):
            target[c][label == c] = 1
        return {'X': img, 'Y': target, 'l': label}


class VGGNet(nn.Module):
    def __init__(self, widths=(8, 16, 24, 32, 32)):
        super().__init__()
        layers, c = [], 3
        for w in widths:
            layers += [nn.Conv2d(c, w, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2, ceil_mode=True)]
            c = w
        self.features, self.widths = nn.ModuleList(layers), widths

    def forward(self, x):
        output = {}
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i % 3 == 2:
                output[f'x{i // 3 + 1}'] = x
        return output


class FCN8s(nn.Module):
    def __init__(self, pretrained_net, n_class):
        super().__init__()
        self.n_class, self.pretrained_net = n_class, pretrained_net
        self.relu = nn.ReLU(inplace=True)
        w = pretrained_net.widths
        self.deconv1, self.bn1 = nn.ConvTranspose2d(w[4], w[3], 3, 2, 1, output_padding=(0, 1)), nn.BatchNorm2d(w[3])
        self.deconv2, self.bn2 = nn.ConvTranspose2d(w[3], w[2], 3, 2, 1, 1), nn.BatchNorm2d(w[2])
        self.deconv3, self.bn3 = nn.ConvTranspose2d(w[2], 16, 3, 2, 1, 1), nn.BatchNorm2d(16)
        self.deconv4, self.bn4 = nn.ConvTranspose2d(16, 16, 3, 2, 1, 1), nn.BatchNorm2d(16)
        self.deconv5, self.bn5 = nn.ConvTranspose2d(16, 16, 3, 2, 1, 1), nn.BatchNorm2d(16)
        self.classifier = nn.Conv2d(16, n_class, kernel_size=1)

    def forward(self, x):
        output = self.pretrained_net(x)
        score = self.bn1(self.relu(self.deconv1(output['x5'])) + output['x4'])
        score = self.bn2(self.relu(self.deconv2(score)) + output['x3'])
        score = self.bn3(self.relu(self.deconv3(score)))
        score = self.bn4(self.relu(self.deconv4(score)))
        score = self.bn5(self.relu(self.deconv5(score)))
        return self.classifier(score)


def build():
    return FCN8s(VGGNet(), n_class)


def train(model, data, criterion):
    batch = [data[i] for i in range(batch_size)]
    inputs, labels = torch.stack([b['X'] for b in batch]), torch.stack([b['Y'] for b in batch])
    outputs = model(inputs)
    return criterion(outputs, labels)


def step(model):
    return train(model, CamVidDataset(), nn.BCEWithLogitsLoss())


# real fix: n_class = 32
# offending tensor: outputs (2, 20, 48, 64), 32 planes expected
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['classifier'], dim=1, got=20, wanted=32,
             hint_any=['out_channels', 'class', '32'])
MENDED = [('n_class = 20\n', 'n_class = 32\n')]
