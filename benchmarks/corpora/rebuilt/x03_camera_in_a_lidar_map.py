import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/EasonChen99/I2D-Loc/issues/8 (the solver of the pose is a few damped Gauss-Newton steps here)'
CATEGORY = 'silent'
DESCRIPTION = 'Camera localisation in a lidar map: optical flow between picture and projected depth, then a pose from the matched points; flow loss and pose loss.'


class FlowNet(nn.Module):
    def __init__(self, dim=16, iters=3):
        super().__init__()
        self.iters = iters
        self.fnet_image = nn.Sequential(nn.Conv2d(3, dim, 3, padding=1), nn.ReLU(), nn.Conv2d(dim, dim, 3, padding=1))
        self.fnet_lidar = nn.Sequential(nn.Conv2d(1, dim, 3, padding=1), nn.ReLU(), nn.Conv2d(dim, dim, 3, padding=1))
        self.update_block = nn.Sequential(nn.Conv2d(2 * dim + 2, dim, 3, padding=1), nn.ReLU(),
                                          nn.Conv2d(dim, 2, 3, padding=1))

    def forward(self, rgb, depth):
        a, b = self.fnet_image(rgb), self.fnet_lidar(depth)
        flow = rgb.new_zeros(rgb.shape[0], 2, *rgb.shape[2:])
        predictions = []
        for _ in range(self.iters):
            flow = flow + self.update_block(torch.cat([a, b, flow], dim=1))
            predictions.append(flow)
        return predictions


def project(P, pts3d, K):
    """P: (6,) axis-angle (small) and translation; pts3d: (N, 3)"""
    r, t = P[:3], P[3:]
    cam = pts3d + torch.cross(r.expand_as(pts3d), pts3d, dim=1) + t
    uv = cam @ K.t()
    return uv[:, :2] / uv[:, 2:]


def jacobian(P, pts3d, K):
    x, y, z = (pts3d + torch.cross(P[:3].expand_as(pts3d), pts3d, dim=1) + P[3:]).unbind(dim=1)
    zero, one = torch.zeros_like(z), torch.ones_like(z)
    d_uv = torch.stack([K[0, 0] / z, zero, -K[0, 0] * x / z ** 2, zero, K[1, 1] / z, -K[1, 1] * y / z ** 2], 1).view(-1, 2, 3)
    X, Y, Z = pts3d.unbind(dim=1)
    d_cam = torch.stack([zero, Z, -Y, one, zero, zero, -Z, zero, X, zero, one, zero, Y, -X, zero, zero, zero, one], 1)
    return d_uv @ d_cam.view(-1, 3, 6)


def bpnp(pts2d, pts3d, K, steps=4, damping=1e-2):
    P = torch.zeros(6)
    for _ in range(steps):
        J = jacobian(P, pts3d, K).flatten(0, 1)
        res = (pts2d - project(P, pts3d, K)).flatten()
        P = P + torch.linalg.solve(J.t() @ J + damping * torch.eye(6), J.t() @ res)
    return P


def sequence_loss(flow_preds, flow_gt, valid, gamma=0.8):
    loss = 0.0
    for i, flow in enumerate(flow_preds):
        weight = gamma ** (len(flow_preds) - i - 1)
        loss = loss + weight * (valid * (flow - flow_gt).abs()).mean()
    return loss


def pose_loss(flow_up, depth, K, P_gt):
    """reprojection error of the pose that the flow stands for, picture by picture"""
    B, _, H, W = flow_up.shape
    ys, xs = torch.meshgrid(torch.arange(H), torch.arange(W), indexing='ij')
    total = 0.0
    for b in range(B):
        output = flow_up[b].detach().cpu().permute(1, 2, 0).numpy()
        mask = depth[b, 0] > 0
        z = depth[b, 0][mask]
        u, v = xs[mask].float(), ys[mask].float()
        pts3d = torch.stack([(u - K[0, 2]) * z / K[0, 0], (v - K[1, 2]) * z / K[1, 1], z], dim=1)
        shift = torch.tensor(output)[mask]
        pts2d_pro = torch.stack([u, v], dim=1) + shift
        pts2d_pro.requires_grad = True
        P_out = bpnp(pts2d_pro, pts3d, K)
        total = total + (project(P_out, pts3d, K) - project(P_gt[b], pts3d, K)).norm(dim=1).mean()
    return total / B


def build():
    return FlowNet()


def step(model):
    B, H, W = 2, 12, 20
    K = torch.tensor([[20.0, 0.0, W / 2], [0.0, 20.0, H / 2], [0.0, 0.0, 1.0]])
    rgb = torch.rand(B, 3, H, W)
    depth = (torch.rand(B, 1, H, W) * 10 + 5) * (torch.rand(B, 1, H, W) > 0.6)
    flow_gt = torch.randn(B, 2, 1, 1).expand(B, 2, H, W)
    P_gt = torch.randn(B, 6) * 0.02
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(3):
        flow_preds = model(rgb, depth / 15)
        loss_flow = sequence_loss(flow_preds, flow_gt, depth > 0)
        loss_pose = pose_loss(flow_preds[-1], depth, K, P_gt)
        loss = loss_flow + 0.5 * loss_pose
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# the flow goes through numpy and comes back as a new tensor; requires_grad = True makes it a leaf of its own, so the
# pose loss has a gradient that ends there and never reaches the network; real fix: keep the tensors in the graph
TRUTH = dict(raises=None, at='function:tensor', culprits=['function:detach', 'function:tensor', 'function:numpy'],
             dim=None, got=None, wanted=None, hint_any=['detach', 'graph', 'leaf', 'numpy', 'gradient'])
MENDED = [('flow_up[b].detach().cpu().permute(1, 2, 0).numpy()', 'flow_up[b].permute(1, 2, 0)'),
          ('torch.tensor(output)[mask]', 'output[mask]'), ('        pts2d_pro.requires_grad = True\n', '')]
