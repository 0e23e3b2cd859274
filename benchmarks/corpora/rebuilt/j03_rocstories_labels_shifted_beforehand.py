import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/pull/562 (and issue 473)'
CATEGORY = 'silent'
DESCRIPTION = 'GPT double heads on ROCStories: pre_process_datasets already moves the language model labels by one, the model moves them again in its forward.'


class Block(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.n_head = n_head
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.mlp = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd))

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.c_attn(x).view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = self.ln_1(x + self.c_proj(a.transpose(1, 2).reshape(B, T, C)))
        return self.ln_2(x + self.mlp(x))


class OpenAIGPTDoubleHeadsModel(nn.Module):
    def __init__(self, vocab_size=60, n_positions=20, n_embd=24, n_head=4, n_layer=2):
        super().__init__()
        self.tokens_embed = nn.Embedding(vocab_size, n_embd)
        self.positions_embed = nn.Embedding(n_positions, n_embd)
        self.h = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.tokens_embed.weight
        self.multiple_choice_head = nn.Linear(n_embd, 1)

    def forward(self, input_ids, mc_token_ids, lm_labels, mc_labels):
        choices, length = input_ids.shape[1:]
        ids = input_ids.view(-1, length)
        hidden = self.tokens_embed(ids) + self.positions_embed(torch.arange(length))
        for block in self.h:
            hidden = block(hidden)
        lm_logits = self.lm_head(hidden)
        chosen = hidden[torch.arange(len(ids)), mc_token_ids.view(-1)]
        mc_logits = self.multiple_choice_head(chosen).view(-1, choices)
        shift_logits = lm_logits[:, :-1].contiguous()
        shift_labels = lm_labels.view(-1, length)[:, 1:].contiguous()
        lm_loss = F.cross_entropy(shift_logits.view(-1, shift_logits.size(-1)), shift_labels.view(-1), ignore_index=-1)
        return lm_loss, F.cross_entropy(mc_logits, mc_labels)


def pre_process_datasets(stories, input_len, start_token, delimiter_token, clf_token):
    n_batch = len(stories)
    input_ids = torch.zeros(n_batch, 2, input_len, dtype=torch.long)
    mc_token_ids = torch.zeros(n_batch, 2, dtype=torch.long)
    lm_labels = torch.full((n_batch, 2, input_len), -1, dtype=torch.long)
    mc_labels = torch.zeros(n_batch, dtype=torch.long)
    for i, (story, cont1, cont2, mc_label) in enumerate(stories):
        for j, cont in enumerate((cont1, cont2)):
            sequence = torch.tensor([start_token] + story + [delimiter_token] + cont + [clf_token])
            input_ids[i, j, :len(sequence)] = sequence
            mc_token_ids[i, j] = len(sequence) - 1
            lm_labels[i, j, :len(sequence) - 1] = sequence[1:]
        mc_labels[i] = mc_label
    return input_ids, mc_token_ids, lm_labels, mc_labels


def random_story():
    words = [torch.randint(0, 57, (int(n),)).tolist() for n in torch.randint(3, 8, (3,))]
    return (*words, int(torch.randint(0, 2, ())))


def build():
    return OpenAIGPTDoubleHeadsModel()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=6.25e-4)
    batch = pre_process_datasets([random_story() for _ in range(4)], 20, 57, 58, 59)
    optimizer.zero_grad()
    lm_loss, mc_loss = model(*batch)
    loss = 0.9 * lm_loss + mc_loss
    loss.backward()
    optimizer.step()
    return loss.detach()


# fix of the pull request: the labels of the data set are the sequence itself
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['target', 'function:getitem', 'function:setitem'], dim=None, got=None, wanted=None,
             hint_any=['shift', 'ahead', 'two', 'next'])
MENDED = [('lm_labels[i, j, :len(sequence) - 1] = sequence[1:]', 'lm_labels[i, j, :len(sequence)] = sequence')]
