import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/jsboige/CoursIA/issues/15045 (repaired in pull request 15074; the course takes the vectors of a finished model, the training of a retriever around it is ours)'
CATEGORY = 'silent'
DESCRIPTION = 'Retriever for a question answering system: questions and passages become vectors, every other passage of the batch is a negative.'

PAD = 0


class TransformerEncoder(nn.Module):
    def __init__(self, vocab=120, dim=32, heads=4, layers=2, max_len=32):
        super().__init__()
        self.word = nn.Embedding(vocab, dim)
        self.position = nn.Embedding(max_len, dim)
        self.norm = nn.LayerNorm(dim)
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers)

    def forward(self, input_ids, attention_mask):
        x = self.norm(self.word(input_ids) + self.position.weight[:input_ids.shape[1]])
        return self.layers(x, src_key_padding_mask=attention_mask == 0)


class SentenceEmbedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = TransformerEncoder()

    def forward(self, batch):
        last_hidden_state = self.encoder(batch['input_ids'], batch['attention_mask'])
        pooled = last_hidden_state.mean(dim=1)
        return F.normalize(pooled, p=2, dim=1)


def tokenize(texts):
    longest = max(len(t) for t in texts)
    ids = torch.full((len(texts), longest), PAD)
    for row, text in zip(ids, texts):
        row[:len(text)] = torch.tensor(text)
    return {'input_ids': ids, 'attention_mask': (ids != PAD).long()}


def question_passage_pairs(lengths):
    questions, passages = [], []
    for q, p in lengths:
        passage = torch.randint(1, 120, (p,)).tolist()
        passages.append(passage)
        questions.append(passage[:q])
    return tokenize(questions), tokenize(passages)


def build():
    return SentenceEmbedder()


def step(model):
    questions, passages = question_passage_pairs([(3, 9), (5, 24), (4, 12), (9, 30), (3, 7), (6, 15), (4, 28), (7, 10)])
    scores = model(questions) @ model(passages).t() * 20.0
    labels = torch.arange(len(scores))
    return (F.cross_entropy(scores, labels) + F.cross_entropy(scores.t(), labels)) / 2


# the mean runs over padding too; real fix: (last_hidden_state * mask).sum(1) / mask.sum(1)
TRUTH = dict(raises=None, at='function:mean', culprits=['function:mean'], dim=1, got=None, wanted=None,
             hint_any=['padding', 'padded', 'attention_mask', 'mask'])
MENDED = [('        pooled = last_hidden_state.mean(dim=1)\n',
           "        mask = batch['attention_mask'].unsqueeze(-1).to(last_hidden_state.dtype)\n"
           '        pooled = (last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)\n')]
