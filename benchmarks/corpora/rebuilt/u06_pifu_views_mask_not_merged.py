from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/shunsukesaito/PIFu/issues/42'
CATEGORY = 'layer'
DESCRIPTION = 'PIFu with num_views=2: the classifier merges the views to B predictions, the in-image mask still has B * num_views rows.'


class HGFilter(nn.Module):
    def __init__(self, opt):
        super().__init__()
        self.num_modules = opt.num_stack
        self.conv1 = nn.Sequential(nn.Conv2d(3, 16, 7, 2, 3), nn.GroupNorm(4, 16), nn.ReLU())
        self.stacks, self.merges = nn.ModuleList(), nn.ModuleList()
        for _ in range(self.num_modules):
            self.stacks.append(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(),
                                             nn.Conv2d(16, 16, 1)))
            self.merges.append(nn.Conv2d(16, 16, 1))

    def forward(self, x):
        x, outputs = self.conv1(x), []
        for stack, merge in zip(self.stacks, self.merges):
            y = stack(x)
            outputs.append(y)
            x = x + merge(y)
        return outputs


class SurfaceClassifier(nn.Module):
    def __init__(self, filter_channels, num_views=1, last_op=None):
        super().__init__()
        self.num_views, self.last_op = num_views, last_op
        self.filters = nn.ModuleList()
        for l in range(len(filter_channels) - 1):
            skip = filter_channels[0] if l != 0 else 0
            self.filters.append(nn.Conv1d(filter_channels[l] + skip, filter_channels[l + 1], 1))

    def forward(self, feature):
        y = tmpy = feature
        for i, f in enumerate(self.filters):
            y = f(y if i == 0 else torch.cat([y, tmpy], 1))
            if i != len(self.filters) - 1:
                y = F.leaky_relu(y)
            if self.num_views > 1 and i == len(self.filters) // 2:
                y = y.view(-1, self.num_views, y.shape[1], y.shape[2]).mean(dim=1)
                tmpy = feature.view(-1, self.num_views, feature.shape[1], feature.shape[2]).mean(dim=1)
        return self.last_op(y) if self.last_op else y


class HGPIFuNet(nn.Module):
    def __init__(self, opt, error_term=nn.MSELoss()):
        super().__init__()
        self.opt, self.num_views, self.error_term = opt, opt.num_views, error_term
        self.image_filter = HGFilter(opt)
        self.surface_classifier = SurfaceClassifier(opt.mlp_dim, opt.num_views, last_op=nn.Sigmoid())

    def index(self, feat, uv):
        uv = uv.transpose(1, 2).unsqueeze(2)
        return F.grid_sample(feat, uv, align_corners=True)[:, :, :, 0]

    def projection(self, points, calibs):
        return torch.baddbmm(calibs[:, :3, 3:4], calibs[:, :3, :3], points)

    def query(self, points, calibs, labels):
        xyz = self.projection(points, calibs)
        xy = xyz[:, :2, :]
        z = xyz[:, 2:3, :]
        in_img = (xy[:, 0] >= -1.0) & (xy[:, 0] <= 1.0) & (xy[:, 1] >= -1.0) & (xy[:, 1] <= 1.0)
        self.intermediate_preds_list = []
        for im_feat in self.im_feat_list:
            point_local_feat = torch.cat([self.index(im_feat, xy), z], 1)
            pred = in_img[:, None].float() * self.surface_classifier(point_local_feat)
            self.intermediate_preds_list.append(pred)
        self.labels = labels

    def get_error(self):
        error = 0
        for preds in self.intermediate_preds_list:
            error += self.error_term(preds, self.labels)
        return error / len(self.intermediate_preds_list)

    def forward(self, images, points, calibs, labels):
        self.im_feat_list = self.image_filter(images)
        self.query(points, calibs, labels)
        return self.intermediate_preds_list[-1], self.get_error()


def reshape_multiview_tensors(image_tensor, calib_tensor):
    b, v = image_tensor.shape[:2]
    return image_tensor.view(b * v, *image_tensor.shape[2:]), calib_tensor.view(b * v, *calib_tensor.shape[2:])


def reshape_sample_tensor(sample_tensor, num_views):
    if num_views == 1:
        return sample_tensor
    sample_tensor = sample_tensor.unsqueeze(1).repeat(1, num_views, 1, 1)
    return sample_tensor.view(-1, sample_tensor.shape[2], sample_tensor.shape[3])


opt = SimpleNamespace(num_views=2, batch_size=2, num_stack=2, num_sample_inout=100, mlp_dim=[17, 32, 16, 8, 1])


def build():
    return HGPIFuNet(opt)


def step(model):
    b, v, n = opt.batch_size, opt.num_views, opt.num_sample_inout
    images = torch.rand(b, v, 3, 32, 32)
    calibs = torch.eye(4).repeat(b, v, 1, 1)
    calibs[:, 1, 0, 0] = calibs[:, 1, 2, 2] = -1.0
    points, labels = torch.rand(b, 3, n) * 2.2 - 1.1, torch.randint(0, 2, (b, 1, n)).float()
    image_tensor, calib_tensor = reshape_multiview_tensors(images, calibs)
    sample_tensor = reshape_sample_tensor(points, v)
    res, error = model(image_tensor, sample_tensor, calib_tensor, labels)
    return error


# real fix: merge the views of the mask as well, in_img.view(-1, num_views, N).all(1)
# offending tensor: the mask (4, 1, 100), beside the prediction (2, 1, 100), which is meant to have B rows
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:mul', 'function:getitem', 'function:float', 'function:and'], dim=0, got=4, wanted=2,
             hint_any=['num_views', 'views', 'in_img', 'mask', '(2, 2'])
MENDED = [('pred = in_img[:, None].float() *', 'pred = in_img.view(-1, self.num_views, in_img.shape[1]).all(1)[:, None].float() *')]
