"""What every encoder guarantees for its frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoders import EVERY, STACK, STRIDED, WIDTH, recording
from torch import nn

from emotion_omni.omni import encoders
from emotion_omni.omni.adapters import MAX_LENGTH_DIFFERENCE
from emotion_omni.omni.config import EncoderConfig
from emotion_omni.omni.encoders.encoder import FRAME, WINDOW, windows
from emotion_omni.recognition.whisper_encoder import HZ, valid_frames
from emotion_omni.types import EmotionOmniError


def test_an_encoder_requires_prepared_samples(make):
    for wrong in (
        recording(1).astype(np.float64),
        recording(1)[None],
        recording(1)[:100],
        recording(1) * np.float32(np.nan),
    ):
        with pytest.raises(ValueError, match=r"prepare\(\)"):
            make("semantic random")([wrong])


@pytest.mark.parametrize("name", EVERY)
def test_frames_do_not_depend_on_the_rest_of_the_batch(make, name):
    encoder, batch = make(name), [recording(1.0, 1), recording(2.23, 2), recording(0.5, 3)]
    frames, lengths = encoder(batch)
    turned, turned_lengths = encoder(batch[::-1])
    assert frames.shape == (3, max(lengths), encoder.width) and frames.dtype == torch.float32
    for row, samples in enumerate(batch):
        alone, (length,) = encoder([samples])
        assert length == lengths[row] == turned_lengths[2 - row]
        assert torch.equal(alone[0], frames[row, :length]) and torch.equal(alone[0], turned[2 - row, :length])
        assert not frames[row, length:].any() and alone[0].std(0).min() > 0


@pytest.mark.parametrize("name", EVERY)
def test_encoders_are_frozen_and_their_frames_can_be_trained_on(make, name):
    encoder = make(name)
    frames, _ = encoder([recording(0.6)])
    assert not any(tensor.requires_grad for tensor in encoder.network.state_dict(keep_vars=True).values())
    assert not encoder.network.training and not frames.requires_grad and not frames.is_inference()
    layer = nn.Linear(encoder.width, 2)
    layer(frames).square().mean().backward()
    assert layer.weight.grad.abs().sum() > 0
    holder = nn.Module()
    holder.encoder, holder.layer = encoder, layer
    assert set(holder.state_dict()) == {"layer.weight", "layer.bias"}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("samples", [3200, 16_000, 16_001, 16_319, 40_000])
def test_there_is_a_frame_for_every_20_ms_and_none_of_padding(make, name, samples):
    """So any two encoders agree on the length within what the adapters allow."""
    _, (length,) = make(name)([recording(3.0)[:samples]])
    assert length == ((samples - 400) // FRAME + 1 if name in STRIDED else -(-samples // FRAME))
    assert valid_frames(samples) // STACK - length // STACK <= MAX_LENGTH_DIFFERENCE


@pytest.mark.parametrize("name", ["semantic random", "emotion wav2vec2"])
def test_a_long_recording_is_read_in_windows_that_keep_time(make, name):
    encoder, samples = make(name), recording(29.5)
    frames, (length,) = encoder([samples])
    assert length == ((len(samples) - 400) // FRAME + 1 if name in STRIDED else -(-len(samples) // FRAME))
    if name not in STRIDED:  # no whole recording is normalised here, so a window is like a recording of its own
        alone, _ = encoder([windows(torch.from_numpy(samples))[1].numpy()])
        assert torch.equal(frames[0, -len(alone[0]) :], alone[0])


@pytest.mark.parametrize("count", [3200, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 1, 60 * HZ])
def test_windows_are_near_equal_whole_frames_and_overlap_only_where_asked(count):
    samples = torch.arange(count)
    cut = windows(samples)
    assert torch.equal(torch.cat(cut), samples)
    assert max(map(len, cut)) <= WINDOW and len(cut) == -(-count // WINDOW)
    assert all(len(window) % FRAME == 0 for window in cut[:-1]) and len(cut[0]) - len(cut[-1]) < len(cut) * FRAME
    for window, longer in zip(cut[:-1], windows(samples, 80)[:-1], strict=True):
        assert torch.equal(longer, torch.arange(int(window[0]), int(window[-1]) + 81))


def test_an_empty_batch_has_no_frames(make):
    frames, lengths = make("semantic random")([])
    assert frames.shape == (0, 0, WIDTH) and lengths.shape == (0,)


def test_random_encoders_are_reproducible_and_keep_the_global_random_state():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, other = (encoders.semantic_encoder(EncoderConfig("random", WIDTH)) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert one.identity == other.identity != encoders.emotion_encoder(EncoderConfig("random", WIDTH)).identity
    assert torch.equal(one([recording(0.5)])[0], other([recording(0.5)])[0])


@pytest.mark.parametrize("name", [name for name in EVERY if "random" not in name])
def test_a_width_that_is_not_the_encoders_is_refused_with_both_numbers(make, folders, request, name):
    width = make(name).width
    kind, _, source = name.partition(" ")
    if source == "emotion2vec":
        source = str(request.getfixturevalue("emotion2vec"))
    where = source if source == "embedded" else str(folders / source)
    with pytest.raises(EmotionOmniError, match=rf"width.* 40, .*{width} features") as caught:
        getattr(encoders, f"{kind}_encoder")(EncoderConfig(where, 40))
    assert caught.value.code == "config"


def test_a_rate_that_is_not_the_encoders_is_refused():
    with pytest.raises(EmotionOmniError, match=r"25 Hz.*50 frames a second") as caught:
        encoders.semantic_encoder(EncoderConfig("random", WIDTH, 25))
    assert caught.value.code == "config"


def test_an_encoder_of_the_wrong_kind_is_refused(folders):
    for kind, name, words in (
        ("semantic", "wav2vec2", "must be a Whisper"),
        ("emotion", "whisper", "does not read samples"),
    ):
        with pytest.raises(EmotionOmniError, match=words) as caught:
            getattr(encoders, f"{kind}_encoder")(EncoderConfig(str(folders / name), WIDTH))
        assert caught.value.code == "config"
