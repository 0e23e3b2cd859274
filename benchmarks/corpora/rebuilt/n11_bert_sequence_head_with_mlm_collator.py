import torch
from torch.utils.data import DataLoader, Dataset
from transformers import BertConfig, BertForSequenceClassification

SOURCE = 'https://github.com/huggingface/transformers/issues/6452'
CATEGORY = 'loss'
DESCRIPTION = 'A BERT is to be trained further on plain text; the collator masks tokens, the model is the one of a classification example.'

PAD, CLS, SEP, MASK, VOCAB = 0, 1, 2, 3, 120


class LineByLineTextDataset(Dataset):
    def __init__(self, n=32, block_size=24):
        self.examples = [torch.randint(4, VOCAB, (int(torch.randint(10, block_size - 2, ())),)) for _ in range(n)]
        self.block_size = block_size

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, i):
        return torch.cat([torch.tensor([CLS]), self.examples[i], torch.tensor([SEP])])


class DataCollatorForLanguageModeling:
    def __init__(self, block_size=24, mlm=True, mlm_probability=0.15):
        self.block_size, self.mlm, self.mlm_probability = block_size, mlm, mlm_probability

    def __call__(self, examples):
        inputs = torch.full((len(examples), self.block_size), PAD)
        for i, e in enumerate(examples):
            inputs[i, :len(e)] = e
        attention_mask = (inputs != PAD).long()
        inputs, labels = self.mask_tokens(inputs)
        return {'input_ids': inputs, 'attention_mask': attention_mask, 'labels': labels}

    def mask_tokens(self, inputs):
        labels = inputs.clone()
        probability_matrix = torch.full(labels.shape, self.mlm_probability)
        probability_matrix.masked_fill_(inputs < 4, 0.0)
        masked_indices = torch.bernoulli(probability_matrix).bool()
        masked_indices[:, 1] = True
        labels[~masked_indices] = -100
        inputs = inputs.masked_fill(masked_indices, MASK)
        return inputs, labels


class Trainer:
    def __init__(self, model, train_dataset, data_collator, batch_size=8, lr=5e-4):
        self.model = model
        self.loader = DataLoader(train_dataset, batch_size=batch_size, shuffle=True, collate_fn=data_collator)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)

    def training_step(self, inputs):
        self.model.train()
        loss = self.model(**inputs).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def train(self, max_steps=1):
        for i, inputs in enumerate(self.loader):
            loss = self.training_step(inputs)
            if i + 1 == max_steps:
                return loss


def build():
    config = BertConfig(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                        max_position_embeddings=32, pad_token_id=PAD)
    return BertForSequenceClassification(config)


def step(model):
    trainer = Trainer(model, LineByLineTextDataset(), DataCollatorForLanguageModeling(mlm=True, mlm_probability=0.15))
    return trainer.train()


# real fix: BertForMaskedLM, whose head has a score for each token
# offending tensor: labels (8, 24) = 192 against logits (8, 2) of the pooled [CLS] token
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['', 'classifier', 'bert.pooler', 'target'], dim=0, got=192, wanted=8,
             hint_any=['token', 'sequence', 'pooler', 'maskedlm', '192', '24'])
MENDED = [('BertForSequenceClassification', 'BertForMaskedLM')]
