import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/daooshee/HLA-Face-Code/issues/12'
CATEGORY = 'layer'
DESCRIPTION = 'MoCo heads of a face detector: the validation batch of ten moves the queue pointer, later 16 keys are written where six places are left.'


class ContrastiveHead(nn.Module):
    """MoCo with one queue a domain; K is a multiple of the batch size."""

    def __init__(self, num_queues=2, dim=128, K=64, m=0.999, T=0.07):
        super().__init__()
        self.K, self.m, self.T = K, m, T
        self.encoder_q, self.encoder_k = self.make_encoder(dim), self.make_encoder(dim)
        self.encoder_k.load_state_dict(self.encoder_q.state_dict())
        self.encoder_k.requires_grad_(False)
        self.register_buffer('queue', F.normalize(torch.randn(num_queues, dim, K), dim=1))
        self.register_buffer('queue_ptr', torch.zeros(num_queues, dtype=torch.long))

    @staticmethod
    def make_encoder(dim):
        return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24 * 4, 64), nn.ReLU(), nn.Linear(64, dim))

    @torch.no_grad()
    def _momentum_update_key_encoder(self):
        for q, k in zip(self.encoder_q.parameters(), self.encoder_k.parameters()):
            k.data = k.data * self.m + q.data * (1. - self.m)

    @torch.no_grad()
    def _dequeue_and_enqueue(self, keys, ind):
        batch_size = keys.shape[0]
        ptr = int(self.queue_ptr[ind])
        self.queue[ind, :, ptr:ptr + batch_size] = keys.T
        self.queue_ptr[ind] = (ptr + batch_size) % self.K

    def forward(self, feat_q, feat_k, ind):
        q = F.normalize(self.encoder_q(feat_q), dim=1)
        with torch.no_grad():
            self._momentum_update_key_encoder()
            k = F.normalize(self.encoder_k(feat_k), dim=1)
        l_pos = torch.einsum('nc,nc->n', [q, k]).unsqueeze(-1)
        l_neg = torch.einsum('nc,ck->nk', [q, self.queue[ind].clone().detach()])
        logits = torch.cat([l_pos, l_neg], dim=1) / self.T
        labels = torch.zeros(logits.shape[0], dtype=torch.long)
        self._dequeue_and_enqueue(k, ind)
        return F.cross_entropy(logits, labels)


class DarkFaceDetector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU())
        self.conf = nn.Conv2d(24, 2, 1)
        self.contrast = ContrastiveHead()

    def forward(self, normal, dark):
        f_normal, f_dark = self.backbone(normal), self.backbone(dark)
        loss_c = self.contrast(f_dark, f_normal, 0) + self.contrast(f_normal.flip(-1), f_normal, 1)
        return self.conf(f_normal), loss_c


class Trainer:
    def __init__(self, model, batch_size=16, train_images=48, val_images=10):
        self.model, self.batch_size = model, batch_size
        self.train_images, self.val_images = train_images, val_images

    def loader(self, count, drop_last):
        for start in range(0, count, self.batch_size):
            n = min(self.batch_size, count - start)
            if drop_last and n < self.batch_size:
                return
            image = torch.rand(n, 3, 24, 24)
            yield image, image * 0.2 + 0.02 * torch.randn_like(image), torch.randint(0, 2, (n, 6, 6))

    def losses(self, batch):
        normal, dark, faces = batch
        conf, loss_c = self.model(normal, dark)
        return F.cross_entropy(conf, faces) + 0.05 * loss_c

    @torch.no_grad()
    def validate(self):
        values = [self.losses(b) for b in self.loader(self.val_images, drop_last=False)]
        return torch.stack(values).mean()

    def epoch(self):
        total = 0.
        for batch in self.loader(self.train_images, drop_last=True):
            total = total + self.losses(batch)
        return total / (self.train_images // self.batch_size)


def build():
    return DarkFaceDetector()


def step(model):
    trainer = Trainer(model)
    trainer.validate()
    trainer.epoch()
    return trainer.epoch()


# real fix: places = (ptr + torch.arange(batch_size)) % K and queue[ind, :, places] = keys.T (or no enqueueing in validation)
# offending tensor: keys.T (128, 16), the slice of the queue that is left is (128, 6)
TRUTH = dict(raises='RuntimeError', at='function:setitem', culprits=['function:setitem', 'contrast', 'input'], dim=1, got=16, wanted=6,
             hint_any=['queue', 'pointer', 'ptr', 'wrap', 'modulo', 'last batch', 'state', 'slice'])
MENDED = [('self.queue[ind, :, ptr:ptr + batch_size] = keys.T', 'self.queue[ind, :, (ptr + torch.arange(batch_size)) % self.K] = keys.T')]
