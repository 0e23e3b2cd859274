import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset
from transformers import GPT2Config, GPT2LMHeadModel

SOURCE = 'https://github.com/huggingface/transformers/issues/25460 (shifting: 4*263=1052 against 4*127=508; current releases compare 1056 and 512)'
CATEGORY = 'loss'
DESCRIPTION = 'A decoder-only model is fine-tuned to summarise with labels like those of a sequence-to-sequence model: inputs are text+sentiment+emotion (264 tokens), labels the summary (128).'

PAD = 300


class ReviewDataset(Dataset):
    """Columns as the notebook tokenizes them, every one padded to its own maximum."""

    def __init__(self, n):
        self.rows = [dict(processed_text=self.encode(256), sentiment=self.encode(4), emotion=self.encode(4), summary=self.encode(128)) for _ in range(n)]

    @staticmethod
    def encode(max_length):
        length = int(torch.randint(2, max_length + 1, ()))
        ids = torch.randint(0, PAD, (max_length,))
        ids[length:] = PAD
        return ids

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        prompt = torch.cat([row['processed_text'], row['sentiment'], row['emotion']])
        return prompt, row['summary']


def collate(batch):
    prompts = torch.stack([prompt for prompt, _ in batch])
    summaries = torch.stack([summary for _, summary in batch])
    input_ids = prompts
    labels = summaries.masked_fill(summaries == PAD, -100)
    return dict(input_ids=input_ids, attention_mask=(input_ids != PAD).long(), labels=labels)


class EmotionAwareSummarizer(nn.Module):
    def __init__(self):
        super().__init__()
        config = GPT2Config(vocab_size=PAD, n_positions=512, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
        self.lm = GPT2LMHeadModel(config)
        self.lm.resize_token_embeddings(PAD + 1)
        self.emotion_head = nn.Sequential(nn.Dropout(0.1), nn.Linear(32, 6))

    def forward(self, input_ids, attention_mask, labels):
        out = self.lm(input_ids=input_ids, attention_mask=attention_mask, labels=labels, output_hidden_states=True)
        pooled = (out.hidden_states[-1] * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
        return out.loss, self.emotion_head(pooled)


def build():
    return EmotionAwareSummarizer()


def step(model):
    loader = DataLoader(ReviewDataset(8), batch_size=4, collate_fn=collate)
    total = 0.0
    for batch in loader:
        lm_loss, emotions = model(**batch)
        total = total + lm_loss + 0.1 * nn.functional.cross_entropy(emotions, torch.randint(0, 6, (len(emotions),)))
    return total / len(loader)


# real fix: a causal model predicts its own inputs: the summary is appended to the prompt, the labels are -100 over the prompt
# offending tensor: labels (4, 128) for logits (4, 264, 301)
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target', 'input'], dim=0, got=512, wanted=1056,
             hint_any=['label', 'length', '264', '128', 'same length', 'sequence'])
MENDED = [('    input_ids = prompts\n', '    input_ids = torch.cat([prompts, summaries], dim=1)\n'),
          ('    labels = summaries.masked_fill(summaries == PAD, -100)\n',
           '    labels = torch.cat([torch.full_like(prompts, -100), summaries.masked_fill(summaries == PAD, -100)], dim=1)\n')]
