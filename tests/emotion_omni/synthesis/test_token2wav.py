"""Speech tokens to sound and back. The networks have random weights; where their package is absent those tests skip."""

from __future__ import annotations

import logging
import random
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from emotion_omni.synthesis import cosyvoice2_networks, token2wav
from emotion_omni.synthesis.cosyvoice2_networks import CODES, HOP, HZ, SMALL
from emotion_omni.synthesis.onnx_encoders import SpeechTokenizer
from emotion_omni.synthesis.token2wav import Streaming, Token2Wav
from emotion_omni.types import Audio, EmotionOmniError

SAMPLES = 960  # of one token: 24 000 / 25


def codes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CODES, count)


def streamed(model: Token2Wav, tokens: np.ndarray, step: int = 15, seed: int = 0) -> list[np.ndarray]:
    stream = model.stream(seed)
    pieces = [stream.push(tokens[start : start + step]) for start in range(0, len(tokens), step)]
    return [*pieces, stream.push([], last=True)]


@pytest.fixture(scope="module")
def model() -> Token2Wav:
    pytest.importorskip("cosyvoice", reason="cosyvoice-minicpmo is not installed (requirements-gpu.txt)")
    return Token2Wav.random(0, Streaming(steps=1))  # the fewer, the faster; the package takes 10


@pytest.fixture
def local(model) -> Token2Wav:
    """A model whose flow sees one token at a time: only the vocoder can then tell chunks from one pass."""
    flow, hift = cosyvoice2_networks.build(SMALL)
    flow.load_state_dict(model.flow.state_dict())
    hift.load_state_dict(model.hift.state_dict())

    class Repeat(torch.nn.Module):
        def forward(self, body, lengths, context, streaming):
            return body.repeat_interleave(2, 1), None

    flow.encoder = Repeat()
    flow.decoder.solve_euler = lambda noise, mu, **rest: 4 * mu
    return Token2Wav(flow, hift, model.voice)


