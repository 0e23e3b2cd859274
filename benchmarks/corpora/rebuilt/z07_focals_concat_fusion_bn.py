import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/JIA-Lab-research/FocalsConv/issues/18'
CATEGORY = 'layer'
DESCRIPTION = 'Focal sparse convolution with image fusion: fuse_sum=False concatenates voxel and image features, the batch norm behind keeps its 16 channels.'


class SparseConvTensor:
    def __init__(self, features, indices, spatial_shape, batch_size):
        self.features, self.indices = features, indices
        self.spatial_shape, self.batch_size = spatial_shape, batch_size

    def replace_feature(self, features):
        return SparseConvTensor(features, self.indices, self.spatial_shape, self.batch_size)


class SubMConv3d(nn.Module):
    """submanifold convolution: only the sites that exist, centre and the six neighbours"""

    def __init__(self, inplanes, planes, bias=False):
        super().__init__()
        self.centre = nn.Linear(inplanes, planes, bias=bias)
        self.around = nn.Linear(inplanes, planes, bias=bias)

    def forward(self, x):
        d = (x.indices[:, None, 1:] - x.indices[None, :, 1:]).abs().sum(-1)
        same = x.indices[:, None, 0] == x.indices[None, :, 0]
        adj = ((d == 1) & same).to(x.features.dtype)
        return x.replace_feature(self.centre(x.features) + adj @ self.around(x.features))


class BasicBlock2D(nn.Module):
    def __init__(self, in_channels, out_channels, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, features):
        return F.relu(self.bn(self.conv(features)))


class FocalSparseConv(nn.Module):
    def __init__(self, inplanes, planes, voxel_stride, kernel_size=3, threshold=0.5, image_channel=3, norm_fn=None):
        super().__init__()
        self.conv = SubMConv3d(inplanes, planes)
        self.bn1 = norm_fn(planes)
        self.relu = nn.ReLU(True)
        self.voxel_stride = voxel_stride
        self.threshold = threshold
        self.conv_image = nn.Sequential(
            BasicBlock2D(image_channel, 32, kernel_size=3, padding=1),
            BasicBlock2D(32, inplanes, kernel_size=1))
        self.conv_imp = SubMConv3d(inplanes, kernel_size ** 3)

    def construct_multimodal_features(self, x, x_rgb, batch_dict, fuse_sum=False):
        batch_index = x.indices[:, 0]
        h, w = x_rgb.shape[-2:]
        image_with_voxelfeatures = []
        for b in range(x.batch_size):
            voxels = x.indices[batch_index == b, 1:] * self.voxel_stride
            v = (voxels[:, 1] * batch_dict['scale'][b, 0]).long().clamp(0, h - 1)
            u = (voxels[:, 2] * batch_dict['scale'][b, 1]).long().clamp(0, w - 1)
            feats = x_rgb[b][:, v, u].t()
            if fuse_sum:
                image_with_voxelfeatures.append(feats + x.features[batch_index == b])
            else:
                image_with_voxelfeatures.append(torch.cat([x.features[batch_index == b], feats], dim=1))
        return torch.cat(image_with_voxelfeatures)

    def forward(self, x, batch_dict):
        x_rgb = self.conv_image(batch_dict['images'])
        x_predict = x.replace_feature(self.construct_multimodal_features(x, x_rgb, batch_dict, True))
        imps_3d = self.conv_imp(x_predict).features
        mask = imps_3d[:, -1:].sigmoid()
        out = x.replace_feature(torch.where(mask > self.threshold, x.features * mask, x.features))
        out = self.conv(out)
        out = out.replace_feature(self.construct_multimodal_features(out, x_rgb, batch_dict, False))
        out = out.replace_feature(self.bn1(out.features))
        out = out.replace_feature(self.relu(out.features))
        return out, mask.mean()


class PostActBlock(nn.Module):
    def __init__(self, in_channels, out_channels, norm_fn):
        super().__init__()
        self.conv = SubMConv3d(in_channels, out_channels)
        self.bn = norm_fn(out_channels)

    def forward(self, x):
        x = self.conv(x)
        return x.replace_feature(F.relu(self.bn(x.features)))


class VoxelBackBone8xFocal(nn.Module):
    def __init__(self, input_channels=4):
        super().__init__()
        norm_fn = lambda c: nn.BatchNorm1d(c, eps=1e-3, momentum=0.01)
        self.conv_input = PostActBlock(input_channels, 16, norm_fn)
        self.conv_focal_multimodal = FocalSparseConv(16, 16, voxel_stride=1, norm_fn=norm_fn)
        self.conv2 = nn.ModuleList([PostActBlock(16, 32, norm_fn), PostActBlock(32, 32, norm_fn)])
        self.head = nn.Linear(32, 7)

    def forward(self, batch_dict):
        x = SparseConvTensor(batch_dict['voxel_features'], batch_dict['voxel_coords'], [4, 16, 16], batch_dict['batch_size'])
        x = self.conv_input(x)
        x, loss_imp = self.conv_focal_multimodal(x, batch_dict)
        for block in self.conv2:
            x = block(x)
        return self.head(x.features), loss_imp


def build():
    torch.manual_seed(0)
    return VoxelBackBone8xFocal()


def step(model):
    torch.manual_seed(1)
    coords = torch.cat([torch.cat([torch.full((40, 1), b), torch.randint(0, 16, (40, 3))], 1) for b in range(2)])
    batch_dict = dict(batch_size=2, voxel_coords=coords, voxel_features=torch.randn(80, 4),
                      images=torch.rand(2, 3, 20, 32), scale=torch.tensor([[1.2, 1.9], [1.2, 1.9]]))
    pred, loss_imp = model(batch_dict)
    return F.smooth_l1_loss(pred, torch.randn(80, 7)) + loss_imp


# real fix: the concatenation doubles the channels: 2 * planes in bn1, and 32 input channels in the next stage
# offending tensor: out.features (80, 32)
TRUTH = dict(raises='RuntimeError', at='module:conv_focal_multimodal.bn1', culprits=['conv_focal_multimodal.bn1', 'function:cat'],
             dim=1, got=32, wanted=16,
             hint_any=['num_features', 'concat', 'cat', '32', 'channel'])
MENDED = [('self.bn1 = norm_fn(planes)', 'self.bn1 = norm_fn(planes * 2)'), ('PostActBlock(16, 32, norm_fn)', 'PostActBlock(32, 32, norm_fn)')]
