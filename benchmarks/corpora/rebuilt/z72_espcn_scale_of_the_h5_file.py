import argparse
import torch
from torch import nn
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/yjn870/ESPCN-pytorch/issues/7'
CATEGORY = 'loss'
DESCRIPTION = 'ESPCN is trained with --scale 2 on 91-image_x3.h5, whose patches are 17 and 51 pixels: 34 against 51.'


class ESPCN(nn.Module):
    def __init__(self, scale_factor, num_channels=1):
        super(ESPCN, self).__init__()
        self.first_part = nn.Sequential(
            nn.Conv2d(num_channels, 64, kernel_size=5, padding=5 // 2),
            nn.Tanh(),
            nn.Conv2d(64, 32, kernel_size=3, padding=3 // 2),
            nn.Tanh())
        self.last_part = nn.Sequential(
            nn.Conv2d(32, num_channels * (scale_factor ** 2), kernel_size=3, padding=3 // 2),
            nn.PixelShuffle(scale_factor))
        self._initialize_weights()

    def _initialize_weights(self):
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.normal_(m.weight.data, mean=0.0, std=0.02)
                nn.init.zeros_(m.bias.data)

    def forward(self, x):
        x = self.first_part(x)
        x = self.last_part(x)
        return x


def open_h5(path):
    ratio = int(path.split('_x')[1][0])
    g = torch.Generator().manual_seed(0)
    hr = torch.rand(34, 17 * ratio, 17 * ratio, generator=g) * 255
    lr = nn.functional.avg_pool2d(hr.unsqueeze(1), ratio).squeeze(1)
    return {'lr': lr, 'hr': hr}


class TrainDataset(Dataset):
    def __init__(self, h5_file):
        self.h5_file = open_h5(h5_file)

    def __getitem__(self, idx):
        return (self.h5_file['lr'][idx] / 255.).unsqueeze(0), (self.h5_file['hr'][idx] / 255.).unsqueeze(0)

    def __len__(self):
        return len(self.h5_file['lr'])


def parse(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument('--train-file', type=str, required=True)
    parser.add_argument('--scale', type=int, default=3)
    parser.add_argument('--batch-size', type=int, default=16)
    return parser.parse_args(argv)


args = parse(['--train-file', '91-image_x3.h5', '--scale', '2', '--batch-size', '17'])


def build():
    torch.manual_seed(123)
    return ESPCN(scale_factor=args.scale)


def step(model):
    criterion = nn.MSELoss()
    dataloader = DataLoader(dataset=TrainDataset(args.train_file), batch_size=args.batch_size, shuffle=False, drop_last=True)
    epoch_loss = 0.0
    for data in dataloader:
        inputs, labels = data
        preds = model(inputs)
        loss = criterion(preds, labels)
        epoch_loss = epoch_loss + loss
    return epoch_loss / len(dataloader)


# real fix: --scale 3, or a file that was prepared for a scale of 2
# offending tensor: preds (17, 1, 34, 34)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['last_part.1', 'last_part.0', 'last_part', 'target'], dim=2, got=34, wanted=51,
             hint_any=['scale', 'upscale', 'pixelshuffle', 'pixel_shuffle'])
MENDED = [("'--scale', '2'", "'--scale', '3'")]