# ------------------------------------------------------------------ without the package, anywhere


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    for name in ["cosyvoice", "cosyvoice.utils", *(name for name in sys.modules if name.startswith("cosyvoice."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EmotionOmniError, match=r"cosyvoice-minicpmo.*--no-deps -r requirements-gpu\.txt") as caught:
        Token2Wav.random(0)
    assert caught.value.code == "missing-package"
    assert "torchaudio" not in sys.modules  # what stood in for it is gone, also after a failure


@pytest.mark.parametrize("wrong", [-1, CODES, CODES + 2])
def test_a_marker_is_no_speech_token(wrong):
    with pytest.raises(EmotionOmniError, match=f"{wrong} cannot be spoken.*0 to 6560") as caught:
        cosyvoice2_networks.check_tokens([5, wrong])
    assert caught.value.code == "speech-token"


def test_a_chunk_shorter_than_the_vocoders_overlap_is_refused():
    with pytest.raises(ValueError, match="more than 4 tokens"):
        Streaming(sizes=(4, 20))


# ------------------------------------------------------------------ tokens to sound


def test_importing_and_building_leave_logging_and_every_generator_alone(model, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as where no test runner listens

    def state() -> tuple:
        log = logging.getLogger()
        return (
            list(log.handlers),
            log.level,
            random.getstate(),
            np.random.get_state()[1].tolist(),
            torch.get_rng_state().tolist(),
        )

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = state()
    cosyvoice2_networks.build(SMALL, seed=3)
    assert state() == before


@pytest.mark.parametrize("count", [1, 7, 50])
def test_speech_lasts_a_25th_of_a_second_a_token_and_is_finite_mono(model, count):
    spoken = model.decode(codes(count))
    assert isinstance(spoken, Audio) and spoken.hz == HZ
    assert abs(len(spoken.samples) - count * SAMPLES) <= HOP
    assert np.isfinite(spoken.samples).all() and np.abs(spoken.samples).max() <= 1 and spoken.samples.std() > 1e-3


@pytest.mark.parametrize(
    ("count", "step"), [(0, 15), (1, 1), (3, 15), (15, 1), (16, 100), (70, 1), (70, 15), (70, 100)]
)
def test_chunks_join_to_the_length_of_one_pass(model, count, step):
    joined = np.concatenate(streamed(model, codes(count), step))
    assert joined.dtype == np.float32 and len(joined) == len(model.decode(codes(count)).samples)


def test_the_first_sound_comes_with_the_first_15_tokens_and_chunks_grow(model):
    pieces = [len(piece) for piece in streamed(model, codes(75))]
    assert pieces[0] == (12 * 2 - 8) * HOP  # less the look-ahead and the overlap
    sounding = [length for length in pieces[:-1] if length]
    assert sounding == sorted(sounding) and sounding[-1] > 3 * sounding[0]


def test_seams_do_not_click(model):
    pieces = [piece for piece in streamed(model, codes(150)) if len(piece)]
    jumps = np.abs(np.diff(np.concatenate(pieces)))
    seams = np.cumsum([len(piece) for piece in pieces])[:-1] - 1
    assert len(seams) >= 4
    assert jumps[seams].max() <= np.delete(jumps, seams).max()


def test_the_vocoder_makes_the_same_sound_in_chunks_as_in_one_pass(local):
    """Nearly: the last pitches of a chunk lack the future. 0.04 of the deviation at worst; 1 without a fade."""
    tokens = codes(150)
    whole, joined = local.decode(tokens).samples, np.concatenate(streamed(local, tokens))
    assert np.abs(joined - whole).max() < 0.1 * whole.std()


def test_the_flow_finds_the_packages_own_mel_in_each_chunk_and_in_one_pass(model):
    """To the package, a chunk continues a prompt of voice and past. 30 of the prompt + 20 + 25 end at its masks."""
    tokens, voice = codes(48), model.voice
    heard: list[torch.Tensor] = []
    hook = model.hift.conv_pre.register_forward_pre_hook(lambda module, given: heard.append(given[0]))
    aligned = Token2Wav(model.flow, model.hift, voice, streaming=Streaming(sizes=(20, 25)))
    aligned.stream().push(tokens)
    aligned.decode(tokens)
    hook.remove()

    def package(past_tokens, past_mel, new, **manner):
        prompt, mel = (
            np.append(voice.tokens, past_tokens).astype(np.int64),
            torch.cat([torch.from_numpy(voice.mel), past_mel]),
        )
        found, _ = model.flow.inference(
            torch.from_numpy(new)[None],
            torch.tensor([len(new)]),
            torch.from_numpy(prompt)[None],
            torch.tensor([len(prompt)]),
            mel[None],
            torch.tensor([len(mel)]),
            torch.from_numpy(voice.embedding)[None],
            **manner,
        )
        return found

    first = package([], torch.zeros(0, 80), tokens[:23], streaming=True, finalize=False)
    second = package(tokens[:20], first[0].T, tokens[20:], streaming=True, finalize=False)
    whole = package([], torch.zeros(0, 80), tokens, streaming=False, finalize=True)
    assert [mel.shape[2] for mel in (first, second, whole)] == [40, 50, 96]
    assert torch.allclose(heard[0], first, atol=1e-4)
    assert torch.allclose(heard[1], torch.cat([first[:, :, -8:], second], 2), atol=1e-3)
    assert torch.allclose(heard[2], whole, atol=1e-4)


def test_the_source_is_the_packages_with_a_phase_that_runs_on(model, monkeypatch):
    module, silent = model.hift.m_source, torch.Generator()
    monkeypatch.setattr(module.l_sin_gen, "noise_std", 0.0)
    pitch = torch.tensor(
        [200.0, 180.0, 220.0, 150.0, 300.0, 240.0]
    )  # the package starts two cycles on: 200 Hz for 10 ms
    with torch.no_grad():
        ours, _ = token2wav.excitation(module, pitch, 0.0, silent)
        theirs, _, _ = module(pitch.repeat_interleave(HOP)[None, :, None])
        first, cycles = token2wav.excitation(module, pitch[[0, 0, 0]], 0.0, silent)
        second, _ = token2wav.excitation(module, pitch[[0, 0, 0]], cycles, silent)
        once, _ = token2wav.excitation(module, pitch[[0] * 6], 0.0, silent)
    inner = slice(HOP // 2, -HOP // 2)  # outside, the package holds its phase still
    assert torch.allclose(ours[0, 0, inner], theirs[0, inner, 0], atol=1e-4)
    assert torch.allclose(torch.cat([first, second], 2), once, atol=1e-5)


def test_cost_grows_with_the_length_of_the_reply_and_not_with_its_square(model):
    costs = []
    for count in (120, 240, 360):
        stream = model.stream()
        stream.push(codes(count), last=True)
        costs.append(stream.flow_frames)
    assert abs((costs[2] - costs[1]) - (costs[1] - costs[0])) < 0.05 * costs[0]
    assert costs[2] < 5 * 360 * 2  # prompt and context make a frame cost less than five


def test_the_same_seed_gives_the_same_samples_and_another_seed_others(model):
    first, again, other = (np.concatenate(streamed(model, codes(40), seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert np.array_equal(model.decode(codes(9)).samples, Token2Wav.random(0, model.streaming).decode(codes(9)).samples)


def test_two_streams_at_once_do_not_leak_into_each_other(model):
    tokens = codes(60, 1), codes(60, 2)
    alone = [np.concatenate(streamed(model, each)) for each in tokens]
    streams, pieces = (model.stream(), model.stream()), ([], [])
    for start in range(0, 60, 15):
        for stream, each, piece in zip(streams, tokens, pieces, strict=True):
            piece.append(stream.push(each[start : start + 15], last=start == 45))
    for expected, piece in zip(alone, pieces, strict=True):
        assert np.array_equal(expected, np.concatenate(piece))


def test_a_finished_stream_takes_no_more(model):
    stream = model.stream()
    stream.push(codes(5), last=True)
    with pytest.raises(ValueError, match="last tokens"):
        stream.push(codes(5))


def test_another_rate_than_the_vocoders_is_refused(model):
    with pytest.raises(ValueError, match="24000 Hz"):
        Token2Wav(model.flow, model.hift, model.voice, hz=16_000)


# ------------------------------------------------------------------ files


@pytest.fixture
def official(model, tmp_path):
    """A folder like the published one: pickles, the vocoder's names with the prefix that training left."""
    torch.save(model.flow.state_dict(), tmp_path / "flow.pt")
    torch.save({f"generator.{name}": value for name, value in model.hift.state_dict().items()}, tmp_path / "hift.pt")
    return tmp_path


def test_converted_weights_speak_as_the_originals_did(model, official, tmp_path):
    token2wav.convert(official, tmp_path / "ours", model.voice, SMALL)
    assert not list((tmp_path / "ours").glob("*.pt"))
    loaded = Token2Wav.load(tmp_path / "ours", streaming=model.streaming)
    assert np.array_equal(loaded.decode(codes(20)).samples, model.decode(codes(20)).samples)


def test_weights_that_do_not_fit_are_refused_whole(model, official, tmp_path):
    token2wav.convert(official, tmp_path / "ours", model.voice, SMALL)
    weights = {name: value.contiguous() for name, value in model.flow.state_dict().items()}
    del weights["encoder_proj.weight"]
    save_file(weights, tmp_path / "ours" / "flow.safetensors")
    with pytest.raises(EmotionOmniError, match=r"flow\.safetensors does not fit.*encoder_proj\.weight") as caught:
        Token2Wav.load(tmp_path / "ours")
    assert caught.value.code == "checkpoint"


def test_a_pickle_that_would_run_code_is_refused(model, official, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (sys.exit, (1,))

    torch.save({"weight": Harmful()}, official / "flow.pt")
    with pytest.raises(EmotionOmniError, match=r"flow\.pt is not a file of weights alone") as caught:
        token2wav.convert(official, tmp_path / "ours", model.voice, SMALL)
    assert caught.value.code == "checkpoint" and not (tmp_path / "ours" / "token2wav.json").exists()


def test_a_missing_file_is_named_with_where_to_get_it(tmp_path):
    for opened in (Token2Wav.load, lambda folder: SpeechTokenizer(folder / "speech_tokenizer_v2.onnx")):
        with pytest.raises(EmotionOmniError, match="CosyVoice2-0.5B") as caught:
            opened(tmp_path)
        assert caught.value.code == "missing"
