"""The sentence encoder against transformers' BERT."""

from __future__ import annotations

import torch

from emotion_omni import weights
from emotion_omni.response.sentence_encoder import SentenceEncoder


def test_the_sentence_encoder_is_bert(embedded):
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    encoder = SentenceEncoder.load(weights.fetch("minilm/model.safetensors"), weights.fetch("minilm/tokenizer.json"))
    model = BertModel(config, add_pooling_layer=False).eval()
    names = dict(model.named_parameters())
    model.load_state_dict({name: encoder._tensors[name] for name in names}, strict=False)
    ids, mask = (
        torch.tensor([[101, 2026, 3899, 2351, 102], [101, 7592, 102, 0, 0]]),
        torch.tensor([[1] * 5, [1, 1, 1, 0, 0]]),
    )
    with torch.inference_mode():
        ours, theirs = encoder.hidden_states(ids, mask.bool()), model(ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(ours[mask.bool()], theirs[mask.bool()], atol=1e-4, rtol=1e-4)


def test_alike_sentences_lie_close():
    encoder = SentenceEncoder.load(weights.fetch("minilm/model.safetensors"), weights.fetch("minilm/tokenizer.json"))
    dog, puppy, cup = encoder(["My dog died.", "I lost my puppy.", "We won the cup!"])
    assert dog @ puppy > dog @ cup
