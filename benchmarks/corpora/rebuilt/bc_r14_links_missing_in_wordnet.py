import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/DeepGraphLearning/KnowledgeGraphEmbedding/issues/40 (2000 against 1000; the options of the command hold -de)'
CATEGORY = 'layer'
DESCRIPTION = ('TransE for missing links of WordNet: the command line of another score function was copied with --double_entity_embedding, so the entities are '
               'twice as wide as the relations.')


class KGEModel(nn.Module):
    def __init__(self, model_name, nentity, nrelation, hidden_dim, gamma, double_entity_embedding=False, double_relation_embedding=False):
        super().__init__()
        self.model_name = model_name
        self.epsilon = 2.0
        self.gamma = nn.Parameter(torch.Tensor([gamma]), requires_grad=False)
        self.embedding_range = (gamma + self.epsilon) / hidden_dim
        self.entity_dim = hidden_dim * 2 if double_entity_embedding else hidden_dim
        self.relation_dim = hidden_dim * 2 if double_relation_embedding else hidden_dim
        self.entity_embedding = nn.Embedding(nentity, self.entity_dim)
        self.relation_embedding = nn.Embedding(nrelation, self.relation_dim)
        for table in (self.entity_embedding, self.relation_embedding):
            nn.init.uniform_(table.weight, -self.embedding_range, self.embedding_range)

    def forward(self, sample, mode='single'):
        if mode == 'single':
            head = self.entity_embedding(sample[:, 0]).unsqueeze(1)
            relation = self.relation_embedding(sample[:, 1]).unsqueeze(1)
            tail = self.entity_embedding(sample[:, 2]).unsqueeze(1)
        elif mode == 'head-batch':
            positive, negative = sample
            head = self.entity_embedding(negative)
            relation = self.relation_embedding(positive[:, 1]).unsqueeze(1)
            tail = self.entity_embedding(positive[:, 2]).unsqueeze(1)
        else:
            positive, negative = sample
            head = self.entity_embedding(positive[:, 0]).unsqueeze(1)
            relation = self.relation_embedding(positive[:, 1]).unsqueeze(1)
            tail = self.entity_embedding(negative)
        model_func = {'TransE': self.TransE, 'DistMult': self.DistMult, 'RotatE': self.RotatE}
        return model_func[self.model_name](head, relation, tail, mode)

    def TransE(self, head, relation, tail, mode):
        if mode == 'head-batch':
            score = head + (relation - tail)
        else:
            score = (head + relation) - tail
        return self.gamma.item() - torch.norm(score, p=1, dim=2)

    def DistMult(self, head, relation, tail, mode):
        score = head * (relation * tail) if mode == 'head-batch' else (head * relation) * tail
        return score.sum(dim=2)

    def RotatE(self, head, relation, tail, mode):
        re_head, im_head = torch.chunk(head, 2, dim=2)
        re_tail, im_tail = torch.chunk(tail, 2, dim=2)
        phase = relation / (self.embedding_range / 3.14159265358979)
        re_relation, im_relation = torch.cos(phase), torch.sin(phase)
        re_score = re_head * re_relation - im_head * im_relation - re_tail
        im_score = re_head * im_relation + im_head * re_relation - im_tail
        return self.gamma.item() - torch.stack([re_score, im_score]).norm(dim=0).sum(dim=2)


def train_step(model, positive_sample, negative_sample, subsampling_weight, mode, adversarial_temperature=1.0):
    negative_score = model((positive_sample, negative_sample), mode=mode)
    weights = F.softmax(negative_score * adversarial_temperature, dim=1).detach()
    negative_score = (weights * F.logsigmoid(-negative_score)).sum(dim=1)
    positive_score = F.logsigmoid(model(positive_sample)).squeeze(dim=1)
    positive_loss = -(subsampling_weight * positive_score).sum() / subsampling_weight.sum()
    negative_loss = -(subsampling_weight * negative_score).sum() / subsampling_weight.sum()
    return (positive_loss + negative_loss) / 2


class Args:
    model = 'TransE'
    negative_sample_size = 32
    batch_size = 11
    hidden_dim = 100
    gamma = 24.0
    double_entity_embedding = True
    double_relation_embedding = False


def build(nentity=300, nrelation=11):
    torch.manual_seed(0)
    args = Args()
    return KGEModel(args.model, nentity, nrelation, args.hidden_dim, args.gamma, args.double_entity_embedding, args.double_relation_embedding)


def step(model):
    args = Args()
    loss = 0
    for mode in ('tail-batch', 'head-batch'):
        positive = torch.stack([torch.randint(300, (args.batch_size,)), torch.randint(11, (args.batch_size,)), torch.randint(300, (args.batch_size,))], dim=1)
        negative = torch.randint(300, (args.batch_size, args.negative_sample_size))
        loss = loss + train_step(model, positive, negative, torch.rand(args.batch_size) + 0.1, mode)
    return loss


# entities and relations have to be equally wide for TransE: leave out -de
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['entity_embedding', 'relation_embedding'], dim=2, got=200, wanted=100,
             hint_any=['entity_embedding', 'relation_embedding', 'double'])
MENDED = [('double_entity_embedding = True', 'double_entity_embedding = False')]
