import torch
import torch.nn as nn

SOURCE = 'https://github.com/singhsourabh/Resume-NER/issues/6'
CATEGORY = 'loss'
DESCRIPTION = 'The predict function of a token classifier makes dummy labels as many as there are sentences, not as there are tokens.'

MAX_LEN = 64
TAGS = ['UNKNOWN', 'O', 'Name', 'Degree', 'Skills', 'College Name', 'Email Address', 'Designation', 'Companies worked at']
VOCAB = {w: i for i, w in enumerate('[PAD] [CLS] [SEP] [UNK] john worked at oracle as java developer and studied computer science in pune'.split())}


class BertEmbeddings(nn.Module):
    def __init__(self, vocab, hidden, positions):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab, hidden, padding_idx=0)
        self.position_embeddings = nn.Embedding(positions, hidden)
        self.LayerNorm = nn.LayerNorm(hidden)

    def forward(self, ids):
        return self.LayerNorm(self.word_embeddings(ids) + self.position_embeddings(torch.arange(ids.size(1))))


class BertLayer(nn.Module):
    def __init__(self, hidden, heads, intermediate):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.dense = (nn.Linear(hidden, hidden) for _ in range(4))
        self.intermediate, self.output = nn.Linear(hidden, intermediate), nn.Linear(intermediate, hidden)
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)

    def split(self, x):
        return x.view(x.size(0), x.size(1), self.heads, -1).permute(0, 2, 1, 3)

    def forward(self, x, extended_attention_mask):
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        probs = (q @ k.transpose(-1, -2) / q.size(-1) ** 0.5 + extended_attention_mask).softmax(-1)
        x = self.norm1(x + self.dense((probs @ v).permute(0, 2, 1, 3).flatten(2)))
        return self.norm2(x + self.output(nn.functional.gelu(self.intermediate(x))))


class BertForTokenClassification(nn.Module):
    def __init__(self, num_labels, hidden=32, layers=2):
        super().__init__()
        self.num_labels = num_labels
        self.embeddings = BertEmbeddings(len(VOCAB), hidden, MAX_LEN)
        self.layers = nn.ModuleList(BertLayer(hidden, 4, 64) for _ in range(layers))
        self.classifier = nn.Linear(hidden, num_labels)

    def forward(self, input_ids, attention_mask, labels=None):
        x = self.embeddings(input_ids)
        extended_attention_mask = (1.0 - attention_mask[:, None, None, :].float()) * -10000.0
        for layer in self.layers:
            x = layer(x, extended_attention_mask)
        logits = self.classifier(x)
        if labels is None:
            return (logits,)
        loss = nn.CrossEntropyLoss()(logits.view(-1, self.num_labels), labels.view(-1))
        return loss, logits


def tokenize_resume(text, max_len):
    ids = [VOCAB['[CLS]']] + [VOCAB.get(w, VOCAB['[UNK]']) for w in text.lower().split()][:max_len - 2] + [VOCAB['[SEP]']]
    mask = [1] * len(ids)
    pad = [0] * (max_len - len(ids))
    return {'input_ids': torch.tensor([ids + pad]), 'attention_mask': torch.tensor([mask + pad])}


def predict(model, idx2tag, text, max_len):
    model.eval()
    data = tokenize_resume(text, max_len)
    input_ids, input_mask = data['input_ids'], data['attention_mask']
    labels = torch.tensor([1] * input_ids.size(0), dtype=torch.long).unsqueeze(0)
    outputs = model(input_ids, attention_mask=input_mask, labels=labels)
    tmp_eval_loss, logits = outputs[:2]
    entities = [idx2tag[i] for i in logits.argmax(2)[0].tolist()]
    return entities, tmp_eval_loss


def build():
    return BertForTokenClassification(len(TAGS))


def step(model):
    _, loss = predict(model, dict(enumerate(TAGS)), 'John worked at Oracle as Java developer and studied computer science in Pune', MAX_LEN)
    return loss


# real fix: torch.tensor([1] * max_len)
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target', 'function:tensor'], dim=0, got=1, wanted=64,
             hint_any=['64', 'token', 'batch'])
MENDED = [('[1] * input_ids.size(0)', '[1] * max_len')]
