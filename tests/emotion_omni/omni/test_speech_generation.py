"""Speech tokens, streamed and sampled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from omni_parts import CODES, DEPTHS, part, shaken, some_text, spoken_config
from torch import nn

from emotion_omni.omni import speech_decoder
from emotion_omni.omni.config import SpeechDecoderConfig, SpeechSampling
from emotion_omni.omni.speech_decoder import SpeechDecoder, TextInputs
from emotion_omni.omni.speech_generation import SpeechState, SpeechStream, sample_speech_tokens
from emotion_omni.types import EmotionOmniError


@torch.no_grad()
@pytest.mark.parametrize("adaptive_norm", ["once", "per-block"])
@pytest.mark.parametrize(("chunked", "static"), [(True, False), (True, True), (False, False)])
def test_streaming_equals_offline(adaptive_norm, chunked, static):
    """Two replies of different lengths, their text in pieces of any size: each slot's logits are those of one pass."""
    decoder = shaken(SpeechDecoder(spoken_config(adaptive_norm=adaptive_norm)))
    text, speech, lengths = some_text([17, 8]), torch.randint(0, CODES, (2, 290)), torch.tensor([290, 40])
    (offline,) = decoder(text, speech, lengths, torch.tensor([chunked, chunked]))
    state, logits = SpeechState(decoder, 2, chunked=chunked, static=static), []
    cuts = [0, 3, 9, 10, 16, 17]
    for begin, end in zip(cuts, cuts[1:], strict=False):
        state.add_text(part(text, begin, end))
        state.end_text(text.lengths <= end)
        while state.slot <= 290 and state.ready(speaking := state.slot <= lengths):
            last = speech[:, state.slot - 1] if state.slot else torch.full((2,), decoder.config.sos_token_id)
            logits.append(state.step(last, speaking))
        assert (state.slot > 0) == (chunked and end >= 5 or end == 17)
    streamed = torch.stack(logits, 1)
    for sample, length in enumerate(lengths):
        torch.testing.assert_close(streamed[sample, : length + 1], offline[sample, : length + 1], atol=1e-4, rtol=1e-4)


def draws(logits: list[float], sampling: SpeechSampling, recent: tuple[int, ...] = ()) -> np.ndarray:
    """How often each of four codes and EOS is taken, over evenly spread numbers."""
    config = SpeechDecoderConfig(codebook_size=4)
    row = torch.tensor([*logits[:4], 99.0, 99.0, logits[4], 99.0])  # BOS, SOS and padding look best
    uniform, said = torch.linspace(0, 1 - 1e-7, 2000), torch.tensor([recent], dtype=torch.long).expand(2000, -1)
    taken = sample_speech_tokens(row.expand(2000, -1), uniform, said, sampling, config)
    return torch.bincount(taken, minlength=8)[[0, 1, 2, 3, 6]].numpy() / 2000


def test_speech_tokens_and_eos_are_sampled_by_their_probability():
    chances = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
    free = SpeechSampling(top_k=99, top_p=1.0)
    np.testing.assert_allclose(draws(np.log(chances), free), chances, atol=2e-3)
    sharper = chances**2 / (chances**2).sum()
    np.testing.assert_allclose(draws(np.log(chances), replace(free, temperature=0.5)), sharper, atol=2e-3)
    np.testing.assert_allclose(draws(np.log(chances), replace(free, top_k=2)), [4 / 7, 3 / 7, 0, 0, 0], atol=2e-3)
    np.testing.assert_allclose(draws(np.log(chances), replace(free, top_p=0.5)), [4 / 7, 3 / 7, 0, 0, 0], atol=2e-3)
    assert draws(np.log(chances), SpeechSampling(temperature=0.0)).tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("level", [-50.0, 0.0, 50.0])
def test_repetition_makes_a_token_rarer_whatever_the_sign_of_its_logit(level):
    free = SpeechSampling(top_k=99, top_p=1.0, frequency_penalty=2.0, frequency_window=4)
    shares = [draws([level] * 5, free, (0,) * times)[0] for times in (0, 1, 4)]
    expected = [1 / (1 + 4 * np.exp(nats)) for nats in (0, 0.5, 2)]
    np.testing.assert_allclose(shares, expected, atol=2e-3)


def said_by(stream: SpeechStream, text: TextInputs, cuts: list[int]) -> list[list[int]]:
    """The tokens of each sample when its text comes cut at ``cuts``."""
    pieces = []
    for begin, end in zip(cuts, cuts[1:], strict=False):
        stream.add_text(part(text, begin, end))
        stream.end_text(text.lengths <= end)
        pieces += list(stream.chunks())
    assert stream.done and all(piece.shape[1] <= 15 for piece in pieces)
    return [[token for token in row if token != stream.config.pad_token_id] for row in torch.cat(pieces, 1).tolist()]


