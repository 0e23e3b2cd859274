from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Project-MONAI/tutorials/issues/582'
CATEGORY = 'loss'
DESCRIPTION = 'Self-supervised 2D tutorial: ContrastiveLoss was constructed for batches of 4, the loader delivers 2.'


@dataclass
class Config:
    img_size: tuple = (32, 32)
    patch_size: tuple = (8, 8)
    hidden_size: int = 48
    num_layers: int = 2
    batch_size: int = 4
    temperature: float = 0.05
    loader_batch: int = 2


class ContrastiveLoss(nn.Module):
    def __init__(self, temperature=0.5, batch_size=1):
        super().__init__()
        self.batch_size = batch_size
        self.temperature = temperature

    def forward(self, input, target):
        temperature_tensor = torch.as_tensor(self.temperature).to(input.device)
        norm_i = F.normalize(input, dim=1)
        norm_j = F.normalize(target, dim=1)
        negatives_mask = ~torch.eye(self.batch_size * 2, self.batch_size * 2, dtype=torch.bool)
        negatives_mask = torch.clone(negatives_mask.type(torch.float)).to(input.device)
        repr = torch.cat([norm_i, norm_j], dim=0)
        sim_matrix = F.cosine_similarity(repr.unsqueeze(1), repr.unsqueeze(0), dim=2)
        sim_ij = torch.diag(sim_matrix, self.batch_size)
        sim_ji = torch.diag(sim_matrix, -self.batch_size)
        positives = torch.cat([sim_ij, sim_ji], dim=0)
        nominator = torch.exp(positives / temperature_tensor)
        denominator = negatives_mask * torch.exp(sim_matrix / temperature_tensor)
        loss_partial = -torch.log(nominator / torch.sum(denominator, dim=1))
        return torch.sum(loss_partial) / (2 * self.batch_size)


class ViTAutoEnc(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        p = cfg.patch_size[0]
        n = (cfg.img_size[0] // p) * (cfg.img_size[1] // p)
        self.side = cfg.img_size[0] // p
        self.patch_embedding = nn.Conv2d(1, cfg.hidden_size, p, stride=p)
        self.position = nn.Parameter(torch.zeros(1, n, cfg.hidden_size))
        layer = nn.TransformerEncoderLayer(cfg.hidden_size, 4, 96, dropout=0., batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, cfg.num_layers)
        self.conv3d_transpose = nn.ConvTranspose2d(cfg.hidden_size, 16, p // 2, stride=p // 2)
        self.conv3d_transpose_1 = nn.ConvTranspose2d(16, 1, 2, stride=2)

    def forward(self, x):
        x = self.patch_embedding(x).flatten(2).transpose(1, 2) + self.position
        h = self.blocks(x)
        d = h.transpose(1, 2).reshape(x.shape[0], -1, self.side, self.side)
        return self.conv3d_transpose_1(self.conv3d_transpose(d)), h


class Pretrain(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.net = ViTAutoEnc(cfg)
        self.recon_loss = nn.L1Loss()
        self.contrastive_loss = ContrastiveLoss(temperature=cfg.temperature, batch_size=cfg.batch_size)

    def training_step(self, batch):
        inputs, inputs_2, gt_input = batch['image'], batch['image_2'], batch['gt_image']
        outputs_v1, _ = self.net(inputs)
        outputs_v2, _ = self.net(inputs_2)
        flat_out_v1 = outputs_v1.flatten(start_dim=1, end_dim=3)
        flat_out_v2 = outputs_v2.flatten(start_dim=1, end_dim=3)
        r_loss = self.recon_loss(outputs_v1, gt_input)
        cl_loss = self.contrastive_loss(flat_out_v1, flat_out_v2)
        return r_loss + cl_loss * r_loss


def coarse_dropout(img):
    out = img.clone()
    out[:, :, 4:12, 4:12] = 0
    return out


def build():
    torch.manual_seed(0)
    return Pretrain(Config())


def step(model):
    gt = torch.rand(model.cfg.loader_batch, 1, *model.cfg.img_size)
    return model.training_step({'image': coarse_dropout(gt), 'image_2': coarse_dropout(gt.flip(-1)), 'gt_image': gt})


# real fix: the batch size of the loss has to be that of the batches
# offending tensor: negatives_mask (8, 8) against the similarities (4, 4)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['contrastive_loss', 'function:eye', 'input'], dim=0, got=8, wanted=4,
             hint_any=['batch_size', 'batch size', 'batch', 'eye', 'mask'])
MENDED = [('    batch_size: int = 4', '    batch_size: int = 2')]
