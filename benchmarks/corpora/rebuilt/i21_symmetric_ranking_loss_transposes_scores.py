import torch
import torch.nn as nn

SOURCE = 'https://github.com/huggingface/sentence-transformers/issues/1921'
CATEGORY = 'correct'
DESCRIPTION = 'Symmetric in-batch ranking loss with extra hard negatives: scores are (B, 2B); the backward direction cuts out the (B, B) of anchors and positives and transposes it, with the same labels.'


class Transformer(nn.Module):
    def __init__(self, vocab=80, dim=24, heads=3):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, dim, padding_idx=0)
        self.encoder = nn.TransformerEncoderLayer(dim, heads, 48, dropout=0.1, batch_first=True)

    def forward(self, features):
        mask = features['attention_mask']
        x = self.encoder(self.embeddings(features['input_ids']), src_key_padding_mask=mask == 0)
        return dict(features, token_embeddings=x)


class Pooling(nn.Module):
    def forward(self, features):
        x, mask = features['token_embeddings'], features['attention_mask']
        expanded = mask.unsqueeze(-1).expand(x.size()).float()
        return dict(features, sentence_embedding=(x * expanded).sum(1) / expanded.sum(1).clamp(min=1e-9))


def cos_sim(a, b):
    return nn.functional.normalize(a, p=2, dim=1) @ nn.functional.normalize(b, p=2, dim=1).transpose(0, 1)


class MultipleNegativesSymmetricRankingLoss(nn.Module):
    def __init__(self, model, scale=20.0, similarity_fct=cos_sim):
        super().__init__()
        self.model = model
        self.scale = scale
        self.similarity_fct = similarity_fct
        self.cross_entropy_loss = nn.CrossEntropyLoss()

    def forward(self, sentence_features):
        reps = [self.model(features)['sentence_embedding'] for features in sentence_features]
        anchor, candidates = reps[0], torch.cat(reps[1:])
        scores = self.similarity_fct(anchor, candidates) * self.scale
        labels = torch.tensor(range(len(scores)), dtype=torch.long, device=scores.device)
        anchor_positive_scores = scores[:, 0:len(reps[1])]
        forward_loss = self.cross_entropy_loss(scores, labels)
        backward_loss = self.cross_entropy_loss(anchor_positive_scores.transpose(0, 1), labels)
        return (forward_loss + backward_loss) / 2


def tokenize(batch, longest):
    lengths = torch.randint(4, longest + 1, (batch,))
    lengths[0] = longest
    mask = (torch.arange(longest) < lengths[:, None]).long()
    return dict(input_ids=torch.randint(1, 80, (batch, longest)) * mask, attention_mask=mask)


def build():
    return MultipleNegativesSymmetricRankingLoss(nn.Sequential(Transformer(), Pooling()))


def step(model):
    features = [tokenize(8, 9), tokenize(8, 14), tokenize(8, 12)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    loss = model(features)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
