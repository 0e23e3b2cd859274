import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Rudrabha/Wav2Lip/issues/227'
CATEGORY = 'correct'
DESCRIPTION = 'SyncNet of Wav2Lip: BCELoss on a cosine similarity without a sigmoid; both embeddings come out of a ReLU, so the similarity lies between 0 and 1.'


class Conv2d(nn.Module):
    def __init__(self, cin, cout, kernel_size, stride, padding, residual=False):
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(cin, cout, kernel_size, stride, padding), nn.BatchNorm2d(cout))
        self.act = nn.ReLU()
        self.residual = residual

    def forward(self, x):
        out = self.conv_block(x)
        if self.residual:
            out = out + x
        return self.act(out)


class SyncNet_color(nn.Module):
    def __init__(self):
        super().__init__()
        self.face_encoder = nn.Sequential(
            Conv2d(15, 16, kernel_size=7, stride=1, padding=3),
            Conv2d(16, 16, kernel_size=5, stride=(1, 2), padding=1),
            Conv2d(16, 16, kernel_size=3, stride=1, padding=1, residual=True),
            Conv2d(16, 32, kernel_size=3, stride=2, padding=1),
            Conv2d(32, 32, kernel_size=3, stride=2, padding=1),
            Conv2d(32, 32, kernel_size=3, stride=3, padding=1),
            Conv2d(32, 32, kernel_size=1, stride=1, padding=0))
        self.audio_encoder = nn.Sequential(
            Conv2d(1, 16, kernel_size=3, stride=1, padding=1),
            Conv2d(16, 16, kernel_size=3, stride=1, padding=1, residual=True),
            Conv2d(16, 32, kernel_size=3, stride=(3, 1), padding=1),
            Conv2d(32, 32, kernel_size=3, stride=3, padding=1),
            Conv2d(32, 32, kernel_size=3, stride=(3, 2), padding=1),
            Conv2d(32, 32, kernel_size=3, stride=1, padding=0),
            Conv2d(32, 32, kernel_size=1, stride=1, padding=0))

    def forward(self, audio_sequences, face_sequences):
        face_embedding = self.face_encoder(face_sequences)
        audio_embedding = self.audio_encoder(audio_sequences)
        audio_embedding = audio_embedding.view(audio_embedding.size(0), -1)
        face_embedding = face_embedding.view(face_embedding.size(0), -1)
        audio_embedding = F.normalize(audio_embedding, p=2, dim=1)
        face_embedding = F.normalize(face_embedding, p=2, dim=1)
        return audio_embedding, face_embedding


logloss = nn.BCELoss()


def cosine_loss(a, v, y):
    d = nn.functional.cosine_similarity(a, v)
    loss = logloss(d.unsqueeze(1), y)
    return loss


def syncnet_batch(batch_size=6, T=5):
    frames = torch.rand(batch_size, T, 3, 24, 24)
    x = frames.reshape(batch_size, T * 3, 24, 24)[:, :, 12:]
    mel = torch.randn(batch_size, 1, 80, 16)
    y = torch.tensor([1., 0., 1., 0., 1., 0.]).unsqueeze(1)
    return x, mel, y


def build():
    return SyncNet_color()


def step(model):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    for _ in range(2):
        x, mel, y = syncnet_batch()
        model.train()
        optimizer.zero_grad()
        a, v = model(mel, x)
        loss = cosine_loss(a, v, y)
        loss.backward()
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
