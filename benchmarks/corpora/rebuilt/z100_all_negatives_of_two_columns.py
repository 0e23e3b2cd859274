import torch
import torch.nn as nn

SOURCE = 'https://github.com/huggingface/sentence-transformers/pull/3636 (issue 3633)'
CATEGORY = 'layer'
DESCRIPTION = ('Cross encoder with in-batch negatives and num_negatives=None: with a hard negative for each query the mask is (4, 8), the '
               'table of candidate numbers is built as (8, 4).')


class CrossEncoder(nn.Module):
    def __init__(self, vocab=120, dim=16, heads=4, max_len=24):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim, padding_idx=0)
        self.pos = nn.Embedding(max_len, dim)
        self.segment = nn.Embedding(2, dim)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(dim, heads, 32, batch_first=True), 2)
        self.classifier = nn.Linear(dim, 1)

    def tokenize(self, pairs):
        rows = [([101] + a + [102] + b + [102], [0] * (len(a) + 2) + [1] * (len(b) + 1)) for a, b in pairs]
        width = max(len(ids) for ids, _ in rows)
        pad = lambda x: x + [0] * (width - len(x))
        return torch.tensor([pad(ids) for ids, _ in rows]), torch.tensor([pad(seg) for _, seg in rows])

    def forward(self, pairs):
        ids, seg = self.tokenize(pairs)
        x = self.embed(ids) + self.pos(torch.arange(ids.size(1))) + self.segment(seg)
        x = self.encoder(x, src_key_padding_mask=ids == 0)
        return self.classifier(x[:, 0])


class MultipleNegativesRankingLoss(nn.Module):
    def __init__(self, model, num_negatives=4, scale=10.0, activation_fn=nn.Sigmoid()):
        super().__init__()
        self.model = model
        self.num_negatives, self.scale, self.activation_fn = num_negatives, scale, activation_fn
        self.cross_entropy_loss = nn.CrossEntropyLoss()

    def call_model_with_columns(self, anchors, candidates):
        return self.model(list(zip(anchors, candidates))).squeeze(1)

    def get_in_batch_negatives(self, anchors, candidates):
        batch_size, num_columns = len(anchors), len(candidates)
        candidates_flattened = [candidate for sublist in candidates for candidate in sublist]
        mask = ~torch.eye(batch_size, dtype=torch.bool).repeat(1, num_columns)
        if self.num_negatives is not None and self.num_negatives < len(candidates_flattened):
            negative_indices = torch.multinomial(mask.float(), self.num_negatives)
        else:
            all_indices = torch.arange(batch_size).repeat(batch_size * num_columns, 1)
            negative_indices = all_indices[mask].reshape(batch_size, -1)
        for row in negative_indices.T:
            yield [candidates_flattened[i] for i in row]

    def calculate_loss(self, logits, batch_size):
        logits = torch.cat(logits, dim=0).reshape(-1, batch_size).T
        logits = self.activation_fn(logits) * self.scale
        labels = torch.zeros(batch_size, dtype=torch.long)
        return self.cross_entropy_loss(logits, labels)

    def forward(self, inputs):
        anchors, positives = inputs[0], inputs[1]
        scores = [self.call_model_with_columns(anchors, positives)]
        for negatives in self.get_in_batch_negatives(anchors, inputs[1:]):
            scores.append(self.call_model_with_columns(anchors, negatives))
        for negatives in inputs[2:]:
            scores.append(self.call_model_with_columns(anchors, negatives))
        return self.calculate_loss(scores, len(anchors))


def build():
    return MultipleNegativesRankingLoss(CrossEncoder(), num_negatives=None)


def step(model):
    def texts(n):
        return [torch.randint(1, 100, (torch.randint(3, 9, (1,)).item(),)).tolist() for _ in range(n)]
    batch = {'query': texts(4), 'positive': texts(4), 'negative': texts(4)}
    return model(list(batch.values()))


# torch.arange(batch_size * num_columns).repeat(batch_size, 1)
TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['function:repeat', 'function:arange'], dim=0, got=8, wanted=4,
             hint_any=['repeat', 'arange', 'mask'])
MENDED = [('torch.arange(batch_size).repeat(batch_size * num_columns, 1)', 'torch.arange(batch_size * num_columns).repeat(batch_size, 1)')]
