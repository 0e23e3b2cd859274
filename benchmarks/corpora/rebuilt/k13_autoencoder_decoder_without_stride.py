import torch
from torch import nn
from torch.utils.data import DataLoader

SOURCE = 'https://xue-jishu.com/?p=3338 (Stack Overflow: PyTorch convolutional autoencoder, output dimensions different from input)'
CATEGORY = 'loss'
DESCRIPTION = 'First autoencoder on 255x255 RGB: two poolings halve the picture, the transposed convolutions have kernel 3 and no stride: 67 instead of 255.'

LEARNING_RATE, BATCH_SIZE, IMAGE = 1e-3, 2, 255


class AutoEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(in_channels=3, out_channels=8, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2),
            nn.Conv2d(in_channels=8, out_channels=16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2)
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(in_channels=16, out_channels=16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(in_channels=16, out_channels=8, kernel_size=3),
            nn.ReLU(),
            nn.ConvTranspose2d(in_channels=8, out_channels=3, kernel_size=3),
            nn.Sigmoid()
        )

    def forward(self, x):
        x = self.encoder(x)
        x = self.decoder(x)
        return x


class Pictures(torch.utils.data.Dataset):
    def __init__(self, n):
        self.data = torch.randint(0, 256, (n, 3, IMAGE, IMAGE), dtype=torch.uint8)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.data[i].float() / 255


class Trainer:
    def __init__(self, model):
        self.model = model
        self.criterion = nn.MSELoss()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        self.history = []

    def run_epoch(self, loader):
        self.model.train()
        for images in loader:
            self.optimizer.zero_grad()
            noisy = (images + 0.1 * torch.randn_like(images)).clamp(0, 1)
            outputs = self.model(noisy)
            loss = self.criterion(outputs, images)
            self.history.append(loss)
        return sum(self.history) / len(self.history)


def build():
    return AutoEncoder()


def step(model):
    loader = DataLoader(Pictures(BATCH_SIZE), batch_size=BATCH_SIZE, shuffle=True)
    return Trainer(model).run_epoch(loader)


# real fix: stride=2 in both transposed convolutions ((63-1)*2+3 = 127, (127-1)*2+3 = 255)
# offending tensor: outputs (2, 3, 67, 67)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['decoder.2', 'decoder.4', 'decoder'], dim=3, got=67, wanted=255,
             hint_any=['stride', 'convtranspose', 'upsampl', 'interpolate'])
MENDED = [('out_channels=8, kernel_size=3),\n', 'out_channels=8, kernel_size=3, stride=2),\n'), ('out_channels=3, kernel_size=3),', 'out_channels=3, kernel_size=3, stride=2),')]
