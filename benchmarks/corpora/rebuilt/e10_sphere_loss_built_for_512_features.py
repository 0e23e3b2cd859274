import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/layumi/Person_reID_baseline_pytorch/issues/409'
CATEGORY = 'layer'
DESCRIPTION = 'Person re-identification: --linear_num is raised to 1024, the SphereFace criterion is built with the fixed embedding_size=512.'


def weights_init_kaiming(m):
    if isinstance(m, nn.Linear):
        nn.init.kaiming_normal_(m.weight, a=0, mode='fan_out')
        nn.init.constant_(m.bias, 0.0)
    elif isinstance(m, nn.BatchNorm1d):
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.constant_(m.bias, 0.0)


class ClassBlock(nn.Module):
    def __init__(self, input_dim, class_num, droprate, linear=512, return_f=False):
        super().__init__()
        self.return_f = return_f
        add_block = []
        if linear > 0:
            add_block += [nn.Linear(input_dim, linear)]
        else:
            linear = input_dim
        add_block += [nn.BatchNorm1d(linear)]
        if droprate > 0:
            add_block += [nn.Dropout(p=droprate)]
        self.add_block = nn.Sequential(*add_block)
        self.add_block.apply(weights_init_kaiming)
        self.classifier = nn.Sequential(nn.Linear(linear, class_num))

    def forward(self, x):
        x = self.add_block(x)
        if self.return_f:
            f = x
            return [self.classifier(x), f]
        return self.classifier(x)


class SphereFaceLoss(nn.Module):
    def __init__(self, num_classes, embedding_size, margin=4, scale=1.0):
        super().__init__()
        self.W = nn.Parameter(torch.empty(embedding_size, num_classes))
        nn.init.normal_(self.W, std=0.05)
        self.margin, self.scale = margin, scale

    def get_cosine(self, embeddings):
        return torch.matmul(F.normalize(embeddings, dim=1), F.normalize(self.W, dim=0))

    def forward(self, embeddings, labels):
        cosine = self.get_cosine(embeddings)
        onehot = F.one_hot(labels, cosine.size(1)).bool()
        angles = torch.acos(cosine.clamp(-1 + 1e-7, 1 - 1e-7))
        k = (self.margin * angles / torch.pi).floor().detach()
        phi = ((-1) ** k) * torch.cos(self.margin * angles) - 2 * k
        logits = torch.where(onehot, phi, cosine)
        norms = embeddings.norm(dim=1, keepdim=True).clamp(max=30)
        return F.cross_entropy(self.scale * logits * norms, labels)


class FtNetSwin(nn.Module):
    def __init__(self, class_num, droprate=0.5, circle=False, linear_num=512):
        super().__init__()
        self.circle = circle
        self.patch = nn.Conv2d(3, 48, 8, 8)
        layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(48)
        self.avgpool = nn.AdaptiveAvgPool1d(1)
        self.classifier = ClassBlock(48, class_num, droprate, linear=linear_num, return_f=circle)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = self.norm(self.model(x))
        x = self.avgpool(x.permute((0, 2, 1)))
        return self.classifier(x.view(x.size(0), x.size(1)))


class Trainer(nn.Module):
    def __init__(self, opt):
        super().__init__()
        self.opt = opt
        return_feature = opt.circle or opt.sphere
        self.net = FtNetSwin(opt.nclasses, opt.droprate, circle=return_feature, linear_num=opt.linear_num)
        if opt.sphere:
            self.criterion_sphere = SphereFaceLoss(num_classes=opt.nclasses, embedding_size=512, margin=4)

    def training_step(self, inputs, labels):
        outputs = self.net(inputs)
        logits, ff = outputs
        ff = ff / ff.norm(p=2, dim=1, keepdim=True).expand_as(ff)
        loss = F.cross_entropy(logits, labels)
        if self.opt.sphere:
            loss = loss + self.criterion_sphere(ff, labels) / labels.shape[0]
        return loss


def build():
    opt = argparse.Namespace(nclasses=171, droprate=0.5, circle=False, sphere=True, linear_num=1024)
    return Trainer(opt)


def step(model):
    return model.training_step(torch.randn(16, 3, 32, 16), torch.randint(0, 171, (16,)))


# real fix: embedding_size=opt.linear_num
# offending tensor: W (512, 171) against ff (16, 1024)
TRUTH = dict(raises='RuntimeError', at='function:matmul', culprits=['criterion_sphere', 'net.classifier.add_block.0'], dim=1, got=1024,
             wanted=512, hint_any=['embedding_size', '512', 'criterion_sphere'])
MENDED = [('embedding_size=512, margin=4)', 'embedding_size=opt.linear_num, margin=4)')]
