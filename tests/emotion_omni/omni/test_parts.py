"""Each part of the end-to-end model against a small reference of its own, or against what it promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from emotion_omni.omni import adapters, speech_decoder, transformer
from emotion_omni.omni.adaln import AdaLN
from emotion_omni.omni.adapters import AudioAdapters, FrameAdapter
from emotion_omni.omni.config import PRESETS, OmniConfig, SpeechDecoderConfig, SpeechSampling
from emotion_omni.omni.dynamic_time_warping import dynamic_time_warping
from emotion_omni.omni.emotion_head import EmotionHead
from emotion_omni.omni.emotion_targets import token_targets, trajectory_losses, utterance_targets
from emotion_omni.omni.gate import Gate
from emotion_omni.omni.speech_decoder import SpeechDecoder, TextInputs
from emotion_omni.omni.speech_generation import SpeechState, SpeechStream, sample_speech_tokens
from emotion_omni.types import EmotionOmniError

TINY = OmniConfig.preset("tiny")
CODES = 40  # a short vocabulary keeps the tests quick
DEPTHS = (("once", 0), ("per-block", 0), ("once", 2))


@pytest.fixture(autouse=True)
def the_same_chance():
    torch.manual_seed(0)


def spoken_config(**changes) -> OmniConfig:
    return replace(TINY, speech=replace(TINY.speech, codebook_size=CODES, **changes))


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """In eval mode, every parameter off its starting value, so that a scale of 1 or a weight of 0 hides nothing."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return module.eval()


def some_text(lengths: list[int], config: OmniConfig = TINY, seed: int = 1) -> TextInputs:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths))
    states, embeddings = torch.randn(2, *shape, config.speech.width, generator=generator)
    return TextInputs(
        states, embeddings, torch.randn(*shape, config.emotion.width, generator=generator), torch.tensor(lengths)
    )


def part(text: TextInputs, begin: int, end: int, samples: slice = slice(None)) -> TextInputs:
    lengths = (text.lengths[samples] - begin).clamp(0, end - begin)
    return TextInputs(
        text.hidden_states[samples, begin:end],
        text.token_embeddings[samples, begin:end],
        text.emotion[samples, begin:end],
        lengths,
    )


# --- configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_survives_its_json(name):
    config = OmniConfig.preset(name)
    assert OmniConfig.from_json(config.to_json()) == config


def test_an_unknown_setting_is_refused_with_the_nearest_name():
    settings = json.loads(TINY.to_json())
    settings["speech"]["layrs"] = 3
    with pytest.raises(EmotionOmniError, match=r"'speech\.layrs'.*mean 'layers'"):
        OmniConfig.from_json(json.dumps(settings))
    with pytest.raises(EmotionOmniError, match="mean 'paper'"):
        OmniConfig.preset("papr")


@pytest.mark.parametrize(
    ("where", "setting", "value"),
    [
        ("speech", "width", 64),
        ("speech", "heads", 3),
        ("speech", "heads", 32),
        ("speech", "layers", 0),
        ("speech", "layers", True),
        ("speech", "chunked_probability", 1.5),
        ("speech", "adaptive_norm", "twice"),
        ("emotion", "hz", 100),
        ("adapter", "stack", "5"),
        ("head", "mse_weight", -0.1),
        ("head", "dropout", float("nan")),
        ("lora", "target_modules", []),
        (None, "fusion", "add"),
    ],
)
def test_contradictions_and_wrong_types_are_refused_by_name(where, setting, value):
    settings = json.loads(TINY.to_json())
    (settings[where] if where else settings)[setting] = value
    with pytest.raises(EmotionOmniError, match=rf"(?i)\b{setting}\b.*must be") as error:
        OmniConfig.from_json(json.dumps(settings))
    assert error.value.code == "config"


@pytest.mark.parametrize("text", ["{", "[]", '{"fusion": "concat"}'])
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(EmotionOmniError, match="JSON|object|missing"):
        OmniConfig.from_json(text)


def test_the_special_tokens_follow_the_codes():
    speech = OmniConfig.preset("paper").speech
    assert (
        speech.codebook_size,
        speech.bos_token_id,
        speech.sos_token_id,
        speech.eos_token_id,
        speech.pad_token_id,
        speech.vocab_size,
    ) == (
        6561,
        *range(6561, 6566),
    )


