import torch
import torch.nn as nn
from torch.utils.data import Dataset

SOURCE = 'https://github.com/IndoNLP/indonlu/issues/28 (the loader of the question is a picture, rebuilt after its description: truncation of the passage)'
CATEGORY = 'loss'
DESCRIPTION = 'Factoid question answering as tagging of words: long passages are cut to the limit of the encoder, the labels of their words are not.'


class Tokenizer:
    cls_token_id, sep_token_id, vocab_size = 1, 2, 200

    def encode(self, word):
        ids = [3 + (sum(map(ord, word)) * 7) % 190]
        if len(word) > 7:
            ids.append(3 + (sum(map(ord, word[7:])) * 13) % 190)
        return ids


class QAFactoidDataset(Dataset):
    LABEL2INDEX = {'O': 0, 'B': 1, 'I': 2}

    def __init__(self, tokenizer, n=8, n_words=(31, 47)):
        self.tokenizer = tokenizer
        words = 'siapa presiden pertama republik indonesia yang lahir di surabaya pada tahun itu'.split()
        self.data = []
        for i in range(n):
            length = n_words[0] if i % 2 else n_words[1]
            passage = [words[(i + j * 5) % len(words)] for j in range(length)]
            seq_label = ['O'] * length
            seq_label[6:8] = ['B', 'I']
            self.data.append({'question': words[:4], 'passage': passage, 'seq_label': seq_label})

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        data = self.data[index]
        subwords, subword_to_word = [], []
        for idx, word in enumerate(data['passage']):
            ids = self.tokenizer.encode(word)
            subwords += ids
            subword_to_word += [idx] * len(ids)
        question = [i for w in data['question'] for i in self.tokenizer.encode(w)]
        return question, subwords, subword_to_word, [self.LABEL2INDEX[l] for l in data['seq_label']]


class QAFactoidDataLoader:
    def __init__(self, dataset, max_seq_len, batch_size):
        self.dataset, self.max_seq_len, self.batch_size = dataset, max_seq_len, batch_size

    def __iter__(self):
        for i in range(0, len(self.dataset), self.batch_size):
            yield self._collate_fn([self.dataset[j] for j in range(i, min(i + self.batch_size, len(self.dataset)))])

    def _collate_fn(self, batch):
        rows = []
        for question, subwords, mapping, seq_label in batch:
            room = self.max_seq_len - len(question) - 3
            subwords, mapping = subwords[:room], mapping[:room]
            ids = [1] + subwords + [2] + question + [2]
            rows.append((ids, [-1] + mapping + [-1] * (len(question) + 2), seq_label))
        max_len = max(len(ids) for ids, _, _ in rows)
        max_tgt_len = max(len(label) for _, _, label in rows)
        input_ids = torch.zeros(len(rows), max_len, dtype=torch.long)
        subword_to_word = torch.full((len(rows), max_len), -1)
        labels = torch.full((len(rows), max_tgt_len), -100)
        for r, (ids, mapping, label) in enumerate(rows):
            input_ids[r, :len(ids)] = torch.tensor(ids)
            subword_to_word[r, :len(mapping)] = torch.tensor(mapping)
            labels[r, :len(label)] = torch.tensor(label)
        return input_ids, (input_ids > 0).long(), subword_to_word, labels


class BertForWordClassification(nn.Module):
    def __init__(self, vocab_size, num_labels, hidden=32, max_positions=40):
        super().__init__()
        self.num_labels = num_labels
        self.word_embeddings = nn.Embedding(vocab_size, hidden)
        self.position_embeddings = nn.Embedding(max_positions, hidden)
        self.encoder = nn.TransformerEncoderLayer(hidden, 4, 64, dropout=0.0, batch_first=True)
        self.classifier = nn.Linear(hidden, num_labels)

    def forward(self, input_ids, attention_mask, subword_to_word_ids, labels=None):
        x = self.word_embeddings(input_ids) + self.position_embeddings.weight[:input_ids.size(1)]
        sequence_output = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        max_seq_len = int(subword_to_word_ids.max()) + 1
        word_latents = []
        for i in range(max_seq_len):
            mask = (subword_to_word_ids == i).unsqueeze(-1)
            word_latents.append((sequence_output * mask).sum(1) / mask.sum(1).clamp(min=1))
        word_batch = torch.stack(word_latents, dim=1)
        logits = self.classifier(word_batch)
        loss_fct = nn.CrossEntropyLoss()
        return loss_fct(logits.view(-1, self.num_labels), labels.view(-1)), logits


def build():
    torch.manual_seed(0)
    return BertForWordClassification(Tokenizer.vocab_size, len(QAFactoidDataset.LABEL2INDEX))


def step(model):
    loader = QAFactoidDataLoader(QAFactoidDataset(Tokenizer()), max_seq_len=40, batch_size=8)
    batch = next(iter(loader))
    loss, _ = model(*batch)
    return loss


TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target'], dim=0, got=376, wanted=192,
             hint_any=['47', 'label', 'truncat', 'length'])
MENDED = [('            subwords, mapping = subwords[:room], mapping[:room]\n',
           '            subwords, mapping = subwords[:room], mapping[:room]\n            seq_label = seq_label[:mapping[-1] + 1]\n')]
