import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

SOURCE = 'https://php.bkmy88.com/faq/2068558.html (Chinese retelling of a Stack Overflow question on one random transform for image and mask, INbreast)'
CATEGORY = 'silent'
DESCRIPTION = 'U-Net for masses in mammograms: image and mask go through the same Compose one after the other, each with its own random flip and rotation, so they no longer lie over each other.'


class INBreastDataset2012(Dataset):
    def __init__(self, patients, transform=None):
        self.data, self.transform = patients, transform

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        patient_dict = self.data[index]
        image = patient_dict['image'].unsqueeze(0)
        mass_mask = patient_dict['mass_mask'].unsqueeze(0)
        mass_mask[mass_mask > 1.0] = 1.0
        if self.transform is not None:
            image = self.transform(image)
            mass_mask = self.transform(mass_mask)
        return image, mass_mask


def mammograms(n=12, size=32):
    patients = []
    for _ in range(n):
        mask = torch.zeros(size, size)
        y, x = torch.randint(0, size - 10, (2,)).tolist()
        mask[y:y + 6, x:x + 9] = 1.0
        patients.append(dict(image=0.3 * torch.rand(size, size) + 0.6 * mask, mass_mask=mask))
    return patients


class DoubleConv(nn.Sequential):
    def __init__(self, cin, cout):
        super().__init__(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
                         nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, features=(8, 16)):
        super().__init__()
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        cin = 1
        for f in features:
            self.downs.append(DoubleConv(cin, f))
            cin = f
        self.bottleneck = DoubleConv(features[-1], features[-1] * 2)
        for f in reversed(features):
            self.ups.append(nn.ConvTranspose2d(f * 2, f, 2, 2))
            self.ups.append(DoubleConv(f * 2, f))
        self.final_conv = nn.Conv2d(features[0], 1, 1)

    def forward(self, x):
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for i in range(0, len(self.ups), 2):
            x = self.ups[i](x)
            x = self.ups[i + 1](torch.cat((skips[-1 - i // 2], x), dim=1))
        return self.final_conv(x)


def build():
    return UNet()


def step(model):
    transform = v2.Compose([v2.RandomHorizontalFlip(0.5), v2.RandomVerticalFlip(0.5), v2.RandomRotation(35)])
    loader = DataLoader(INBreastDataset2012(mammograms(), transform), batch_size=4, shuffle=True)
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for image, mass_mask in loader:
        loss = loss_fn(model(image), mass_mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# both in one tensor through one call of the transform
TRUTH = dict(raises=None, at='loss:binary_cross_entropy_with_logits', culprits=['target', 'input'], dim=None, got=None, wanted=None,
             hint_any=['transform', 'mask', 'pair', 'align', 'random'])
MENDED = [('''            image = self.transform(image)
            mass_mask = self.transform(mass_mask)
''', '''            image, mass_mask = self.transform(torch.cat([image, mass_mask], dim=0)).chunk(2, dim=0)
''')]
