import torch
import torch.nn as nn

SOURCE = 'https://github.com/mdswyz/DMD/issues/6'
CATEGORY = 'loss'
DESCRIPTION = 'Multimodal sentiment: shared and private features of each modality are (time, batch, 50) when they are pushed apart by CosineEmbeddingLoss, which takes (N, D).'


class DMD(nn.Module):
    def __init__(self, dims=(30, 20, 5), d=50):
        super().__init__()
        self.proj_l = nn.Conv1d(dims[0], d, 5, padding=2, bias=False)
        self.proj_v = nn.Conv1d(dims[1], d, 3, padding=1, bias=False)
        self.proj_a = nn.Conv1d(dims[2], d, 3, padding=1, bias=False)
        self.encoder_s_l = nn.Conv1d(d, d, 1, bias=False)
        self.encoder_s_v = nn.Conv1d(d, d, 1, bias=False)
        self.encoder_s_a = nn.Conv1d(d, d, 1, bias=False)
        self.encoder_c = nn.Conv1d(d, d, 1, bias=False)
        self.out_layer = nn.Linear(6 * d, 1)

    def forward(self, text, video, audio):
        x_l = self.proj_l(text.transpose(1, 2))
        x_v = self.proj_v(video.transpose(1, 2))
        x_a = self.proj_a(audio.transpose(1, 2))
        out = {'s_l': self.encoder_s_l(x_l), 's_v': self.encoder_s_v(x_v), 's_a': self.encoder_s_a(x_a),
               'c_l': self.encoder_c(x_l), 'c_v': self.encoder_c(x_v), 'c_a': self.encoder_c(x_a)}
        out = {k: v.permute(2, 0, 1) for k, v in out.items()}
        fused = torch.cat([v.mean(dim=0) for v in out.values()], dim=1)
        out['logit'] = self.out_layer(fused)
        return out


class Trainer:
    def __init__(self):
        self.criterion = nn.L1Loss()
        self.cosine = nn.CosineEmbeddingLoss()

    def loss(self, output, labels):
        task = self.criterion(output['logit'], labels)
        ort = 0
        for m in ('l', 'v', 'a'):
            ort = ort + self.cosine(output['s_' + m], output['c_' + m], torch.tensor([-1]))
        return task + 0.1 * ort


def build():
    return DMD()


def step(model):
    bs = 16
    text, video, audio = torch.randn(bs, 16, 30), torch.randn(bs, 16, 20), torch.randn(bs, 16, 5)
    labels = torch.randn(bs, 1)
    return Trainer().loss(model(text, video, audio), labels)


# real fix (thread): reshape both to (-1, 50), or to (B, N * D), in front of the loss
TRUTH = dict(raises='RuntimeError', at='loss:cosine_embedding_loss', culprits=['function:permute', 'function:cosine_embedding_loss'],
             dim=None, got=None, wanted=None, hint_any=['2-d', '2d', '3-d', 'reshape', 'flatten', '2 dim', '3 dim'])
MENDED = [("self.cosine(output['s_' + m], output['c_' + m],", "self.cosine(output['s_' + m].reshape(-1, 50), output['c_' + m].reshape(-1, 50),")]
