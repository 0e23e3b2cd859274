import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/fartashf/vsepp/issues/4'
CATEGORY = 'silent'
DESCRIPTION = 'Visual-semantic embedding with hardest negatives; every few iterations the epoch loop looks at the recall of a validation set.'


class EncoderImage(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3))
        self.fc = nn.Linear(16, dim)

    def forward(self, x):
        return F.normalize(self.fc(self.cnn(x)), dim=1)


class EncoderText(nn.Module):
    def __init__(self, dim=24, vocab=80):
        super().__init__()
        self.embed, self.drop = nn.Embedding(vocab, 20), nn.Dropout(0.2)
        self.rnn = nn.GRU(20, dim, batch_first=True)

    def forward(self, ids):
        return F.normalize(self.rnn(self.drop(self.embed(ids)))[1][-1], dim=1)


class VSE(nn.Module):
    def __init__(self, margin=0.2):
        super().__init__()
        self.img_enc, self.txt_enc, self.margin = EncoderImage(), EncoderText(), margin

    def train_start(self):
        self.img_enc.train()
        self.txt_enc.train()

    def val_start(self):
        self.img_enc.eval()
        self.txt_enc.eval()

    def forward(self, img, cap):
        scores = self.img_enc(img) @ self.txt_enc(cap).t()
        diag = scores.diagonal().view(-1, 1)
        eye = torch.eye(len(scores), dtype=torch.bool)
        cost_s = (self.margin + scores - diag).clamp(min=0).masked_fill(eye, 0)
        cost_im = (self.margin + scores - diag.t()).clamp(min=0).masked_fill(eye, 0)
        return cost_s.amax(1).sum() + cost_im.amax(0).sum()


def validate(model, img, cap):
    model.val_start()
    with torch.no_grad():
        rank = (model.img_enc(img) @ model.txt_enc(cap).t()).argsort(1, descending=True)
    return (rank[:, 0] == torch.arange(len(img))).float().mean().item()


def build():
    return VSE()


def step(model):
    opt, val_step, recalls = torch.optim.Adam(model.parameters(), lr=2e-4), 2, []
    model.train_start()
    for i in range(4):
        img, cap = torch.rand(10, 3, 16, 16), torch.randint(0, 80, (10, 9))
        loss = model(img, cap)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if i % val_step == 1:
            recalls.append(validate(model, torch.rand(10, 3, 16, 16), torch.randint(0, 80, (10, 9))))
    return (loss).detach()


# after the first validation nobody calls train_start(): the rest of the epoch trains in evaluation mode
TRUTH = dict(raises=None, at='module:img_enc', culprits=['img_enc', 'txt_enc', 'img_enc.cnn', 'img_enc.cnn.1', 'img_enc.cnn.5', 'txt_enc.drop', ''], dim=None, got=None, wanted=None,
             hint_any=['eval', 'train()', 'training mode', 'dropout', 'batch norm'])
MENDED = [('        loss = model(img, cap)\n', '        model.train_start()\n        loss = model(img, cap)\n')]
