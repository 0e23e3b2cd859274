import torch
import torch.nn as nn
import torch.nn.functional as F_

SOURCE = 'https://github.com/MarcoForte/FBA_Matting/issues/7'
CATEGORY = 'silent'
DESCRIPTION = 'FBA fusion: torch.sum(..., 1) without keepdim makes the refined alpha (B,B,H,W); after the concatenation, fg and bg are cut from the wrong channels.'


def fba_fusion(alpha, img, F, B):
    F = alpha * img + (1 - alpha ** 2) * F - alpha * (1 - alpha) * B
    B = (1 - alpha) * img + (2 * alpha - alpha ** 2) * B - alpha * (1 - alpha) * F
    F = torch.clamp(F, 0, 1)
    B = torch.clamp(B, 0, 1)
    la = 0.1
    alpha = (alpha * la + torch.sum((img - B) * (F - B), 1)) / (torch.sum((F - B) * (F - B), 1) + la)
    alpha = torch.clamp(alpha, 0, 1)
    return alpha, F, B


def conv_gn(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1), nn.GroupNorm(4, cout), nn.LeakyReLU())


class FbaDecoder(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.conv_up1 = conv_gn(ch * 2, ch)
        self.conv_up2 = conv_gn(ch + 3 + 2, ch)
        self.conv_up3 = nn.Conv2d(ch, 7, 1)

    def forward(self, feats, img, two_chan_trimap):
        x = self.conv_up1(feats)
        x = F_.interpolate(x, size=img.shape[-2:], mode='bilinear', align_corners=False)
        x = self.conv_up2(torch.cat((x, img, two_chan_trimap), 1))
        output = self.conv_up3(x)
        alpha = torch.clamp(output[:, 0][:, None], 0, 1)
        F = torch.sigmoid(output[:, 1:4])
        B = torch.sigmoid(output[:, 4:7])
        alpha, F, B = fba_fusion(alpha, img, F, B)
        return torch.cat((alpha, F, B), 1)


class MattingModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(conv_gn(5, 16, 2), conv_gn(16, 32, 2))
        self.decoder = FbaDecoder()

    def forward(self, image, two_chan_trimap):
        feats = self.encoder(torch.cat((image, two_chan_trimap), 1))
        return self.decoder(feats, image, two_chan_trimap)


def gradient_l1(a, b):
    dx = (a[..., :, 1:] - a[..., :, :-1]) - (b[..., :, 1:] - b[..., :, :-1])
    dy = (a[..., 1:, :] - a[..., :-1, :]) - (b[..., 1:, :] - b[..., :-1, :])
    return dx.abs().mean() + dy.abs().mean()


def matting_loss(output, alpha, fg, bg, image):
    alpha_pred, fg_pred, bg_pred = output[:, 0:1], output[:, 1:4], output[:, 4:7]
    l_alpha = F_.l1_loss(alpha_pred, alpha) + gradient_l1(alpha_pred, alpha)
    l_comp = F_.l1_loss(alpha * fg_pred + (1 - alpha) * bg_pred, image)
    l_fb = F_.l1_loss(fg_pred, fg) + F_.l1_loss(bg_pred, bg)
    return l_alpha + l_comp + 0.25 * l_fb


def build():
    return MattingModule()


def step(model):
    fg, bg = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)
    alpha = F_.interpolate(torch.rand(4, 1, 8, 8), size=(32, 32), mode='bilinear', align_corners=False)
    image = alpha * fg + (1 - alpha) * bg
    trimap = torch.cat(((alpha < 0.1).float(), (alpha > 0.9).float()), 1)
    return matting_loss(model(image, trimap), alpha, fg, bg, image)


# real fix: torch.sum(..., 1, keepdim=True) twice
TRUTH = dict(raises=None, at='function:add', culprits=['function:sum'], dim=1, got=4, wanted=1,
             hint_any=['keepdim', 'unsqueeze'])
MENDED = [('torch.sum((img - B) * (F - B), 1)', 'torch.sum((img - B) * (F - B), 1, keepdim=True)'),
          ('torch.sum((F - B) * (F - B), 1)', 'torch.sum((F - B) * (F - B), 1, keepdim=True)')]
