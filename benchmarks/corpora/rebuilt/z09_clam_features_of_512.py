import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/mahmoodlab/CLAM/issues/111'
CATEGORY = 'layer'
DESCRIPTION = 'CLAM_SB on slide features of another extractor (a ResNet18: 512 wide), the size_dict begins with the 1024 of the own ResNet50.'


class Attn_Net_Gated(nn.Module):
    def __init__(self, L=1024, D=256, dropout=False, n_classes=1):
        super(Attn_Net_Gated, self).__init__()
        self.attention_a = [nn.Linear(L, D), nn.Tanh()]
        self.attention_b = [nn.Linear(L, D), nn.Sigmoid()]
        if dropout:
            self.attention_a.append(nn.Dropout(0.25))
            self.attention_b.append(nn.Dropout(0.25))
        self.attention_a = nn.Sequential(*self.attention_a)
        self.attention_b = nn.Sequential(*self.attention_b)
        self.attention_c = nn.Linear(D, n_classes)

    def forward(self, x):
        a = self.attention_a(x)
        b = self.attention_b(x)
        A = a.mul(b)
        A = self.attention_c(A)  # N x n_classes
        return A, x


class CLAM_SB(nn.Module):
    def __init__(self, gate=True, size_arg="small", dropout=False, k_sample=8, n_classes=2, instance_loss_fn=nn.CrossEntropyLoss()):
        super(CLAM_SB, self).__init__()
        self.size_dict = {"small": [1024, 512, 256], "big": [1024, 512, 384]}
        size = self.size_dict[size_arg]
        fc = [nn.Linear(size[0], size[1]), nn.ReLU()]
        if dropout:
            fc.append(nn.Dropout(0.25))
        attention_net = Attn_Net_Gated(L=size[1], D=size[2], dropout=dropout, n_classes=1)
        fc.append(attention_net)
        self.attention_net = nn.Sequential(*fc)
        self.classifiers = nn.Linear(size[1], n_classes)
        self.instance_classifiers = nn.ModuleList([nn.Linear(size[1], 2) for i in range(n_classes)])
        self.k_sample = k_sample
        self.instance_loss_fn = instance_loss_fn
        self.n_classes = n_classes

    def inst_eval(self, A, h, classifier):
        if len(A.shape) == 1:
            A = A.view(1, -1)
        top_p_ids = torch.topk(A, self.k_sample)[1][-1]
        top_p = torch.index_select(h, dim=0, index=top_p_ids)
        top_n_ids = torch.topk(-A, self.k_sample, dim=1)[1][-1]
        top_n = torch.index_select(h, dim=0, index=top_n_ids)
        all_targets = torch.cat([torch.full((self.k_sample,), 1), torch.full((self.k_sample,), 0)])
        logits = classifier(torch.cat([top_p, top_n], dim=0))
        return self.instance_loss_fn(logits, all_targets)

    def forward(self, h, label=None, instance_eval=False):
        A, h = self.attention_net(h)  # NxK
        A = torch.transpose(A, 1, 0)  # KxN
        A = F.softmax(A, dim=1)
        total_inst_loss = 0.0
        if instance_eval:
            inst_labels = F.one_hot(label, num_classes=self.n_classes).squeeze()
            for i in range(len(self.instance_classifiers)):
                if inst_labels[i].item() == 1:
                    total_inst_loss += self.inst_eval(A, h, self.instance_classifiers[i])
        M = torch.mm(A, h)
        return self.classifiers(M), total_inst_loss


class FeatureStore:
    """one .pt file a slide: patches x features, from the self-supervised histopathology ResNet18"""

    def __init__(self, slides):
        self.slides = slides

    def load(self, i):
        g = torch.Generator().manual_seed(i)
        return torch.randn(self.slides[i], 512, generator=g).relu(), torch.tensor([i % 2])


def train_loop_clam(model, store, bag_weight=0.7):
    loss_fn = nn.CrossEntropyLoss()
    train_loss = 0.
    for i in range(len(store.slides)):
        data, label = store.load(i)
        logits, instance_loss = model(data, label=label, instance_eval=True)
        loss = loss_fn(logits, label)
        train_loss += bag_weight * loss + (1 - bag_weight) * instance_loss
    return train_loss / len(store.slides)


def build():
    torch.manual_seed(0)
    return CLAM_SB(dropout=True)


def step(model):
    return train_loop_clam(model, FeatureStore([203, 64, 90]))


# real fix: size_dict {"small": [512, 512, 256]}: the features are 512 wide
# offending tensor: h (203, 512)
TRUTH = dict(raises='RuntimeError', at='module:attention_net.0', culprits=['attention_net.0', 'input'], dim=1, got=512, wanted=1024,
             hint_any=['in_features', '512', 'size_dict', 'feature'])
MENDED = [('{"small": [1024, 512, 256]', '{"small": [512, 512, 256]')]
