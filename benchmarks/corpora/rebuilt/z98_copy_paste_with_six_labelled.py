import itertools

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/DeepMed-Lab-ECNU/BCP/issues/40'
CATEGORY = 'layer'
DESCRIPTION = ('Bidirectional copy-paste for semi-supervised segmentation: labeled_bs=6 of batch_size=24 leaves halves of 3 labelled and '
               '9 unlabelled images that cannot be mixed; labeled_bs has to be half of batch_size.')


class args:
    batch_size = 24
    labeled_bs = 6
    labelnum = 7
    num_classes = 4
    u_weight = 0.5


class TwoStreamBatchSampler(torch.utils.data.Sampler):
    def __init__(self, primary_indices, secondary_indices, batch_size, secondary_batch_size):
        self.primary, self.secondary = primary_indices, secondary_indices
        self.secondary_batch_size = secondary_batch_size
        self.primary_batch_size = batch_size - secondary_batch_size

    def __iter__(self):
        labelled = itertools.cycle(self.primary)
        unlabelled = itertools.cycle(self.secondary)
        yield list(itertools.islice(labelled, self.primary_batch_size)) + list(itertools.islice(unlabelled, self.secondary_batch_size))

    def __len__(self):
        return 1


class ACDCDataSet(torch.utils.data.Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        return dict(image=torch.rand(1, 32, 32, generator=g), label=torch.randint(0, args.num_classes, (32, 32), generator=g))


def generate_mask(img, ratio=2 / 3):
    _, _, h, w = img.shape
    mask = torch.ones(h, w)
    ph, pw = int(h * ratio), int(w * ratio)
    y, x = torch.randint(0, h - ph, (1,)).item(), torch.randint(0, w - pw, (1,)).item()
    mask[y:y + ph, x:x + pw] = 0
    return mask, mask.long()


class UNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.enc1, self.enc2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.out = nn.Conv2d(16, num_classes, 3, padding=1)

    def forward(self, x):
        e1 = F.relu(self.enc1(x))
        return self.out(torch.cat([e1, F.relu(self.up(F.relu(self.enc2(e1))))], dim=1))


def mix_loss(output, img_l, patch_l, mask, l_weight=1.0, u_weight=0.5, unlab=False):
    image_weight, patch_weight = (u_weight, l_weight) if unlab else (l_weight, u_weight)
    loss = F.cross_entropy(output, img_l, reduction='none') * mask * image_weight
    loss = loss + F.cross_entropy(output, patch_l, reduction='none') * (1 - mask) * patch_weight
    return loss.mean()


class SelfTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.model, self.ema_model = UNet(args.num_classes), UNet(args.num_classes)
        self.ema_model.load_state_dict(self.model.state_dict())
        self.ema_model.requires_grad_(False)


def build():
    return SelfTraining()


def step(net):
    sampler = TwoStreamBatchSampler(range(0, args.labelnum), range(args.labelnum, 60), args.batch_size, args.batch_size - args.labeled_bs)
    sampled_batch = next(iter(torch.utils.data.DataLoader(ACDCDataSet(), batch_sampler=sampler)))
    volume_batch, label_batch = sampled_batch['image'], sampled_batch['label']
    labeled_sub_bs, unlabeled_sub_bs = args.labeled_bs // 2, (args.batch_size - args.labeled_bs) // 2

    img_a, img_b = volume_batch[:labeled_sub_bs], volume_batch[labeled_sub_bs:args.labeled_bs]
    uimg_a, uimg_b = volume_batch[args.labeled_bs:args.labeled_bs + unlabeled_sub_bs], volume_batch[args.labeled_bs + unlabeled_sub_bs:]
    lab_a, lab_b = label_batch[:labeled_sub_bs], label_batch[labeled_sub_bs:args.labeled_bs]
    with torch.no_grad():
        plab_a, plab_b = net.ema_model(uimg_a).argmax(1), net.ema_model(uimg_b).argmax(1)
        img_mask, loss_mask = generate_mask(img_a)

    net_input_unl = uimg_a * img_mask + img_a * (1 - img_mask)
    net_input_l = img_b * img_mask + uimg_b * (1 - img_mask)
    out_unl, out_l = net.model(net_input_unl), net.model(net_input_l)
    return mix_loss(out_unl, plab_a, lab_a, loss_mask, u_weight=args.u_weight, unlab=True) + mix_loss(out_l, lab_b, plab_b, loss_mask,
                                                                                                       u_weight=args.u_weight)


# labeled_bs = 12
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['input', 'function:getitem'], dim=None, got=None, wanted=None,
             hint_any=['batch', 'getitem', 'slice', 'labeled', 'half'])
MENDED = [('labeled_bs = 6', 'labeled_bs = 12')]
