"""The speech decoder: who attends to whom, causality, its loss."""

from __future__ import annotations

import pytest
import torch
from omni_parts import CODES, DEPTHS, part, shaken, some_text, spoken_config

from emotion_omni.omni import speech_decoder
from emotion_omni.omni.config import SpeechDecoderConfig
from emotion_omni.omni.speech_decoder import SpeechDecoder


def test_a_chunk_of_speech_sees_its_share_of_the_text():
    config = SpeechDecoderConfig(text_chunk=2, speech_chunk=3)
    kinds, places = (
        torch.tensor([[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0]] * 2),
        torch.tensor([[0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]] * 2),
    )
    rows = speech_decoder.Rows(kinds, places)
    mask = speech_decoder.attention_mask(rows, rows, torch.tensor([True, False]), config)[:, 0]
    for sample, chunked in enumerate((True, False)):
        for query in range(11):
            for key in range(12):
                if query < 6 or key >= 6:
                    expected = key <= query and key != 11
                else:
                    slot, token = query - 6, key - 1  # token -1 is BOS
                    expected = not chunked or token < (slot // 3 + 1) * 2
                assert mask[sample, query, key] == expected, (sample, query, key)


@torch.no_grad()
@pytest.mark.parametrize(("adaptive_norm", "extra"), DEPTHS)
def test_new_input_never_changes_earlier_output(adaptive_norm, extra):
    config = spoken_config(adaptive_norm=adaptive_norm, mtp_layers=extra)
    decoder, text = shaken(SpeechDecoder(config)), some_text([12])
    speech, length, chunked = torch.randint(0, CODES, (1, 35)), torch.tensor([35]), torch.tensor([True])
    whole = decoder(text, speech, length, chunked)
    for count in (0, 1, 15, 20):
        other = torch.cat([speech[:, :count], (speech[:, count:] + 1) % CODES], 1)
        for before, after in zip(whole, decoder(text, other, length, chunked), strict=True):
            torch.testing.assert_close(before[:, : count + 1], after[:, : count + 1])
            assert not torch.allclose(before[:, count + 1], after[:, count + 1])
    for tensor in (text.hidden_states, text.token_embeddings, text.emotion):  # tokens 5 … 9 belong to the second chunk
        kept = tensor[:, 5:].clone()
        tensor[:, 5:] += 1
        for before, after in zip(whole, decoder(text, speech, length, chunked), strict=True):
            torch.testing.assert_close(before[:, :15], after[:, :15])
            assert not torch.allclose(before[:, 15], after[:, 15])
        tensor[:, 5:] = kept


@torch.no_grad()
@pytest.mark.parametrize("extra", [0, 2])
def test_the_loss_counts_the_speech_and_eos_of_its_own_sample_only(extra):
    config = spoken_config(mtp_layers=extra)
    decoder, text, speech, lengths = (
        shaken(SpeechDecoder(config)),
        some_text([7, 3, 5]),
        torch.randint(0, CODES, (3, 9)),
        [9, 4, 1],
    )
    chunked = torch.tensor([True, False, True])
    logits = decoder(text, speech, torch.tensor(lengths), chunked)
    losses = speech_decoder.speech_losses(logits, speech, torch.tensor(lengths), config.speech)
    for sample, length in enumerate(lengths):
        mine = slice(sample, sample + 1)
        alone = decoder(
            part(text, 0, text.lengths[sample], mine), speech[mine, :length], torch.tensor([length]), chunked[mine]
        )
        said, expected = [*speech[sample, :length].tolist(), config.speech.eos_token_id], 0.0
        for ahead, scores in enumerate(alone):
            chances = scores[0].log_softmax(-1)
            terms = [-chances[slot, said[slot + ahead]].item() for slot in range(length + 1 - ahead)]
            expected += 0.8**ahead * sum(terms) / max(1, len(terms))
        assert losses[sample].item() == pytest.approx(expected, rel=1e-4)


def test_each_sample_of_a_batch_samples_its_own_mask():
    drawn = speech_decoder.sample_chunked(4000, 0.5, torch.Generator().manual_seed(0))
    assert 0.46 < drawn.float().mean() < 0.54
    assert not speech_decoder.sample_chunked(50, 0.0).any() and speech_decoder.sample_chunked(50, 1.0).all()
