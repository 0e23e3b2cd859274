import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/JiaRenChang/PSMNet/issues/226'
CATEGORY = 'layer'
DESCRIPTION = ('Stereo: in evaluation the network returns disparities with a channel, (40,1,H,W); the three-pixel error looks up the pixels with known '
               'disparity by batch, row and column.')


def convbn(in_planes, out_planes, kernel_size, stride, pad):
    return nn.Sequential(nn.Conv2d(in_planes, out_planes, kernel_size, stride, pad, bias=False), nn.BatchNorm2d(out_planes))


class FeatureExtraction(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.firstconv = nn.Sequential(convbn(3, width, 3, 2, 1), nn.ReLU(inplace=True), convbn(width, width, 3, 2, 1), nn.ReLU(inplace=True))
        self.lastconv = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x):
        return self.lastconv(self.firstconv(x))


class DisparityRegression(nn.Module):
    def __init__(self, maxdisp):
        super().__init__()
        self.register_buffer('disp', torch.arange(maxdisp, dtype=torch.float32).view(1, maxdisp, 1, 1))

    def forward(self, x):
        return torch.sum(x * self.disp, 1, keepdim=True)


class StereoNet(nn.Module):
    def __init__(self, maxdisp=16):
        super().__init__()
        self.maxdisp = maxdisp
        self.feature_extraction = FeatureExtraction()
        self.dres = nn.Sequential(nn.Conv3d(16, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv3d(8, 1, 3, padding=1))
        self.regression = DisparityRegression(maxdisp)

    def forward(self, left, right):
        refimg_fea, targetimg_fea = self.feature_extraction(left), self.feature_extraction(right)
        cost = []
        for i in range(self.maxdisp // 4):
            shifted = F.pad(targetimg_fea, (i, 0))[..., :targetimg_fea.shape[-1]]
            cost.append(torch.cat([refimg_fea, shifted], dim=1))
        cost = self.dres(torch.stack(cost, dim=2))
        cost = F.interpolate(cost, [self.maxdisp, left.size(2), left.size(3)], mode='trilinear', align_corners=False)
        pred = F.softmax(torch.squeeze(cost, 1), dim=1)
        pred = self.regression(pred)
        if self.training:
            return pred.squeeze(1)
        return pred


def train(model, imgL, imgR, disp_true, maxdisp=16):
    model.train()
    mask = (disp_true > 0) & (disp_true < maxdisp)
    output = model(imgL, imgR)
    return F.smooth_l1_loss(output[mask], disp_true[mask])


def test(model, imgL, imgR, disp_true):
    model.eval()
    output3 = model(imgL, imgR)
    pred_disp = output3.detach()
    true_disp = disp_true.clone()
    index = torch.nonzero(true_disp > 0, as_tuple=True)
    error = torch.abs(true_disp[index[0], index[1], index[2]] - pred_disp[index[0], index[1], index[2]])
    correct = (error < 3) | (error < true_disp[index[0], index[1], index[2]] * 0.05)
    return 1 - correct.float().mean()


def load_pairs(n, height=24, width=48):
    disp = torch.rand(n, height, width) * 15
    disp[torch.rand_like(disp) < 0.6] = 0.
    return torch.randn(n, 3, height, width), torch.randn(n, 3, height, width), disp


def build():
    torch.manual_seed(0)
    return StereoNet()


def step(model):
    loss = train(model, *load_pairs(2))
    error = test(model, *load_pairs(4))
    return loss + error


# real fix (issue): pred_disp = torch.squeeze(pred_disp, 1) in test()
TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['function:sum', 'regression', 'function:getitem'], dim=1, got=1, wanted=24,
             hint_any=['squeeze', 'keepdim', 'channel', 'size 1'])
MENDED = [('    pred_disp = output3.detach()', '    pred_disp = torch.squeeze(output3.detach(), 1)')]
