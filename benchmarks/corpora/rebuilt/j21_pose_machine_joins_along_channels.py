import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/namedBen/Convolutional-Pose-Machines-Pytorch/issues/10'
CATEGORY = 'correct'
DESCRIPTION = 'Convolutional pose machine: torch.cat with dim=1 of features, belief maps and centre map; the asker expects (c, h, w), but a batch dimension stands in front.'


class CPM(nn.Module):
    def __init__(self, k):
        super(CPM, self).__init__()
        self.k = k
        self.pool_center = nn.AvgPool2d(kernel_size=9, stride=8, padding=1)
        self.conv1_stage1 = nn.Conv2d(3, 16, kernel_size=5, padding=2)
        self.pool1_stage1 = nn.MaxPool2d(kernel_size=4, stride=4)
        self.conv2_stage1 = nn.Conv2d(16, 16, kernel_size=5, padding=2)
        self.pool2_stage1 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv3_stage1 = nn.Conv2d(16, 16, kernel_size=5, padding=2)
        self.conv4_stage1 = nn.Conv2d(16, self.k + 1, kernel_size=1)

        self.conv1_stage2 = nn.Conv2d(3, 16, kernel_size=5, padding=2)
        self.pool1_stage2 = nn.MaxPool2d(kernel_size=8, stride=8)
        self.conv4_stage2 = nn.Conv2d(16, 8, kernel_size=5, padding=2)

        self.Mconv1_stage2 = nn.Conv2d(8 + self.k + 2, 24, kernel_size=7, padding=3)
        self.Mconv2_stage2 = nn.Conv2d(24, self.k + 1, kernel_size=1)
        self.conv1_stage3 = nn.Conv2d(16, 8, kernel_size=5, padding=2)
        self.Mconv1_stage3 = nn.Conv2d(8 + self.k + 2, 24, kernel_size=7, padding=3)
        self.Mconv2_stage3 = nn.Conv2d(24, self.k + 1, kernel_size=1)

    def _stage1(self, image):
        x = self.pool1_stage1(F.relu(self.conv1_stage1(image)))
        x = self.pool2_stage1(F.relu(self.conv2_stage1(x)))
        return self.conv4_stage1(F.relu(self.conv3_stage1(x)))

    def _middle(self, image):
        return self.pool1_stage2(F.relu(self.conv1_stage2(image)))

    def _stage2(self, pool3_stage2_map, conv7_stage1_map, pool_center_map):
        x = F.relu(self.conv4_stage2(pool3_stage2_map))
        x = torch.cat([x, conv7_stage1_map, pool_center_map], dim=1)
        x = F.relu(self.Mconv1_stage2(x))
        return self.Mconv2_stage2(x)

    def _stage3(self, pool3_stage2_map, Mconv5_stage2_map, pool_center_map):
        x = F.relu(self.conv1_stage3(pool3_stage2_map))
        x = torch.cat([x, Mconv5_stage2_map, pool_center_map], dim=1)
        x = F.relu(self.Mconv1_stage3(x))
        return self.Mconv2_stage3(x)

    def forward(self, image, center_map):
        pool_center_map = self.pool_center(center_map)
        conv7_stage1_map = self._stage1(image)
        pool3_stage2_map = self._middle(image)
        Mconv5_stage2_map = self._stage2(pool3_stage2_map, conv7_stage1_map, pool_center_map)
        Mconv5_stage3_map = self._stage3(pool3_stage2_map, Mconv5_stage2_map, pool_center_map)
        return conv7_stage1_map, Mconv5_stage2_map, Mconv5_stage3_map


def gaussian(size, x, y, sigma):
    grid = torch.arange(size).float()
    return torch.exp(-((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * sigma ** 2))


def sample(k, size=64):
    points = torch.rand(k, 2) * size
    heat = torch.stack([gaussian(size // 8, x / 8, y / 8, 1.0) for x, y in points])
    background = 1.0 - heat.max(dim=0, keepdim=True).values
    center = gaussian(size, size / 2, size / 2, 3.0).unsqueeze(0)
    return torch.rand(3, size, size), torch.cat([background, heat]), center


def build():
    return CPM(k=14)


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=8e-6, momentum=0.9, weight_decay=0.0005)
    criterion = nn.MSELoss()
    image, heatmap, centermap = (torch.stack(x) for x in zip(*[sample(14) for _ in range(3)]))
    heat1, heat2, heat3 = model(image, centermap)
    loss = sum(criterion(heat, heatmap) * heat.shape[2] * heat.shape[3] for heat in (heat1, heat2, heat3))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
