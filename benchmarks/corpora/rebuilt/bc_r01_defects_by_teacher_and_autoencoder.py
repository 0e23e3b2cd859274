import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/open-edge-platform/anomalib/issues/1352 (comment of 2023-09-22: 512x256, 56 against 120; repaired in pull request 1355)'
CATEGORY = 'layer'
DESCRIPTION = ('Industrial defects: a student and an autoencoder imitate the features of a teacher. The decoder upsamples to a map computed from one side '
               'of the image; the photographs are 512 high and 256 wide.')


class PDN_S(nn.Module):
    def __init__(self, out_channels, padding=False):
        super().__init__()
        pad = int(padding)
        self.conv1 = nn.Conv2d(3, 16, kernel_size=4, padding=3 * pad)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=4, padding=3 * pad)
        self.conv3 = nn.Conv2d(32, 32, kernel_size=3, padding=pad)
        self.conv4 = nn.Conv2d(32, out_channels, kernel_size=4)
        self.avgpool1 = nn.AvgPool2d(kernel_size=2, stride=2, padding=pad)
        self.avgpool2 = nn.AvgPool2d(kernel_size=2, stride=2, padding=pad)

    def forward(self, x):
        x = self.avgpool1(F.relu(self.conv1(x)))
        x = self.avgpool2(F.relu(self.conv2(x)))
        return self.conv4(F.relu(self.conv3(x)))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.enconv1 = nn.Conv2d(3, 8, kernel_size=4, stride=2, padding=1)
        self.enconv2 = nn.Conv2d(8, 8, kernel_size=4, stride=2, padding=1)
        self.enconv3 = nn.Conv2d(8, 16, kernel_size=4, stride=2, padding=1)
        self.enconv4 = nn.Conv2d(16, 16, kernel_size=4, stride=2, padding=1)
        self.enconv5 = nn.Conv2d(16, 16, kernel_size=4, stride=2, padding=1)
        self.enconv6 = nn.Conv2d(16, 16, kernel_size=8)

    def forward(self, x):
        for i in range(1, 6):
            x = F.relu(getattr(self, f'enconv{i}')(x))
        return self.enconv6(x)


class Decoder(nn.Module):
    def __init__(self, out_channels, padding, img_size):
        super().__init__()
        self.img_size = img_size
        self.last_upsample = int(img_size / 4) if padding else int(img_size / 4) - 8
        self.deconvs = nn.ModuleList(nn.Conv2d(16, 16, kernel_size=4, padding=2) for _ in range(6))
        self.deconv7 = nn.Conv2d(16, 16, kernel_size=3, padding=1)
        self.deconv8 = nn.Conv2d(16, out_channels, kernel_size=3, padding=1)

    def forward(self, x):
        for i, conv in enumerate(self.deconvs):
            x = F.interpolate(x, size=self.img_size // 64 * 2 ** min(i, 3), mode='bilinear')
            x = F.dropout(F.relu(conv(x)), 0.2, self.training)
        x = F.interpolate(x, size=self.last_upsample, mode='bilinear')
        return self.deconv8(F.relu(self.deconv7(x)))


class AutoEncoder(nn.Module):
    def __init__(self, out_channels, padding, img_size):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder(out_channels, padding, img_size)

    def forward(self, x):
        return self.decoder(self.encoder(x))


class EfficientAD(nn.Module):
    def __init__(self, teacher_out_channels=24, input_size=(512, 256), padding=False):
        super().__init__()
        self.teacher = PDN_S(teacher_out_channels, padding).eval().requires_grad_(False)
        self.student = PDN_S(teacher_out_channels * 2, padding)
        self.ae = AutoEncoder(teacher_out_channels, padding, input_size[0])
        self.teacher_out_channels = teacher_out_channels

    def forward(self, batch):
        teacher_output = self.teacher(batch)
        student_output = self.student(batch)
        distance_st = torch.pow(teacher_output - student_output[:, :self.teacher_out_channels], 2)
        d_hard = torch.quantile(distance_st[:, ::4, ::4].flatten(), 0.9)
        loss_hard = torch.mean(distance_st[distance_st >= d_hard])
        aug_img = batch * torch.empty(1).uniform_(0.8, 1.2)
        ae_output_aug = self.ae(aug_img)
        teacher_output_aug = self.teacher(aug_img)
        student_output_ae_aug = self.student(aug_img)[:, self.teacher_out_channels:]
        distance_ae = torch.pow(teacher_output_aug - ae_output_aug, 2)
        distance_stae = torch.pow(ae_output_aug - student_output_ae_aug, 2)
        return loss_hard, distance_ae.mean(), distance_stae.mean()


def build():
    torch.manual_seed(0)
    return EfficientAD()


def step(model):
    image = torch.rand(1, 3, 512, 256)
    return sum(model(image))


# real fix (pull request 1355): the decoder upsamples to both sides of the image, (h // 4 - 8, w // 4 - 8)
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['function:interpolate', 'ae.decoder'], dim=3, got=120, wanted=56,
             hint_any=['interpolate', '120', 'square', 'rectang', 'width', 'upsampl'])
MENDED = [('padding, input_size[0])', 'padding, input_size)'),
          ('self.last_upsample = int(img_size / 4) if padding else int(img_size / 4) - 8',
           'self.last_upsample = [s // 4 - (0 if padding else 8) for s in img_size]'),
          ('size=self.img_size // 64 * 2 ** min(i, 3)', 'size=[s // 64 * 2 ** min(i, 3) for s in self.img_size]')]
