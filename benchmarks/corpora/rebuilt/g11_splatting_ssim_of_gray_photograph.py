from math import exp

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/graphdeco-inria/gaussian-splatting/issues/733'
CATEGORY = 'layer'
DESCRIPTION = 'Gaussian splatting on grayscale photographs: the L1 term broadcasts one channel over three, the grouped window of SSIM then refuses the photograph.'


def l1_loss(network_output, gt):
    return torch.abs((network_output - gt)).mean()


def gaussian(window_size, sigma):
    gauss = torch.Tensor([exp(-(x - window_size // 2) ** 2 / float(2 * sigma ** 2)) for x in range(window_size)])
    return gauss / gauss.sum()


def create_window(window_size, channel):
    _1D_window = gaussian(window_size, 1.5).unsqueeze(1)
    _2D_window = _1D_window.mm(_1D_window.t()).float().unsqueeze(0).unsqueeze(0)
    return _2D_window.expand(channel, 1, window_size, window_size).contiguous()


def ssim(img1, img2, window_size=11, size_average=True):
    channel = img1.size(-3)
    window = create_window(window_size, channel).type_as(img1)
    return _ssim(img1, img2, window, window_size, channel, size_average)


def _ssim(img1, img2, window, window_size, channel, size_average=True):
    mu1 = F.conv2d(img1, window, padding=window_size // 2, groups=channel)
    mu2 = F.conv2d(img2, window, padding=window_size // 2, groups=channel)
    mu1_sq, mu2_sq, mu1_mu2 = mu1.pow(2), mu2.pow(2), mu1 * mu2
    sigma1_sq = F.conv2d(img1 * img1, window, padding=window_size // 2, groups=channel) - mu1_sq
    sigma2_sq = F.conv2d(img2 * img2, window, padding=window_size // 2, groups=channel) - mu2_sq
    sigma12 = F.conv2d(img1 * img2, window, padding=window_size // 2, groups=channel) - mu1_mu2
    C1, C2 = 0.01 ** 2, 0.03 ** 2
    ssim_map = ((2 * mu1_mu2 + C1) * (2 * sigma12 + C2)) / ((mu1_sq + mu2_sq + C1) * (sigma1_sq + sigma2_sq + C2))
    return ssim_map.mean() if size_average else ssim_map.mean(1).mean(1).mean(1)


def PILtoTorch(pil_image, resolution):
    resized_image = F.interpolate(pil_image[None].float(), size=resolution, mode='bilinear')[0] / 255.0
    if len(resized_image.shape) == 3 and resized_image.shape[-1] in (3, 4):
        return resized_image.permute(2, 0, 1)
    return resized_image


class Camera:
    def __init__(self, uid, image, resolution):
        resized = PILtoTorch(image, resolution)
        self.uid = uid
        self.original_image = resized[:3, ...].clamp(0.0, 1.0)
        self.image_height, self.image_width = self.original_image.shape[1:]
        self.offset = torch.tensor([0.1, -0.1]) * uid


class GaussianModel(nn.Module):
    def __init__(self, n=40):
        super().__init__()
        self._xyz = nn.Parameter(torch.rand(n, 2))
        self._features_dc = nn.Parameter(torch.rand(n, 3))
        self._scaling = nn.Parameter(torch.full((n,), -2.5))
        self._opacity = nn.Parameter(torch.zeros(n))


def render(viewpoint_camera, pc, bg_color):
    h, w = viewpoint_camera.image_height, viewpoint_camera.image_width
    ys, xs = torch.meshgrid(torch.linspace(0, 1, h), torch.linspace(0, 1, w), indexing='ij')
    xy = pc._xyz + viewpoint_camera.offset
    d2 = (xs[None] - xy[:, 0, None, None]) ** 2 + (ys[None] - xy[:, 1, None, None]) ** 2
    alpha = pc._opacity.sigmoid()[:, None, None] * torch.exp(-d2 / pc._scaling.exp()[:, None, None] ** 2)
    T = torch.cumprod(torch.cat((torch.ones(1, h, w), 1 - alpha[:-1])), 0)
    image = torch.einsum('nhw,nc->chw', alpha * T, pc._features_dc) + (T[-1] * (1 - alpha[-1]))[None] * bg_color[:, None, None]
    return {'render': image}


def read_image(height, width):
    return torch.randint(0, 256, (1, height, width))


def build():
    return GaussianModel()


def step(model, lambda_dssim=0.2):
    cameras = [Camera(i, read_image(48, 76), (24, 38)) for i in range(3)]
    total = 0.
    for cam in cameras:
        image = render(cam, model, torch.zeros(3))['render']
        gt_image = cam.original_image
        total = total + (1.0 - lambda_dssim) * l1_loss(image, gt_image) + lambda_dssim * (1.0 - ssim(image[None], gt_image[None]))
    return total / len(cameras)


# real fix: the photographs are repeated to three channels ("should work fine as long as the images has 3 channels")
TRUTH = dict(raises='RuntimeError', at='function:conv2d', culprits=['input', 'target'], dim=1, got=1, wanted=3,
             hint_any=['channel', 'gray', 'grey', 'repeat', 'rgb', 'expand', '3'])
MENDED = [('return torch.randint(0, 256, (1, height, width))', 'return torch.randint(0, 256, (1, height, width)).repeat(3, 1, 1)')]
