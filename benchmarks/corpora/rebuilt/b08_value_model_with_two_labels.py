import torch
import torch.nn as nn
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

SOURCE = 'https://github.com/huggingface/trl/issues/3269'
CATEGORY = 'layer'
DESCRIPTION = 'PPO for language models: the value model is a sequence classifier left at num_labels=2, values[..].squeeze(-1) does nothing and the padding mask meets (B,T,2).'

PAD = 0


class Args:
    response_length = 53
    temperature, kl_coef, gamma, lam, cliprange, cliprange_value, vf_coef = 0.7, 0.05, 1.0, 0.95, 0.2, 0.2, 0.1


def tiny(**kwargs):
    return GPT2Config(vocab_size=90, n_positions=80, n_embd=32, n_layer=1, n_head=2, pad_token_id=PAD, bos_token_id=1, eos_token_id=2, **kwargs)


class PolicyAndValueWrapper(nn.Module):
    def __init__(self, policy, value_model):
        super().__init__()
        self.policy = policy
        self.value_model = value_model
        self.critic_backbone = getattr(value_model, value_model.base_model_prefix)

    def forward(self, **kwargs):
        output = self.critic_backbone(**kwargs)
        logits = self.value_model.score(output.last_hidden_state)
        return self.policy(**kwargs), logits


def forward(model, query_responses):
    attention_mask = query_responses != PAD
    position_ids = attention_mask.cumsum(1) - attention_mask.long()
    input_ids = torch.masked_fill(query_responses, ~attention_mask, 0)
    return model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids)


def selective_log_softmax(logits, index):
    return logits.log_softmax(-1).gather(-1, index.unsqueeze(-1)).squeeze(-1)


def masked_mean(values, mask):
    return (values * mask).sum() / mask.sum()


class PPOTrainer:
    def __init__(self, args, model, ref_policy):
        self.args, self.model, self.ref_policy = args, model, ref_policy

    def logprobs(self, logits, responses, context_length):
        logits = logits[:, context_length - 1:-1] / (self.args.temperature + 1e-7)
        return selective_log_softmax(logits, responses)

    def training_step(self, queries, responses, scores):
        args, context_length = self.args, queries.shape[1]
        query_responses = torch.cat((queries, responses), 1)
        sequence_lengths = (responses != PAD).sum(1) - 1
        response_idxs = torch.arange(responses.shape[1]).repeat(responses.shape[0], 1)
        padding_mask = response_idxs > sequence_lengths.unsqueeze(1)
        padding_mask_p1 = response_idxs > (sequence_lengths + 1).unsqueeze(1)
        with torch.no_grad():
            ref_logprobs = self.logprobs(forward(self.ref_policy, query_responses).logits, responses, context_length)
            output, full_value = forward(self.model, query_responses)
            logprobs = self.logprobs(output.logits, responses, context_length)
            values = full_value[:, context_length - 1:-1].squeeze(-1)
            logprobs = torch.masked_fill(logprobs, padding_mask, 1.0)
            ref_logprobs = torch.masked_fill(ref_logprobs, padding_mask, 1.0)
            values = torch.masked_fill(values, padding_mask_p1, 0)
            rewards = -args.kl_coef * (logprobs - ref_logprobs)
            rewards[torch.arange(len(rewards)), sequence_lengths] += scores
            lastgaelam, advantages_reversed = 0, []
            for t in reversed(range(args.response_length)):
                nextvalues = values[:, t + 1] if t < args.response_length - 1 else 0.0
                delta = rewards[:, t] + args.gamma * nextvalues - values[:, t]
                lastgaelam = delta + args.gamma * args.lam * lastgaelam
                advantages_reversed.append(lastgaelam)
            advantages = torch.stack(advantages_reversed[::-1], axis=1)
            returns = advantages + values
        output, vpred_temp = forward(self.model, query_responses)
        new_logprobs = torch.masked_fill(self.logprobs(output.logits, responses, context_length), padding_mask, 1.0)
        vpred = torch.masked_fill(vpred_temp[:, context_length - 1:-1].squeeze(-1), padding_mask_p1, 0)
        vpredclipped = torch.clamp(vpred, values - args.cliprange_value, values + args.cliprange_value)
        vf_loss = 0.5 * masked_mean(torch.max((vpred - returns) ** 2, (vpredclipped - returns) ** 2), ~padding_mask_p1)
        ratio = torch.exp(new_logprobs - logprobs)
        pg_loss = masked_mean(torch.max(-advantages * ratio, -advantages * ratio.clamp(1 - args.cliprange, 1 + args.cliprange)), ~padding_mask)
        return pg_loss + args.vf_coef * vf_loss


def build():
    policy = GPT2LMHeadModel(tiny())
    value_model = GPT2ForSequenceClassification(tiny())
    return PolicyAndValueWrapper(policy, value_model)


def step(model):
    queries = torch.randint(3, 90, (4, 16))
    lengths = torch.tensor([53, 30, 41, 12])
    responses = torch.randint(3, 90, (4, 53)) * (torch.arange(53) < lengths[:, None])
    trainer = PPOTrainer(Args, model, GPT2LMHeadModel(tiny()).eval())
    return trainer.training_step(queries, responses, scores=torch.randn(4))


# real fix: num_labels=1 for the value model (and the reward model)
# offending tensor: values (4, 53, 2) where (4, 53) is expected: squeeze(-1) leaves a dimension of 2
TRUTH = dict(raises='RuntimeError', at='function:masked_fill', culprits=['value_model.score', 'function:squeeze'], dim=2, got=2, wanted=1,
             hint_any=['num_labels', 'score', 'squeeze', 'out_features'])
MENDED = [('GPT2ForSequenceClassification(tiny())', 'GPT2ForSequenceClassification(tiny(num_labels=1))')]
