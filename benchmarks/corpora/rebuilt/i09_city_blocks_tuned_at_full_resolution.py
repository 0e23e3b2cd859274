import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Linketic/CityGaussian/issues/124 (500 against 2000; the rendering is reduced to splats of equal width)'
CATEGORY = 'loss'
DESCRIPTION = 'Block-wise Gaussian splatting: the blocks are tuned with the original images, the renderer still takes its image size from the configuration of the coarse checkpoint (a quarter).'


class Splats(nn.Module):
    def __init__(self, n=40):
        super().__init__()
        self.xy = nn.Parameter(torch.rand(n, 2))
        self.colour = nn.Parameter(torch.rand(n, 3))
        self.opacity = nn.Parameter(torch.zeros(n))


class Renderer(nn.Module):
    def __init__(self, image_size, down_sample_factor):
        super().__init__()
        self.height = image_size[0] // down_sample_factor
        self.width = image_size[1] // down_sample_factor

    def forward(self, xy, colour, opacity, sigma=0.05):
        ys = (torch.arange(self.height) + 0.5) / self.height
        xs = (torch.arange(self.width) + 0.5) / self.width
        d2 = (ys[:, None, None] - xy[:, 1]) ** 2 + (xs[None, :, None] - xy[:, 0]) ** 2
        w = torch.exp(-d2 / (2 * sigma ** 2)) * opacity.sigmoid()
        image = torch.einsum('hwn,nc->chw', w, colour) / (w.sum(-1) + 1e-4)
        return image.clamp(0, 1)


class BlockModel(nn.Module):
    def __init__(self, coarse_checkpoint):
        super().__init__()
        hp = coarse_checkpoint['hyper_parameters']
        self.gaussians = Splats(hp['num_points'])
        self.gaussians.load_state_dict(coarse_checkpoint['state_dict'])
        self.renderer = Renderer(hp['image_size'], hp['down_sample_factor'])

    def forward(self):
        g = self.gaussians
        return self.renderer(g.xy, g.colour, g.opacity)


class DataParser:
    def __init__(self, image_size, down_sample_factor=1):
        self.size = [s // down_sample_factor for s in image_size]

    def image(self):
        return torch.rand(3, *self.size)


IMAGE_SIZE = (64, 96)


def coarse_checkpoint():
    return {'hyper_parameters': {'num_points': 40, 'image_size': IMAGE_SIZE, 'down_sample_factor': 4},
            'state_dict': Splats(40).state_dict()}


def build():
    return BlockModel(coarse_checkpoint())


def step(model):
    parser = DataParser(IMAGE_SIZE)
    gt = parser.image()
    render = model()
    l1 = F.l1_loss(render, gt)
    dssim = F.mse_loss(F.avg_pool2d(render[None], 4), F.avg_pool2d(gt[None], 4))
    return 0.8 * l1 + 0.2 * dssim


# real fix (thread): overwrite the configuration of the checkpoint, so that the same factor holds in the data parser and in the model
TRUTH = dict(raises='RuntimeError', at='loss:l1_loss', culprits=['renderer', 'target'], dim=2, got=24, wanted=96,
             hint_any=['down', 'factor', 'resolution', '4', 'resiz', 'spatial', 'target'])
MENDED = [("self.renderer = Renderer(hp['image_size'], hp['down_sample_factor'])", "self.renderer = Renderer(hp['image_size'], 1)")]
