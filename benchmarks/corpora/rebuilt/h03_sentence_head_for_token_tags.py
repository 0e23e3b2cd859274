import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/huggingface/transformers/issues/9906'
CATEGORY = 'loss'
DESCRIPTION = 'WNUT NER tutorial: the trainer cell of the IMDb part is copied, which makes ...ForSequenceClassification; its head gives one score row a sentence, the tags are one a token.'


class Config:
    vocab_size = 120
    dim = 32
    n_heads = 4
    n_layers = 2
    max_position_embeddings = 64

    def __init__(self, num_labels=2):
        self.num_labels = num_labels


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.dim, padding_idx=0)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.dim)
        self.LayerNorm = nn.LayerNorm(config.dim)

    def forward(self, input_ids):
        pos = torch.arange(input_ids.size(1)).unsqueeze(0)
        return self.LayerNorm(self.word_embeddings(input_ids) + self.position_embeddings(pos))


class DistilModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.layer = nn.ModuleList([
            nn.TransformerEncoderLayer(config.dim, config.n_heads, 4 * config.dim, dropout=0.0, batch_first=True)
            for _ in range(config.n_layers)])

    def forward(self, input_ids, attention_mask):
        x = self.embeddings(input_ids)
        for layer in self.layer:
            x = layer(x, src_key_padding_mask=attention_mask == 0)
        return x


class DistilForSequenceClassification(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_labels = config.num_labels
        self.distil = DistilModel(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.classifier = nn.Linear(config.dim, config.num_labels)

    def forward(self, input_ids, attention_mask, labels=None):
        hidden_state = self.distil(input_ids, attention_mask)
        pooled_output = hidden_state[:, 0]
        pooled_output = torch.relu(self.pre_classifier(pooled_output))
        logits = self.classifier(pooled_output)
        loss_fct = nn.CrossEntropyLoss()
        loss = loss_fct(logits.view(-1, self.num_labels), labels.view(-1))
        return loss, logits


class DistilForTokenClassification(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_labels = config.num_labels
        self.distil = DistilModel(config)
        self.classifier = nn.Linear(config.dim, config.num_labels)

    def forward(self, input_ids, attention_mask, labels=None):
        logits = self.classifier(self.distil(input_ids, attention_mask))
        loss_fct = nn.CrossEntropyLoss()
        loss = loss_fct(logits.view(-1, self.num_labels), labels.view(-1))
        return loss, logits


class WNUTDataset(Dataset):
    def __init__(self, n=16, length=20, tags=13):
        g = torch.Generator().manual_seed(3)
        self.encodings = torch.randint(1, 120, (n, length), generator=g)
        self.labels = torch.randint(0, tags, (n, length), generator=g)
        self.labels[:, 0] = -100
        self.labels[:, -1] = -100

    def __getitem__(self, idx):
        ids = self.encodings[idx]
        return {'input_ids': ids, 'attention_mask': torch.ones_like(ids), 'labels': self.labels[idx]}

    def __len__(self):
        return len(self.labels)


def build():
    torch.manual_seed(0)
    unique_tags = 13
    model = DistilForSequenceClassification(Config(num_labels=unique_tags))
    return model


def step(model):
    batch = next(iter(DataLoader(WNUTDataset(), batch_size=16)))
    loss, _ = model(**batch)
    return loss


TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['', 'function:getitem'], dim=0, got=16, wanted=320,
             hint_any=['token', 'pool', '[:, 0]', 'every position', '20'])
MENDED = [('model = DistilForSequenceClassification(', 'model = DistilForTokenClassification(')]
