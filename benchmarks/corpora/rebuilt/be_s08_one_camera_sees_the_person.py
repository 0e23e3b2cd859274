import torch
import torch.nn as nn

SOURCE = 'https://github.com/karfly/learnable-triangulation-pytorch/issues/73'
CATEGORY = 'layer'
DESCRIPTION = 'Human pose in space from calibrated cameras; where only one camera is left, the pose is compared relative to the pelvis.'


class Backbone(nn.Module):
    def __init__(self, num_joints):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU())
        self.final_layer = nn.Conv2d(32, num_joints, 1)
        self.depth = nn.Linear(32, num_joints)

    def forward(self, x):
        x = self.layers(x)
        return self.final_layer(x), self.depth(x.mean(dim=(2, 3)))


class AlgebraicTriangulationNet(nn.Module):
    def __init__(self, num_joints=17):
        super().__init__()
        self.num_joints = num_joints
        self.backbone = Backbone(num_joints)

    def integrate(self, heatmaps):
        b, j, h, w = heatmaps.shape
        p = torch.softmax(heatmaps.reshape(b, j, -1) * 100, dim=-1).view(b, j, h, w)
        x = (p.sum(2) * torch.arange(w)).sum(-1) / w
        y = (p.sum(3) * torch.arange(h)).sum(-1) / h
        return torch.stack([x, y], dim=-1)

    def forward(self, images, proj_matricies, batch):
        batch_size, n_views = images.shape[:2]
        heatmaps, depth = self.backbone(images.view(-1, *images.shape[2:]))
        keypoints_2d = self.integrate(heatmaps).view(batch_size, n_views, self.num_joints, 2)
        depth = depth.view(batch_size, n_views, self.num_joints, 1)
        points = torch.cat([keypoints_2d, depth, torch.ones_like(depth)], dim=-1)
        keypoints_3d = torch.einsum('bvij,bvnj->bvni', proj_matricies, points).mean(dim=1)[..., :3]
        return keypoints_3d, keypoints_2d


class KeypointsMSELoss(nn.Module):
    def forward(self, keypoints_pred, keypoints_gt, keypoints_binary_validity):
        dimension = keypoints_pred.shape[-1]
        loss = torch.sum((keypoints_gt - keypoints_pred) ** 2 * keypoints_binary_validity)
        return loss / (dimension * max(1, torch.sum(keypoints_binary_validity)))


def build():
    torch.manual_seed(0)
    return AlgebraicTriangulationNet()


def one_batch(model, batch, kind='human36m'):
    images_batch, keypoints_3d_gt, keypoints_3d_validity_gt, proj_matricies_batch = batch
    keypoints_3d_pred, keypoints_2d_pred = model(images_batch, proj_matricies_batch, batch)

    batch_size, n_views = images_batch.shape[0], images_batch.shape[1]
    n_joints = keypoints_3d_pred[0].shape[1]

    keypoints_3d_binary_validity_gt = (keypoints_3d_validity_gt > 0.0).float()

    # 1-view case
    if n_views == 1:
        base_joint = 6 if kind == 'human36m' else 11
        keypoints_3d_gt_transformed = keypoints_3d_gt.clone()
        others = torch.arange(n_joints) != base_joint
        keypoints_3d_gt_transformed[:, others] -= keypoints_3d_gt_transformed[:, base_joint:base_joint + 1]
        keypoints_3d_gt = keypoints_3d_gt_transformed

        keypoints_3d_pred_transformed = keypoints_3d_pred.clone()
        keypoints_3d_pred_transformed[:, others] -= keypoints_3d_pred_transformed[:, base_joint:base_joint + 1]
        keypoints_3d_pred = keypoints_3d_pred_transformed

    criterion = KeypointsMSELoss()
    return criterion(keypoints_3d_pred, keypoints_3d_gt, keypoints_3d_binary_validity_gt)


def step(model):
    g = torch.Generator().manual_seed(1)
    batch = (torch.rand(4, 1, 3, 64, 64, generator=g), torch.randn(4, 17, 3, generator=g), torch.ones(4, 17, 1),
             torch.randn(4, 1, 4, 4, generator=g))
    return one_batch(model, batch)


# keypoints_3d_pred[0] is (17, 3): n_joints is taken from the coordinates, the mask has 3 entries instead of 17
TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['function:arange', 'function:ne', 'function:getitem'], dim=0, got=3, wanted=17,
             hint_any=['n_joints', 'shape[1]', '17', 'arange'])
MENDED = [('n_joints = keypoints_3d_pred[0].shape[1]', 'n_joints = keypoints_3d_pred.shape[1]')]