def test_the_configuration_needs_no_torch():
    code = "import sys, emotion_omni.omni.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_documented_sizes_are_those_of_the_paper():
    for module, part_of in ((adapters, AudioAdapters), (speech_decoder, SpeechDecoder)):
        (documented,) = re.findall(r"(\d+(?:_\d{3})+)\s+parameters", module.__doc__)
        with torch.device("meta"):
            assert sum(parameter.numel() for parameter in part_of(OmniConfig.preset("paper")).parameters()) == int(
                documented
            )


# --- adapters --------------------------------------------------------------------------------


def test_an_adapter_stacks_five_frames_and_drops_the_rest():
    adapter, frames = FrameAdapter(3, 5, 7, 4), torch.randn(1, 13, 3)
    positions, lengths = adapter(frames, torch.tensor([13]))
    assert lengths.tolist() == [2]
    for place in range(2):
        stacked = np.concatenate([frames[0, 5 * place + frame].numpy() for frame in range(5)])
        hidden = np.maximum(adapter.widen.weight.detach().numpy() @ stacked + adapter.widen.bias.detach().numpy(), 0)
        expected = adapter.project.weight.detach().numpy() @ hidden + adapter.project.bias.detach().numpy()
        np.testing.assert_allclose(positions[0, place].detach(), expected, atol=1e-5)


@pytest.mark.parametrize("fusion", ["concat", "interleave"])
def test_neither_padding_nor_a_batch_mate_reaches_a_position(fusion):
    module = shaken(AudioAdapters(replace(TINY, fusion=fusion)))
    words, tones = torch.randn(2, 61, 24), torch.randn(2, 59, 16)
    lengths = torch.tensor([31, 61]), torch.tensor([30, 59])
    words[0, 31:], tones[0, 30:] = torch.nan, torch.inf
    positions, counts = module(words, lengths[0], tones, lengths[1])
    alone, count = module(words[:1, :31], lengths[0][:1], tones[:1, :30], lengths[1][:1])
    assert counts.tolist() == [count.item(), positions.shape[1]] and count == alone.shape[1] == (
        6 if fusion == "concat" else 12
    )
    torch.testing.assert_close(positions[:1, : alone.shape[1]], alone)
    assert not positions[0, alone.shape[1] :].any()
    positions.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_fusion_joins_the_same_moment_of_both_streams():
    words, tones, lengths = torch.randn(1, 20, 24), torch.randn(1, 20, 16), torch.tensor([20])
    woven = shaken(AudioAdapters(replace(TINY, fusion="interleave")))
    pairs = woven(words, lengths, tones, lengths)[0]
    torch.testing.assert_close(pairs[:, 0::2], woven.semantic(words, lengths)[0])
    torch.testing.assert_close(pairs[:, 1::2], woven.emotion(tones, lengths)[0])
    joined = shaken(AudioAdapters(TINY))
    both = torch.cat([joined.semantic(words, lengths)[0], joined.emotion(tones, lengths)[0]], -1)
    torch.testing.assert_close(joined(words, lengths, tones, lengths)[0], joined.fuse(both))


def test_encoders_that_disagree_about_the_length_are_refused():
    module = AudioAdapters(TINY)
    with pytest.raises(ValueError, match="disagree"):
        module(torch.zeros(1, 100, 24), torch.tensor([100]), torch.zeros(1, 100, 16), torch.tensor([80]))


# --- attention and the emotion head ----------------------------------------------------------


