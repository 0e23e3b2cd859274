import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/deepset-ai/haystack/issues/5734'
CATEGORY = 'loss'
DESCRIPTION = 'Dense passage retrieval (two towers, in-batch negatives): with two positives a query the label matrix gives two indices for each of the queries.'


class Processor:
    def __init__(self, vocab=120, max_len_query=10, max_len_passage=20, num_positives=2, num_hard_negatives=1):
        self.vocab, self.lq, self.lp = vocab, max_len_query, max_len_passage
        self.num_positives, self.num_hard_negatives = num_positives, num_hard_negatives

    def encode(self, length):
        n = int(torch.randint(4, length + 1, (1,)))
        return F.pad(torch.randint(1, self.vocab, (n,)), (0, length - n))

    def sample(self):
        k = self.num_positives + self.num_hard_negatives
        labels = torch.zeros(k, dtype=torch.long)
        labels[:self.num_positives] = 1
        return dict(query=self.encode(self.lq), passages=torch.stack([self.encode(self.lp) for _ in range(k)]), label_ids=labels)

    def batch(self, n):
        rows = [self.sample() for _ in range(n)]
        return {key: torch.stack([r[key] for r in rows]) for key in rows[0]}


class Tower(nn.Module):
    def __init__(self, vocab=120, dim=24):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=0)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(dim, 4, 48, batch_first=True), 1, enable_nested_tensor=False)
        self.pooler = nn.Linear(dim, dim)

    def forward(self, ids):
        mask = ids == 0
        h = self.encoder(self.emb(ids), src_key_padding_mask=mask)
        keep = (~mask).unsqueeze(-1).float()
        return self.pooler((h * keep).sum(1) / keep.sum(1))


class TextSimilarityHead(nn.Module):
    def __init__(self, similarity='dot_product', temperature=1.0):
        super().__init__()
        self.similarity, self.temperature = similarity, temperature
        self.loss_fct = nn.NLLLoss()

    def forward(self, query_vectors, passage_vectors):
        if self.similarity == 'cosine':
            query_vectors, passage_vectors = F.normalize(query_vectors, dim=-1), F.normalize(passage_vectors, dim=-1)
        scores = torch.matmul(query_vectors, passage_vectors.t()) / self.temperature
        return F.log_softmax(scores, dim=1)

    def prepare_labels(self, label_ids):
        batch, per_query = label_ids.shape
        positive_idx = torch.nonzero(label_ids.reshape(-1) == 1).squeeze(1)
        return positive_idx

    def logits_to_loss(self, logits, label_ids):
        positive_idx_per_question = self.prepare_labels(label_ids)
        return self.loss_fct(logits, positive_idx_per_question)


class BiAdaptiveModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.language_model1, self.language_model2 = Tower(), Tower()
        self.prediction_heads = nn.ModuleList([TextSimilarityHead()])

    def forward(self, query, passages, label_ids):
        q = self.language_model1(query)
        p = self.language_model2(passages.flatten(0, 1))
        losses = [head.logits_to_loss(head(q, p), label_ids) for head in self.prediction_heads]
        return sum(losses)


def build():
    return BiAdaptiveModel()


def step(model):
    return model(**Processor().batch(6))


# real fix: one positive a query (num_positives=1), which is all that this loss supports
# offending tensor: positive_idx (12,), 6 queries
TRUTH = dict(raises='ValueError', at='loss:nll_loss', culprits=['target', 'function:nonzero', 'function:squeeze', 'input', 'function:reshape'], dim=0, got=12, wanted=6,
             hint_any=['positive', 'nonzero', 'label', 'target', 'index'])
MENDED = [('num_positives=2, num_hard', 'num_positives=1, num_hard')]
