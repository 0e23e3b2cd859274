import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/motokimura/yolo_v1_pytorch/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'YOLO v1 loss: pred[:, 2] (the widths, shape (2,)) stands where the centres pred[:, :2] (2, 2) belong; with two boxes per cell the subtraction broadcasts.'


def conv(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1), nn.BatchNorm2d(cout), nn.LeakyReLU(0.1))


class YOLOv1(nn.Module):
    def __init__(self, feature_size=5, num_bboxes=2, num_classes=4):
        super().__init__()
        self.S, self.B, self.C = feature_size, num_bboxes, num_classes
        self.features = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2), conv(32, 32, 2))
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(32 * 5 * 5, 64), nn.LeakyReLU(0.1),
                                nn.Linear(64, feature_size ** 2 * (5 * num_bboxes + num_classes)), nn.Sigmoid())

    def forward(self, x):
        return self.fc(self.features(x)).view(-1, self.S, self.S, 5 * self.B + self.C)


class Loss(nn.Module):
    def __init__(self, feature_size=5, num_bboxes=2, num_classes=4, lambda_coord=5.0, lambda_noobj=0.5):
        super().__init__()
        self.S, self.B, self.C = feature_size, num_bboxes, num_classes
        self.lambda_coord, self.lambda_noobj = lambda_coord, lambda_noobj

    def compute_iou(self, bbox1, bbox2):
        N, M = bbox1.size(0), bbox2.size(0)
        lt = torch.max(bbox1[:, :2].unsqueeze(1).expand(N, M, 2), bbox2[:, :2].unsqueeze(0).expand(N, M, 2))
        rb = torch.min(bbox1[:, 2:].unsqueeze(1).expand(N, M, 2), bbox2[:, 2:].unsqueeze(0).expand(N, M, 2))
        wh = (rb - lt).clamp(min=0)
        inter = wh[:, :, 0] * wh[:, :, 1]
        area1 = (bbox1[:, 2] - bbox1[:, 0]) * (bbox1[:, 3] - bbox1[:, 1])
        area2 = (bbox2[:, 2] - bbox2[:, 0]) * (bbox2[:, 3] - bbox2[:, 1])
        return inter / (area1.unsqueeze(1).expand_as(inter) + area2.unsqueeze(0).expand_as(inter) - inter)

    def to_xyxy(self, box):
        xyxy = torch.zeros(box.size(0), 4)
        xyxy[:, :2] = box[:, 2] / float(self.S) - 0.5 * box[:, 2:4]
        xyxy[:, 2:4] = box[:, 2] / float(self.S) + 0.5 * box[:, 2:4]
        return xyxy

    def forward(self, pred_tensor, target_tensor):
        B, N = self.B, 5 * self.B + self.C
        coord_mask = target_tensor[..., 4] > 0
        coord_pred, coord_target = pred_tensor[coord_mask], target_tensor[coord_mask]
        bbox_pred, class_pred = coord_pred[:, :5 * B].reshape(-1, 5), coord_pred[:, 5 * B:]
        bbox_target, class_target = coord_target[:, :5 * B].reshape(-1, 5), coord_target[:, 5 * B:]

        noobj_pred = pred_tensor[~coord_mask][:, 4:5 * B:5]
        loss_noobj = F.mse_loss(noobj_pred, torch.zeros_like(noobj_pred), reduction='sum')

        response = torch.zeros(bbox_target.size(0), dtype=torch.bool)
        target_iou = torch.zeros(bbox_target.size(0))
        for i in range(0, bbox_target.size(0), B):
            pred_xyxy = self.to_xyxy(bbox_pred[i:i + B].detach())
            target_xyxy = self.to_xyxy(bbox_target[i:i + B])[:1]
            iou = self.compute_iou(pred_xyxy, target_xyxy)
            max_iou, max_index = iou.max(0)
            response[i + max_index] = True
            target_iou[i + max_index] = max_iou

        bbox_pred, bbox_target, target_iou = bbox_pred[response], bbox_target[response], target_iou[response]
        loss_xy = F.mse_loss(bbox_pred[:, :2], bbox_target[:, :2], reduction='sum')
        loss_wh = F.mse_loss(bbox_pred[:, 2:4].sqrt(), bbox_target[:, 2:4].sqrt(), reduction='sum')
        loss_obj = F.mse_loss(bbox_pred[:, 4], target_iou, reduction='sum')
        loss_class = F.mse_loss(class_pred, class_target, reduction='sum')
        loss = self.lambda_coord * (loss_xy + loss_wh) + loss_obj + self.lambda_noobj * loss_noobj + loss_class
        return loss / float(pred_tensor.size(0))


def make_targets(n, S=5, B=2, C=4):
    target = torch.zeros(n, S, S, 5 * B + C)
    for img in range(n):
        for _ in range(3):
            r, c = torch.randint(0, S, (2,)).tolist()
            box = torch.cat([torch.rand(2), 0.1 + 0.8 * torch.rand(2), torch.ones(1)])
            target[img, r, c] = torch.cat([box, box, F.one_hot(torch.randint(0, C, ()), C).float()])
    return target


def build():
    return YOLOv1()


def step(model):
    images, targets = torch.rand(4, 3, 40, 40), make_targets(4)
    return Loss()(model(images), targets)


# real fix: box[:, :2] / float(S)
TRUTH = dict(raises=None, at='function:sub', culprits=['function:__getitem__', 'function:getitem', 'function:sub', 'function:add'],
             dim=None, got=None, wanted=None, hint_any=[':2', 'slice', 'centre', 'center', 'index', 'broadcast', 'unsqueeze'])
MENDED = [('box[:, 2] / float(self.S) - ', 'box[:, :2] / float(self.S) - '), ('box[:, 2] / float(self.S) + ', 'box[:, :2] / float(self.S) + ')]
