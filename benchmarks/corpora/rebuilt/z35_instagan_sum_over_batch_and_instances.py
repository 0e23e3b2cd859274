import functools

import torch
import torch.nn as nn

SOURCE = 'https://github.com/sangwoomo/instagan/issues/3'
CATEGORY = 'layer'
DESCRIPTION = 'Encodings of the instance masks are concatenated along the batch and summed to one; a batch of one hides it.'


def get_encoder(input_nc, ngf, norm_layer, n_downsampling=2):
    model = [nn.ReflectionPad2d(3), nn.Conv2d(input_nc, ngf, 7), norm_layer(ngf), nn.ReLU(True)]
    for i in range(n_downsampling):
        mult = 2 ** i
        model += [nn.Conv2d(ngf * mult, ngf * mult * 2, 3, stride=2, padding=1), norm_layer(ngf * mult * 2), nn.ReLU(True)]
    return nn.Sequential(*model)


def get_decoder(output_nc, ngf, norm_layer, factor, n_downsampling=2):
    nc = ngf * 2 ** n_downsampling
    model = [nn.Conv2d(nc * factor, nc, 1), nn.ReLU(True)]
    for i in range(n_downsampling):
        model += [nn.ConvTranspose2d(nc, nc // 2, 3, stride=2, padding=1, output_padding=1), norm_layer(nc // 2), nn.ReLU(True)]
        nc //= 2
    model += [nn.ReflectionPad2d(3), nn.Conv2d(nc, output_nc, 7), nn.Tanh()]
    return nn.Sequential(*model)


class ResnetSetGenerator(nn.Module):
    def __init__(self, input_nc, output_nc, ngf=8):
        super().__init__()
        norm = functools.partial(nn.InstanceNorm2d, affine=False)
        self.input_nc = input_nc
        self.encoder_img = get_encoder(input_nc, ngf, norm)
        self.encoder_seg = get_encoder(1, ngf, norm)
        self.decoder_img = get_decoder(output_nc, ngf, norm, factor=2)
        self.decoder_seg = get_decoder(1, ngf, norm, factor=3)

    def forward(self, inp):
        img = inp[:, :self.input_nc]
        segs = inp[:, self.input_nc:]
        mean = (segs + 1).mean(0).mean(-1).mean(-1)
        if mean.sum() == 0:
            mean[0] = 1

        enc_img = self.encoder_img(img)
        enc_segs = list()
        for i in range(segs.size(1)):
            if mean[i] > 0:
                enc_segs.append(self.encoder_seg(segs[:, i].unsqueeze(1)))
        enc_segs = torch.cat(enc_segs)
        enc_segs_sum = torch.sum(enc_segs, dim=0, keepdim=True)

        feat = torch.cat([enc_img, enc_segs_sum], dim=1)
        out = [self.decoder_img(feat)]
        idx = 0
        for i in range(segs.size(1)):
            if mean[i] > 0:
                enc_seg = self.encoder_seg(segs[:, i].unsqueeze(1))
                idx += 1
                out.append(self.decoder_seg(torch.cat([feat, enc_seg], dim=1)))
            else:
                out.append(segs[:, i].unsqueeze(1))
        return torch.cat(out, dim=1)


def set_input(batch_size, num_segs=3, size=32):
    img = torch.rand(batch_size, 3, size, size) * 2 - 1
    segs = -torch.ones(batch_size, num_segs, size, size)
    segs[:, 0, 4:12, 4:20] = 1
    segs[:, 1, 16:28, 10:30] = 1
    return torch.cat([img, segs], dim=1)


def build():
    torch.manual_seed(0)
    return ResnetSetGenerator(3, 3)


def step(model):
    real_A = set_input(batch_size=3)
    idt = model(real_A)
    return nn.functional.l1_loss(idt, real_A)


# real fix: stack the encodings and sum over the new dimension only
# enc_segs (6, 32, 8, 8) is 2 instances x 3 samples; its sum (1, 32, 8, 8) meets enc_img (3, 32, 8, 8)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['function:sum', 'function:cat'], dim=0, got=1, wanted=3,
             hint_any=['sum', 'batch', 'stack', 'dim=0', 'keepdim'])
MENDED = [('enc_segs = torch.cat(enc_segs)', 'enc_segs = torch.stack(enc_segs)'),
          ('torch.sum(enc_segs, dim=0, keepdim=True)', 'torch.sum(enc_segs, dim=0)')]