def test_a_block_is_its_equations():
    """Rotary attention, RMSNorm and SwiGLU by loops over heads, rows and pairs."""
    width, heads, rows, base = 8, 2, 5, 100.0
    block, x = shaken(transformer.Block(width, heads, 12, 0.0)), torch.randn(1, rows, width)
    mask = torch.ones(rows, rows, dtype=torch.bool).tril()[None, None]
    places = torch.tensor([[0, 1, 2, 7, 9]])
    ours = block(x, transformer.rotary_angles(places, width // heads, base), mask)[0].detach().numpy()
    weights = {name: parameter.detach().double().numpy() for name, parameter in block.named_parameters()}

    def norm(values, name):
        return values / np.sqrt((values**2).mean(-1, keepdims=True) + 1e-6) * weights[name]

    def turned(vector, place):
        half, out = len(vector) // 2, np.empty(len(vector))
        for pair in range(half):
            number = complex(vector[pair], vector[pair + half]) * np.exp(1j * place * base ** (-pair / half))
            out[pair], out[pair + half] = number.real, number.imag
        return out

    stream = x[0].double().numpy()
    query, key, value = np.split(norm(stream, "attention_norm.weight") @ weights["query_key_value.weight"].T, 3, axis=1)
    seen = np.zeros((rows, width))
    for head in range(heads):
        span = slice(head * width // heads, (head + 1) * width // heads)
        for row in range(rows):
            asked = turned(query[row, span], places[0, row].item())
            scores = [asked @ turned(key[other, span], places[0, other].item()) for other in range(row + 1)]
            share = np.exp(np.array(scores) / np.sqrt(width / heads))
            seen[row, span] = (share / share.sum()) @ value[: row + 1, span]
    stream = stream + seen @ weights["attention_out.weight"].T
    gate, up = np.split(norm(stream, "feed_norm.weight") @ weights["gate_and_up.weight"].T, 2, axis=1)
    stream = stream + (gate / (1 + np.exp(-gate)) * up) @ weights["down.weight"].T
    np.testing.assert_allclose(ours, stream, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_planned_emotion_is_the_same_when_the_reply_grows_token_by_token():
    head, states = shaken(EmotionHead(TINY)), torch.randn(2, 300, 32)
    offline = head(states, torch.tensor([300, 300]))
    cache, pieces = head.new_cache(2), []
    for begin, end in ((0, 5), (5, 6), (6, 290), (290, 300)):  # over the first size of the buffer, too
        pieces.append(head(states[:, begin:end], torch.full((2,), end - begin), cache))
    torch.testing.assert_close(torch.cat(pieces, 1), offline, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_an_emotion_never_sees_a_later_token():
    head, states = shaken(EmotionHead(TINY)), torch.randn(1, 9, 32)
    changed = states.clone()
    changed[:, 6:] += 1
    before, after = (head(x, torch.tensor([9])) for x in (states, changed))
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().min() > 0


@torch.no_grad()
def test_one_emotion_per_utterance_reads_the_first_five_states():
    head, states = shaken(EmotionHead(replace(TINY, emotion_mode="utterance"))), torch.randn(2, 12, 32)
    states[1, 3:] = torch.nan  # an answer of three tokens and its padding
    emotion = head(states, torch.tensor([12, 3]))
    torch.testing.assert_close(emotion[0, 0], head.out(states[0, :5].mean(0)))
    torch.testing.assert_close(emotion[1, 0], head.out(states[1, :3].mean(0)))


# --- targets of the emotion head -------------------------------------------------------------


def warped_by_loops(cost: np.ndarray) -> tuple[float, list[tuple[int, int]]]:
    """→ the least total and, for each token, its first frame and one past the last."""
    frames, tokens = cost.shape
    total, came = np.full((frames, tokens), np.inf), {}
    total[0, 0] = cost[0, 0]
    for frame in range(frames):
        for token in range(tokens):
            for back in ((1, 1), (1, 0), (0, 1)):
                other = frame - back[0], token - back[1]
                if min(other) >= 0 and total[other] + cost[frame, token] < total[frame, token]:
                    total[frame, token], came[frame, token] = total[other] + cost[frame, token], other
    cell, visited = (frames - 1, tokens - 1), {token: [] for token in range(tokens)}
    while cell is not None:
        visited[cell[1]].append(cell[0])
        cell = came.get(cell)
    return total[-1, -1], [(min(held), max(held) + 1) for held in visited.values()]


@pytest.mark.parametrize(("frames", "tokens"), [(1, 1), (1, 6), (9, 1), (4, 4), (40, 7), (5, 13)])
@pytest.mark.parametrize("levels", [2, 1000])  # two levels: many paths cost the same
def test_warping_is_that_of_the_textbook(frames, tokens, levels):
    cost = np.random.default_rng(frames * tokens).integers(0, levels, (3, frames, tokens)).astype(float)
    spans = dynamic_time_warping(cost, np.full(3, frames), np.full(3, tokens))
    for sample in range(3):
        assert [tuple(span) for span in spans[sample]] == warped_by_loops(cost[sample])[1]


def test_ten_seconds_are_laid_on_sixty_tokens():
    """No token goes empty, no frame is left out, and the order is kept. The time it takes is printed, not judged."""
    generator = torch.Generator().manual_seed(0)
    frames, predictions = torch.randn(1, 500, 768, generator=generator), torch.randn(1, 60, 768, generator=generator)
    cost = torch.cdist(frames, predictions).square().double().numpy()
    began = time.perf_counter()
    (spans,) = dynamic_time_warping(cost, np.array([500]), np.array([60]))
    print(f"500 frames on 60 tokens: {1000 * (time.perf_counter() - began):.1f} ms")
    first, past = spans.T
    assert first[0] == 0 and past[-1] == 500 and (past > first).all()
    assert (np.diff(first) >= 0).all() and (first[1:] <= past[:-1]).all() and (first[1:] >= past[:-1] - 1).all()
    paid = sum(cost[0, begin:end, token].sum() for token, (begin, end) in enumerate(spans))
    assert paid == pytest.approx(warped_by_loops(cost[0])[0])


def test_a_target_is_the_mean_of_the_frames_of_its_token():
    moods = torch.eye(4)[None] * 3
    frames = moods.repeat_interleave(torch.tensor([2, 5, 1, 4]), 1) + 0.1 * torch.randn(1, 12, 4)
    targets = token_targets(frames, torch.tensor([12]), moods, torch.tensor([4]))
    expected = torch.stack([frames[0, begin:end].mean(0) for begin, end in ((0, 2), (2, 7), (7, 8), (8, 12))])
    torch.testing.assert_close(targets[0], expected)


def test_targets_and_losses_do_not_depend_on_padding_or_batch_mates():
    frames, predictions = torch.randn(3, 50, 16), torch.randn(3, 9, 16)
    frame_lengths, token_lengths = torch.tensor([20, 50, 3]), torch.tensor([4, 9, 8])
    for sample in range(3):
        frames[sample, frame_lengths[sample] :] = torch.nan
        predictions[sample, token_lengths[sample] :] = 100.0
    targets = token_targets(frames, frame_lengths, predictions, token_lengths)
    means = utterance_targets(frames, frame_lengths)
    losses = trajectory_losses(predictions, targets, token_lengths, TINY.head)
    for sample, (count, tokens) in enumerate(zip(frame_lengths, token_lengths, strict=True)):
        mine = slice(sample, sample + 1)
        lengths = frame_lengths[mine], token_lengths[mine]
        alone = token_targets(frames[mine, :count], lengths[0], predictions[mine, :tokens], lengths[1])
        torch.testing.assert_close(targets[mine, :tokens], alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(means[sample, 0], frames[sample, :count].mean(0))
        torch.testing.assert_close(
            losses[mine], trajectory_losses(predictions[mine, :tokens], alone, lengths[1], TINY.head)
        )


def test_the_loss_is_squared_error_and_cosine_in_the_papers_proportion():
    targets = torch.randn(2, 3, 16)
    lengths = torch.tensor([3, 2])
    torch.testing.assert_close(
        trajectory_losses(targets, targets, lengths, TINY.head), torch.zeros(2), atol=1e-6, rtol=0
    )
    opposite = trajectory_losses(-targets, targets, lengths, TINY.head)
    torch.testing.assert_close(opposite[1], 0.6 * (4 * targets[1, :2] ** 2).mean() + 0.4 * 2)


def test_an_answer_without_sound_or_words_teaches_no_emotion():
    frames, tokens = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    for heard, said, what in (([5, 0], [3, 3], "frame"), ([5, 5], [3, 0], "token")):
        with pytest.raises(EmotionOmniError, match=f"Example 1.*{what}") as error:
            token_targets(frames, torch.tensor(heard), tokens, torch.tensor(said))
        assert error.value.code == "no-target"
    with pytest.raises(EmotionOmniError, match="Example 0"):
        utterance_targets(frames, torch.tensor([0, 5]))
    with pytest.raises(ValueError, match="finite"):
        token_targets(frames * torch.inf, torch.tensor([5, 5]), tokens, torch.tensor([3, 3]))


# --- speech decoder --------------------------------------------------------------------------


@torch.no_grad()
def test_the_gate_is_its_equation():
    gate, (state, embedding) = shaken(Gate(6)), torch.randn(2, 1, 1, 6)
    weight, bias = gate.mix.weight.numpy(), gate.mix.bias.numpy()
    h, e = state[0, 0].numpy(), embedding[0, 0].numpy()
    share = 1 / (1 + np.exp(-(weight @ np.concatenate([h, e]) + bias)))
    np.testing.assert_allclose(gate(state, embedding)[0, 0], share * h + (1 - share) * e, atol=1e-6)


@torch.no_grad()
def test_an_emotion_scales_and_shifts_the_normed_state_and_at_first_does_nothing():
    norm, x, emotion = AdaLN(5, 6), torch.randn(2, 3, 6), torch.randn(2, 3, 5)
    torch.testing.assert_close(norm(x, emotion), nn.functional.layer_norm(x, (6,)))
    scale, shift = np.split(
        emotion.numpy() @ shaken(norm).modulation.weight.numpy().T + norm.modulation.bias.numpy(), 2, axis=-1
    )
    centred = x.numpy() - x.numpy().mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + shift
    np.testing.assert_allclose(norm(x, emotion), expected, atol=1e-5)


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


@torch.no_grad()
@pytest.mark.parametrize("extra", [0, 2])
def test_a_loss_counts_speech_and_its_end_and_nobody_elses(extra):
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


def test_each_sample_of_a_batch_draws_its_own_mask():
    drawn = speech_decoder.sample_chunked(4000, 0.5, torch.Generator().manual_seed(0))
    assert 0.46 < drawn.float().mean() < 0.54
    assert not speech_decoder.sample_chunked(50, 0.0).any() and speech_decoder.sample_chunked(50, 1.0).all()


# --- drawing speech tokens -------------------------------------------------------------------


def draws(logits: list[float], sampling: SpeechSampling, recent: tuple[int, ...] = ()) -> np.ndarray:
    """How often each of four codes and EOS is taken, over evenly spread numbers."""
    config = SpeechDecoderConfig(codebook_size=4)
    row = torch.tensor([*logits[:4], 99.0, 99.0, logits[4], 99.0])  # BOS, SOS and padding look best
    uniform, said = torch.linspace(0, 1 - 1e-7, 2000), torch.tensor([recent], dtype=torch.long).expand(2000, -1)
    taken = sample_speech_tokens(row.expand(2000, -1), uniform, said, sampling, config)
    return torch.bincount(taken, minlength=8)[[0, 1, 2, 3, 6]].numpy() / 2000


def test_only_codes_and_the_end_are_drawn_as_often_as_they_are_likely():
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


def test_what_would_go_wrong_while_speaking_is_refused_at_once():
    decoder = SpeechDecoder(spoken_config())
    with pytest.raises(ValueError, match="eval"):
        SpeechState(decoder.train())
    with pytest.raises(EmotionOmniError, match="3 or more"):
        SpeechStream(decoder.eval(), sampling=SpeechSampling(max_tokens_per_text_token=2.0))
    with pytest.raises(EmotionOmniError, match="top_p"):
        SpeechSampling(top_p=1.1)


# --- learning --------------------------------------------------------------------------------


@pytest.mark.parametrize(("fusion", "emotion_mode"), [("concat", "token"), ("interleave", "utterance")])
def test_the_understanding_half_learns_in_every_parameter(fusion, emotion_mode):
    config = replace(TINY, fusion=fusion, emotion_mode=emotion_mode)
    ears, head, lengths = AudioAdapters(config), EmotionHead(config), torch.tensor([40, 30])
    positions, counts = ears(torch.randn(2, 40, 24), lengths, torch.randn(2, 40, 16), lengths)
    planned = head(positions, counts)
    tokens = counts if emotion_mode == "token" else torch.ones_like(counts)
    trajectory_losses(planned, torch.randn(planned.shape), tokens, config.head).mean().backward()
    for module in (ears, head):
        assert [
            name for name, parameter in module.named_parameters() if parameter.grad is None or not parameter.grad.any()
        ] == []


@pytest.mark.parametrize(("adaptive_norm", "extra"), DEPTHS)
def test_the_speaking_half_learns_in_every_parameter_and_fits_a_toy_batch(adaptive_norm, extra):
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
