import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/awslabs/dgl-ke/issues/131'
CATEGORY = 'layer'
DESCRIPTION = 'RotatE: the entity table is made as wide as the relation table (the option that doubles it was left out), the halves of the entities meet whole rotations.'


class Args:
    model_name = 'RotatE'
    hidden_dim = 64
    gamma = 12.0
    batch_size = 32
    neg_sample_size = 16
    double_ent = False
    double_rel = False
    negative_adversarial_sampling = True
    adversarial_temperature = 1.0


class TrainDataset(Dataset):
    def __init__(self, n_entities, n_relations, neg_sample_size, n=200):
        g = torch.Generator().manual_seed(4)
        self.triples = torch.stack([torch.randint(0, n_entities, (n,), generator=g), torch.randint(0, n_relations, (n,), generator=g),
                                    torch.randint(0, n_entities, (n,), generator=g)], 1)
        self.n_entities, self.k = n_entities, neg_sample_size

    def __len__(self):
        return len(self.triples)

    def __getitem__(self, i):
        return self.triples[i], torch.randint(0, self.n_entities, (self.k,))


class TransEScore(nn.Module):
    def __init__(self, gamma):
        super().__init__()
        self.gamma = gamma

    def forward(self, head, rel, tail):
        return self.gamma - torch.norm(head + rel - tail, p=1, dim=-1)


class RotatEScore(nn.Module):
    def __init__(self, gamma, emb_init):
        super().__init__()
        self.gamma = gamma
        self.emb_init = emb_init

    def forward(self, head, rel, tail):
        re_head, im_head = torch.chunk(head, 2, dim=-1)
        re_tail, im_tail = torch.chunk(tail, 2, dim=-1)
        phase_rel = rel / (self.emb_init / torch.pi)
        re_rel, im_rel = torch.cos(phase_rel), torch.sin(phase_rel)
        re_score = re_head * re_rel - im_head * im_rel
        im_score = re_head * im_rel + im_head * re_rel
        score = torch.stack([re_score - re_tail, im_score - im_tail], dim=0)
        return self.gamma - score.norm(dim=0).sum(-1)


class ExternalEmbedding(nn.Module):
    def __init__(self, num, dim, init):
        super().__init__()
        self.emb = nn.Embedding(num, dim)
        nn.init.uniform_(self.emb.weight, -init, init)

    def forward(self, idx):
        return self.emb(idx)


class KEModel(nn.Module):
    def __init__(self, args, n_entities, n_relations):
        super().__init__()
        self.args = args
        eps = 2.0
        emb_init = (args.gamma + eps) / args.hidden_dim
        entity_dim = 2 * args.hidden_dim if args.double_ent else args.hidden_dim
        rel_dim = 2 * args.hidden_dim if args.double_rel else args.hidden_dim
        self.entity_emb = ExternalEmbedding(n_entities, entity_dim, emb_init)
        self.relation_emb = ExternalEmbedding(n_relations, rel_dim, emb_init)
        if args.model_name == 'RotatE':
            self.score_func = RotatEScore(args.gamma, emb_init)
        else:
            self.score_func = TransEScore(args.gamma)

    def forward(self, triples, neg_tails):
        head, rel, tail = self.entity_emb(triples[:, 0]), self.relation_emb(triples[:, 1]), self.entity_emb(triples[:, 2])
        pos_score = F.logsigmoid(self.score_func(head, rel, tail))
        neg = self.entity_emb(neg_tails)
        neg_score = self.score_func(head.unsqueeze(1), rel.unsqueeze(1), neg)
        if self.args.negative_adversarial_sampling:
            weight = F.softmax(neg_score * self.args.adversarial_temperature, dim=-1).detach()
            neg_loss = (weight * F.logsigmoid(-neg_score)).sum(-1)
        else:
            neg_loss = F.logsigmoid(-neg_score).mean(-1)
        return -(pos_score.mean() + neg_loss.mean()) / 2


def build():
    torch.manual_seed(0)
    return KEModel(Args(), n_entities=120, n_relations=11)


def step(model):
    loader = DataLoader(TrainDataset(120, 11, Args.neg_sample_size), batch_size=Args.batch_size)
    triples, neg_tails = next(iter(loader))
    return model(triples, neg_tails)


# maintainer: RotatE needs -de, the entities of twice the width for real and imaginary part
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['entity_emb.emb'], dim=1, got=32, wanted=64,
             hint_any=['32', '64', 'embedding_dim', 'chunk'])
MENDED = [('double_ent = False', 'double_ent = True')]
