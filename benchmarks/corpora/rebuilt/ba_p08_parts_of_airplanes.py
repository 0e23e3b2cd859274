import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/antao97/PointCloudDatasets/issues/12 (the network around the data set is ours)'
CATEGORY = 'loss'
DESCRIPTION = ('Part segmentation of point clouds: the data set cuts each cloud to num_points, the part labels are those of all stored points.')

seg_num = {'airplane': 4, 'chair': 4, 'lamp': 4, 'table': 3}
seg_start_index = {'airplane': 0, 'chair': 12, 'lamp': 24, 'table': 47}


def translate_pointcloud(points):
    return points * torch.empty(3).uniform_(2. / 3, 3. / 2) + torch.empty(3).uniform_(-0.2, 0.2)


class ShapeParts(Dataset):
    def __init__(self, class_choice='airplane', num_points=256, stored=256, clouds=8, random_translate=False):
        assert num_points <= stored
        self.num_points, self.random_translate = num_points, random_translate
        self.seg_num_all, self.seg_start_index = seg_num[class_choice], seg_start_index[class_choice]
        self.data = torch.randn(clouds, stored, 3)
        self.label = torch.zeros(clouds, dtype=torch.long)
        self.seg = torch.randint(0, self.seg_num_all, (clouds, stored)) + self.seg_start_index

    def __getitem__(self, item):
        point_set = self.data[item][:self.num_points]
        label = self.label[item]
        if self.random_translate:
            point_set = translate_pointcloud(point_set)
        seg = self.seg[item]
        return point_set, label, seg

    def __len__(self):
        return self.data.shape[0]


def knn(x, k):
    inner = -2 * torch.matmul(x.transpose(2, 1), x)
    xx = torch.sum(x ** 2, dim=1, keepdim=True)
    return (-xx - inner - xx.transpose(2, 1)).topk(k=k, dim=-1)[1]


def get_graph_feature(x, k):
    batch, dims, points = x.shape
    idx = knn(x, k) + torch.arange(batch, device=x.device).view(-1, 1, 1) * points
    flat = x.transpose(2, 1).reshape(batch * points, dims)
    feature = flat[idx.view(-1)].view(batch, points, k, dims)
    center = x.transpose(2, 1).unsqueeze(2).expand(-1, -1, k, -1)
    return torch.cat((feature - center, center), dim=3).permute(0, 3, 1, 2)


class EdgeConv(nn.Module):
    def __init__(self, cin, cout, k=12):
        super().__init__()
        self.k = k
        self.conv = nn.Sequential(nn.Conv2d(2 * cin, cout, 1, bias=False), nn.BatchNorm2d(cout), nn.LeakyReLU(0.2))

    def forward(self, x):
        return self.conv(get_graph_feature(x, self.k)).max(dim=-1)[0]


class DGCNNPartSeg(nn.Module):
    def __init__(self, seg_num_all, emb_dims=64):
        super().__init__()
        self.edge = nn.ModuleList([EdgeConv(3, 16), EdgeConv(16, 16), EdgeConv(16, 32)])
        self.emb = nn.Sequential(nn.Conv1d(64, emb_dims, 1, bias=False), nn.BatchNorm1d(emb_dims), nn.LeakyReLU(0.2))
        self.head = nn.Sequential(nn.Conv1d(emb_dims + 64, 32, 1, bias=False), nn.BatchNorm1d(32), nn.LeakyReLU(0.2), nn.Dropout(0.1),
                                  nn.Conv1d(32, seg_num_all, 1, bias=False))

    def forward(self, x):
        feats = []
        for layer in self.edge:
            x = layer(x)
            feats.append(x)
        x = torch.cat(feats, dim=1)
        pooled = self.emb(x).max(dim=-1, keepdim=True)[0]
        return self.head(torch.cat((pooled.expand(-1, -1, x.size(2)), x), dim=1))


def cal_loss(pred, gold):
    return F.cross_entropy(pred, gold.contiguous().view(-1), reduction='mean')


def build():
    torch.manual_seed(0)
    return DGCNNPartSeg(seg_num['airplane'])


def step(model):
    train = ShapeParts('airplane', num_points=64, random_translate=True)
    points, label, seg = next(iter(DataLoader(train, batch_size=4, shuffle=True)))
    seg = seg - train.seg_start_index
    seg_pred = model(points.permute(0, 2, 1))
    seg_pred = seg_pred.permute(0, 2, 1).contiguous()
    return cal_loss(seg_pred.view(-1, train.seg_num_all), seg)


# real fix: seg = self.seg[item][:self.num_points]
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target'], dim=0, got=1024, wanted=256,
             hint_any=['1024', 'target', 'label', '64', 'points'])
MENDED = [('        seg = self.seg[item]\n', '        seg = self.seg[item][:self.num_points]\n')]
