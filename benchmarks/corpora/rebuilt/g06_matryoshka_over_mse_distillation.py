import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/sentence-transformers/pull/3535'
CATEGORY = 'loss'
DESCRIPTION = 'Embedding distillation: MatryoshkaLoss wraps MSELoss and shortens the student embeddings, the teacher embeddings given as labels keep their full width.'


class Transformer(nn.Module):
    def __init__(self, vocab=60, dim=32):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, dim, padding_idx=0)
        self.layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0., batch_first=True)

    def forward(self, features):
        mask = features['attention_mask']
        features['token_embeddings'] = self.layer(self.embeddings(features['input_ids']), src_key_padding_mask=~mask)
        return features


class Pooling(nn.Module):
    def forward(self, features):
        mask = features['attention_mask'].unsqueeze(-1).float()
        features['sentence_embedding'] = (features['token_embeddings'] * mask).sum(1) / mask.sum(1)
        return features


class SentenceTransformer(nn.Sequential):
    def get_sentence_embedding_dimension(self):
        return self[0].embeddings.embedding_dim


class MSELoss(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.loss_fct = nn.MSELoss()

    def forward(self, sentence_features, labels):
        embeddings = torch.cat([self.model(inputs)['sentence_embedding'][:, None] for inputs in sentence_features], dim=1)
        return self.loss_fct(embeddings, labels[:, None].repeat(1, len(sentence_features), 1))


class ForwardDecorator:
    def __init__(self, fn):
        self.fn = fn
        self.dim = None
        self.cache, self.idx = [], 0

    def set_dim(self, dim):
        self.dim, self.idx = dim, 0

    def shrink(self, tensor):
        return F.normalize(tensor[..., :self.dim], p=2, dim=-1)

    def __call__(self, features):
        if len(self.cache) <= self.idx:
            self.cache.append(self.fn(features)['sentence_embedding'])
        output = {'sentence_embedding': self.shrink(self.cache[self.idx])}
        self.idx += 1
        return output


class MatryoshkaLoss(nn.Module):
    def __init__(self, model, loss, matryoshka_dims, matryoshka_weights=None):
        super().__init__()
        self.model = model
        self.loss = loss
        self.matryoshka_dims = sorted(matryoshka_dims, reverse=True)
        self.matryoshka_weights = matryoshka_weights or [1] * len(matryoshka_dims)

    def forward(self, sentence_features, labels):
        original = self.loss.model.forward
        decorated = ForwardDecorator(original)
        self.loss.model.forward = decorated
        try:
            loss = 0.
            for dim, weight in zip(self.matryoshka_dims, self.matryoshka_weights):
                decorated.set_dim(dim)
                loss = loss + weight * self.loss(sentence_features, labels)
        finally:
            self.loss.model.forward = original
        return loss


def tokenize(n, length):
    lengths = torch.randint(3, length + 1, (n,))
    lengths[0] = length
    mask = torch.arange(length) < lengths[:, None]
    return dict(input_ids=torch.randint(1, 60, (n, length)) * mask, attention_mask=mask)


def build():
    student = SentenceTransformer(Transformer(), Pooling())
    return MatryoshkaLoss(student, MSELoss(student), [student.get_sentence_embedding_dimension(), 16, 8])


def step(model):
    english, other = tokenize(8, 12), tokenize(8, 10)
    teacher_embeddings = F.normalize(torch.randn(8, 32), dim=-1)
    return model([english, other], teacher_embeddings)


# real fix: MSELoss shortens the labels to the width of the embeddings (labels[:, :embeddings.shape[-1]])
# the pass with dim 32 runs, the one with dim 16 crashes
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target', 'input', 'function:getitem', 'function:repeat'], dim=2, got=32, wanted=16,
             hint_any=['target', 'label', 'slice', 'truncat', '[..., :', '16', 'getitem'])
MENDED = [('labels[:, None].repeat(1, len(sentence_features), 1)', 'labels[:, None, :embeddings.shape[-1]].repeat(1, len(sentence_features), 1)')]