def test_the_tokens_depend_on_the_text_and_the_seed_alone():
    decoder, text = shaken(SpeechDecoder(spoken_config())), some_text([12, 4, 9])
    sampling = SpeechSampling(max_tokens_per_text_token=4.0, frequency_penalty=1.0)
    together = said_by(SpeechStream(decoder, (5, 6, 7), sampling), text, [0, 1, 7, 12])
    assert together == said_by(SpeechStream(decoder, (5, 6, 7), sampling, static=True), text, [0, 12])
    for sample, seed in enumerate((5, 6, 7)):
        mine = part(text, 0, text.lengths[sample], slice(sample, sample + 1))
        cuts = [*range(text.lengths[sample] + 1)]
        assert said_by(SpeechStream(decoder, (seed,), sampling), mine, cuts) == [together[sample]]
    assert said_by(SpeechStream(decoder, (15, 16, 17), sampling), text, [0, 12]) != together


def certain(decoder: SpeechDecoder, token: int) -> SpeechDecoder:
    """A decoder that says ``token`` and nothing else."""
    with torch.no_grad():
        decoder.norm.weight.zero_()
        decoder.out = nn.Linear(decoder.config.width, decoder.config.vocab_size)
        decoder.out.bias.zero_()[token] = 99
    return decoder.eval()


def test_held_sounds_stay_and_a_reply_has_a_longest():
    decoder = certain(SpeechDecoder(spoken_config()), 7)
    said = said_by(
        SpeechStream(decoder, (0, 1), SpeechSampling(max_tokens_per_text_token=4.0, max_extra_tokens=2)),
        some_text([6, 2]),
        [0, 3, 6],
    )
    assert said == [[7] * 26, [7] * 10]


def test_speech_ends_with_its_end_token_and_without_text_there_is_none():
    decoder = certain(SpeechDecoder(spoken_config()), CODES + 2)
    stream = SpeechStream(decoder)
    stream.add_text(some_text([4]))
    stream.end_text()
    assert list(stream.chunks()) == [] and stream.done
    silent = SpeechStream(certain(SpeechDecoder(spoken_config()), 7))
    assert list(silent.chunks()) == [] and not silent.done
    silent.end_text()
    assert list(silent.chunks()) == [] and silent.done


def test_speech_does_not_end_before_all_of_the_text_was_seen():
    """The decoder reads no end of the text, so an early EOS would swallow the rest of the reply."""
    said = []
    for pieces in ([11], [5, 5, 1]):
        stream = SpeechStream(certain(SpeechDecoder(spoken_config()), CODES + 2))
        text, chunks, at = some_text([11]), [], 0
        for size in pieces:
            stream.add_text(
                TextInputs(
                    text.hidden_states[:, at : at + size],
                    text.token_embeddings[:, at : at + size],
                    text.emotion[:, at : at + size],
                    torch.tensor([size]),
                )
            )
            at += size
            chunks += stream.chunks()
        stream.end_text()
        chunks += stream.chunks()
        said.append(torch.cat(chunks, 1)[0].tolist())
        assert stream.done
    assert said[0] == said[1] and len(said[0]) == 30, (
        "two chunks of 15, then all of the 11 tokens are seen and it may end"
    )


def test_invalid_settings_are_refused_before_speaking():
    decoder = SpeechDecoder(spoken_config())
    with pytest.raises(ValueError, match="eval"):
        SpeechState(decoder.train())
    with pytest.raises(EmotionOmniError, match="3 or more"):
        SpeechStream(decoder.eval(), sampling=SpeechSampling(max_tokens_per_text_token=2.0))
    with pytest.raises(EmotionOmniError, match="top_p"):
        SpeechSampling(top_p=1.1)


@pytest.mark.parametrize(("adaptive_norm", "extra"), DEPTHS)
def test_every_parameter_of_stage_two_gets_a_gradient_and_a_toy_batch_is_fitted(adaptive_norm, extra):
    config = spoken_config(adaptive_norm=adaptive_norm, mtp_layers=extra)
    decoder, text = SpeechDecoder(config), some_text([6, 4, 8, 3])
    speech, lengths = torch.randint(0, CODES, (4, 20)), torch.tensor([20, 12, 18, 9])
    optimiser, losses = torch.optim.AdamW(decoder.parameters(), 1e-2), []
    for _ in range(80):
        optimiser.zero_grad()
        logits = decoder(text, speech, lengths, torch.tensor([True, False, True, False]))
        loss = speech_decoder.speech_losses(logits, speech, lengths, config.speech).mean()
        loss.backward()
        if not losses:
            assert [
                name
                for name, parameter in decoder.named_parameters()
                if parameter.grad is None or not parameter.grad.any()
            ] == []
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10
    stream = SpeechStream(decoder.eval(), (0,), SpeechSampling(temperature=0.0))
    assert said_by(stream, part(text, 0, 6, slice(0, 1)), [0, 2, 5, 6]) == [speech[0].tolist()]
