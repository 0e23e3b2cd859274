from collections import OrderedDict

import torch
import torch.nn as nn

SOURCE = 'https://github.com/AnselCmy/MetaR/issues/13 (answered in https://github.com/ngl567/GANA-FewShotKGC/issues/19)'
CATEGORY = 'loss'
DESCRIPTION = 'Few-shot link prediction: the ranking target is a single one in a vector, the scores are (tasks, few); newer versions ask for the same number of dimensions.'

PARAMETER = dict(few=1, num_neg=1, num_query=3, embed_dim=50, margin=1.0, beta=5.0, batch_size=32, ablation=False)


class TaskSampler:
    def __init__(self, num_entities, parameter):
        self.num_entities = num_entities
        self.bs, self.few, self.nq = parameter['batch_size'], parameter['few'], parameter['num_query']
        self.nn = parameter['num_neg']

    def pairs(self, n):
        return torch.randint(0, self.num_entities, (self.bs, n, 2))

    def next_batch(self):
        return self.pairs(self.few), self.pairs(self.few * self.nn), self.pairs(self.nq), self.pairs(self.nq * self.nn)


class RelationMetaLearner(nn.Module):
    def __init__(self, few, embed_size=50, num_hidden1=250, num_hidden2=100, out_size=50, dropout_p=0.0):
        super().__init__()
        self.out_size = out_size
        self.rel_fc1 = nn.Sequential(OrderedDict([('fc', nn.Linear(2 * embed_size, num_hidden1)), ('bn', nn.BatchNorm1d(few)),
                                                  ('relu', nn.LeakyReLU()), ('drop', nn.Dropout(p=dropout_p))]))
        self.rel_fc2 = nn.Sequential(OrderedDict([('fc', nn.Linear(num_hidden1, num_hidden2)), ('bn', nn.BatchNorm1d(few)),
                                                  ('relu', nn.LeakyReLU()), ('drop', nn.Dropout(p=dropout_p))]))
        self.rel_fc3 = nn.Sequential(OrderedDict([('fc', nn.Linear(num_hidden2, out_size)), ('bn', nn.BatchNorm1d(few))]))

    def forward(self, inputs):
        size = inputs.shape
        x = inputs.contiguous().view(size[0], size[1], -1)
        x = self.rel_fc3(self.rel_fc2(self.rel_fc1(x)))
        x = torch.mean(x, 1)
        return x.view(size[0], 1, 1, self.out_size)


class EmbeddingLearner(nn.Module):
    def forward(self, h, t, r, pos_num):
        score = -torch.norm(h + r - t, 2, -1).squeeze(2)
        return score[:, :pos_num], score[:, pos_num:]


class MetaR(nn.Module):
    def __init__(self, num_entities, parameter):
        super().__init__()
        self.beta = parameter['beta']
        self.abla = parameter['ablation']
        self.embedding = nn.Embedding(num_entities, parameter['embed_dim'])
        self.relation_learner = RelationMetaLearner(parameter['few'], parameter['embed_dim'])
        self.embedding_learner = EmbeddingLearner()
        self.loss_func = nn.MarginRankingLoss(parameter['margin'])

    def split_concat(self, positive, negative):
        pos_neg_e1 = torch.cat([positive[:, :, 0, :], negative[:, :, 0, :]], 1).unsqueeze(2)
        pos_neg_e2 = torch.cat([positive[:, :, 1, :], negative[:, :, 1, :]], 1).unsqueeze(2)
        return pos_neg_e1, pos_neg_e2

    def rank(self, p_score, n_score):
        y = torch.Tensor([1]).to(p_score.device)
        return self.loss_func(p_score, n_score, y)

    def forward(self, task):
        support, support_negative, query, negative = [self.embedding(t) for t in task]
        few, num_sn = support.shape[1], support_negative.shape[1]
        num_q, num_n = query.shape[1], negative.shape[1]
        rel = self.relation_learner(support)
        rel.retain_grad()
        rel_s = rel.expand(-1, few + num_sn, -1, -1)
        if not self.abla:
            sup_neg_e1, sup_neg_e2 = self.split_concat(support, support_negative)
            p_score, n_score = self.embedding_learner(sup_neg_e1, sup_neg_e2, rel_s, few)
            self.zero_grad()
            loss = self.rank(p_score, n_score)
            loss.backward(retain_graph=True)
            rel_q = rel - self.beta * rel.grad
        else:
            rel_q = rel
        rel_q = rel_q.expand(-1, num_q + num_n, -1, -1)
        que_neg_e1, que_neg_e2 = self.split_concat(query, negative)
        return self.embedding_learner(que_neg_e1, que_neg_e2, rel_q, num_q)


def build():
    torch.manual_seed(0)
    return MetaR(200, PARAMETER)


def step(model):
    torch.manual_seed(2)
    sampler = TaskSampler(200, PARAMETER)
    p_score, n_score = model(sampler.next_batch())
    loss = model.rank(p_score, n_score)
    loss.backward()
    return loss.detach()


# answer: y = y.expand_as(p_score)
TRUTH = dict(raises='RuntimeError', at='loss:margin_ranking_loss', culprits=['target'], dim=None, got=None, wanted=None,
             hint_any=['expand_as', 'ones_like', 'target', 'expand', 'dimension'])
MENDED = [('y = torch.Tensor([1]).to(p_score.device)', 'y = torch.Tensor([1]).to(p_score.device).expand_as(p_score)')]
