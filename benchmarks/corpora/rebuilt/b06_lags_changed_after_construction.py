import torch
from transformers import TimeSeriesTransformerConfig, TimeSeriesTransformerForPrediction

SOURCE = 'https://github.com/huggingface/transformers/issues/29113 (comment of 2024-08-17: 4x7 and 9x192)'
CATEGORY = 'layer'
DESCRIPTION = 'A finished time-series transformer gets a shorter lags_sequence written into its config; its value embeddings were built for more lags.'

PRETRAINED = dict(prediction_length=6, context_length=12, lags_sequence=[1, 2, 3, 4, 5, 6], input_size=1,
                  num_time_features=1, num_static_real_features=0, num_static_categorical_features=0, d_model=32,
                  encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
                  encoder_ffn_dim=32, decoder_ffn_dim=32, dropout=0.1, scaling='mean', distribution_output='student_t')
NEW = dict(lags_sequence=[1, 2, 3, 4], prediction_length=2, context_length=4)


def load_backbone(**overrides):
    config = TimeSeriesTransformerConfig(**{**PRETRAINED, **overrides})
    return TimeSeriesTransformerForPrediction(config)


def adapt():
    model = load_backbone()
    for key, value in NEW.items():
        setattr(model.config, key, value)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_('layernorm_embedding' in name or 'decoder' in name or 'parameter_projection' in name)
    return model


def make_windows(series, past, future, batch_size):
    starts = torch.randint(0, len(series) - past - future, (batch_size,))
    index = starts[:, None] + torch.arange(past + future)
    values, age = series[index], torch.log10(2.0 + index.float() - starts[:, None])[..., None]
    return dict(past_values=values[:, :past], past_time_features=age[:, :past], past_observed_mask=torch.ones(batch_size, past),
                future_values=values[:, past:], future_time_features=age[:, past:])


def build():
    return adapt()


def step(model):
    t = torch.arange(400.)
    series = 10 + 3 * torch.sin(t / 7) + torch.randn(400)
    past = model.config.context_length + max(model.config.lags_sequence)
    batch = make_windows(series, past, model.config.prediction_length, batch_size=4)
    return model(**batch).loss


# real fix: build the model from a config that has these lags from the beginning, load_backbone(**NEW): the width of the inputs is fixed in __init__
# offending tensor: input of model.encoder.value_embedding (4, 4, 7): 4 lags, 1 time feature, 2 scale features; the projection wants 9
TRUTH = dict(raises='RuntimeError', at='module:model.encoder.value_embedding.value_projection',
             culprits=['model.encoder.value_embedding.value_projection', 'model.encoder.value_embedding', 'input', 'function:cat', 'function:stack', ''],
             dim=2, got=7, wanted=9, hint_any=['lags', 'feature_size', 'config', 'in_features'])
MENDED = [('    model = load_backbone()', '    model = load_backbone(**NEW)')]
