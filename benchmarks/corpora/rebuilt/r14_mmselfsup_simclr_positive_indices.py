import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/open-mmlab/mmselfsup/issues/159'
CATEGORY = 'silent'
DESCRIPTION = 'SimCLR: the two views are concatenated (0..N-1, 0..N-1), the positive columns 0 0 2 2 4 4 belong to views that lie side by side.'


class NonLinearNeck(nn.Module):
    def __init__(self, in_channels, hid_channels, out_channels):
        super().__init__()
        self.fc0 = nn.Linear(in_channels, hid_channels)
        self.relu = nn.ReLU()
        self.fc1 = nn.Linear(hid_channels, out_channels)

    def forward(self, x):
        x = [F.adaptive_avg_pool2d(y, 1).flatten(1) for y in x]
        return [self.fc1(self.relu(self.fc0(x[-1])))]


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())

    def forward(self, x):
        return [self.conv2(self.conv1(x))]


class ContrastiveHead(nn.Module):
    def __init__(self, temperature=0.1):
        super().__init__()
        self.criterion = nn.CrossEntropyLoss()
        self.temperature = temperature

    def forward(self, pos, neg):
        N = pos.size(0)
        logits = torch.cat((pos, neg), dim=1) / self.temperature
        labels = torch.zeros((N,), dtype=torch.long)
        return dict(loss=self.criterion(logits, labels))


class SimCLR(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.neck = NonLinearNeck(32, 32, 16)
        self.head = ContrastiveHead()

    @staticmethod
    def _create_buffer(N):
        mask = 1 - torch.eye(N * 2, dtype=torch.uint8)
        pos_ind = (torch.arange(N * 2), 2 * torch.arange(N, dtype=torch.long).unsqueeze(1).repeat(1, 2).view(-1, 1).squeeze())
        neg_mask = torch.ones((N * 2, N * 2 - 1), dtype=torch.uint8)
        neg_mask[pos_ind] = 0
        return mask, pos_ind, neg_mask

    def extract_feat(self, img):
        return self.backbone(img)

    def forward_train(self, img):
        assert isinstance(img, list)
        img = torch.cat(img, 0)
        x = self.extract_feat(img)
        z = self.neck(x)[0]
        z = z / (torch.norm(z, p=2, dim=1, keepdim=True) + 1e-10)
        N = z.size(0) // 2
        s = torch.matmul(z, z.permute(1, 0))
        mask, pos_ind, neg_mask = self._create_buffer(N)
        s = torch.masked_select(s, mask == 1).reshape(s.size(0), -1)
        positive = s[pos_ind].unsqueeze(1)
        negative = torch.masked_select(s, neg_mask == 1).reshape(s.size(0), -1)
        return self.head(positive, negative)


def build():
    return SimCLR()


def step(model):
    view = torch.rand(8, 3, 24, 24)
    img = [(view + 0.1 * torch.randn_like(view)).flip(3), view + 0.1 * torch.randn_like(view)]
    return model.forward_train(img)['loss']


# real fix: torch.stack(img, 1).reshape(N * 2, ...), one pair after the other
TRUTH = dict(raises=None, at='function:getitem', culprits=['function:cat', 'function:getitem', 'function:arange', 'function:repeat'],
             dim=None, got=None, wanted=None, hint_any=['stack', 'order', 'pair', 'interleav', 'views', 'offset', 'index'])
MENDED = [('img = torch.cat(img, 0)', 'img = torch.stack(img, 1).flatten(0, 1)')]
