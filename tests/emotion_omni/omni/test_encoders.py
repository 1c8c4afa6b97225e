"""The two frozen encoders: what they read, what they promise of every frame, and that they equal their originals."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from conftest import EXAMPLES, noise, tone
from huggingface_hub.errors import HTTPError
from torch import nn

from emotion_omni import audio, weights
from emotion_omni.omni import encoders
from emotion_omni.omni.adapters import MAX_LENGTH_DIFFERENCE
from emotion_omni.omni.config import EncoderConfig
from emotion_omni.omni.encoders import Encoder, prepare
from emotion_omni.omni.encoders.encoder import FRAME, WINDOW, windows
from emotion_omni.recognition import speech_emotion
from emotion_omni.recognition.speech_emotion import SpeechEmotionHead
from emotion_omni.recognition.whisper_encoder import HZ, WhisperEncoder, read_ctranslate2, valid_frames
from emotion_omni.types import Audio, EmotionOmniError

WIDTH = 16  # of the encoders made here
STACK = 5  # frames to a position of the language model


def recording(seconds: float, seed: int = 0) -> np.ndarray:
    """Prepared noise over a hum: nothing in it repeats, so that no two frames are equal."""
    hum = tone(seconds, level=0.05).samples
    return prepare(Audio(hum + noise(seconds, seed=seed).samples, HZ))


@pytest.fixture(scope="session")
def whisper_base() -> Path:
    try:
        return weights.fetch("whisper-base/model.bin")
    except EmotionOmniError as error:
        if error.code == "weights" and not os.environ.get("CI"):
            pytest.skip(f"weights cannot be had here: {error}")
        raise


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Path:
    """Tiny random models saved as a hub would hold them: ``whisper``, ``large`` with 128 mels, ``wav2vec2``, ``wavlm``."""
    home = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for name, mels in (("whisper", 80), ("large", 128)):
        heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
        special = {
            "vocab_size": 20,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        }
        shape = {
            "d_model": WIDTH,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
        }
        config = transformers.WhisperConfig(num_mel_bins=mels, **shape, **heads, **special)
        model = transformers.WhisperForConditionalGeneration(config)
        shaken(model).save_pretrained(home / name)
    for name, config, kind, normalise in (
        ("wav2vec2", transformers.Wav2Vec2Config, transformers.Wav2Vec2ForCTC, True),
        ("wavlm", transformers.WavLMConfig, transformers.WavLMModel, False),
    ):
        model = kind(
            config(
                hidden_size=WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                conv_dim=(8,) * 7,
                num_conv_pos_embedding_groups=4,
                num_conv_pos_embeddings=16,
                vocab_size=20,
            )
        )
        shaken(model).save_pretrained(home / name)
        transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(home / name)
    return home


def shaken(model: nn.Module) -> nn.Module:
    """Off its starting values, so that no bias of 0 and no scale of 1 hides a mistake."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.fixture(scope="session")
def make(request, folders) -> Callable[[str], Encoder]:
    """An encoder by the name of its case, each loaded once."""
    made: dict[str, Encoder] = {}

    def of(name: str) -> Encoder:
        if name not in made:
            kind, _, source = name.partition(" ")
            if source == "embedded":
                request.getfixturevalue("whisper_base")
            if source == "emotion2vec":
                source = str(request.getfixturevalue("emotion2vec"))
            where = str(folders / source) if (folders / source).is_dir() else source
            made[name] = getattr(encoders, f"{kind}_encoder")(
                EncoderConfig(where, 512 if source == "embedded" else WIDTH)
            )
        return made[name]

    return of


EVERY = (
    "semantic embedded",
    "emotion embedded",
    "semantic random",
    "emotion random",
    "semantic whisper",
    "semantic large",
    "emotion wav2vec2",
    "emotion wavlm",
    "emotion emotion2vec",
)
STRIDED = EVERY[-3:]  # a frame of theirs sees 400 samples, and none is added at the end


# --- preparing a recording -------------------------------------------------------------------


@pytest.mark.parametrize("hz", [8000, 16_000, 44_100])
@pytest.mark.parametrize("loudness", [0.02, 1.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_whatever_comes_in_leaves_at_16_khz_and_one_level(hz, loudness, channels):
    heard = np.stack([loudness * noise(1.0, hz).samples + 0.01] * channels, axis=1)
    prepared = prepare(audio.from_array(heard, hz))
    assert prepared.dtype == np.float32 and prepared.ndim == 1
    assert abs(len(prepared) - HZ) <= 1
    assert audio.dbfs(prepared) == pytest.approx(audio.SPEECH_DBFS, abs=0.01)
    assert abs(prepared.mean()) < 1e-4


def test_neither_gain_nor_offset_of_the_recorder_reaches_an_encoder(make):
    speech = audio.decode(EXAMPLES / "1-sad.wav")
    assert speech.hz != HZ  # so that it is resampled
    loud = Audio(speech.samples / np.abs(speech.samples).max(), speech.hz)
    quiet = Audio(loud.samples * np.float32(0.1) + np.float32(0.05), speech.hz)
    assert np.abs(prepare(loud) - prepare(quiet)).max() < 1e-4
    frames, _ = make("semantic random")([prepare(loud), prepare(quiet)])
    assert torch.allclose(frames[0], frames[1], atol=1e-3)


@pytest.mark.parametrize(
    ("samples", "code"),
    [
        (np.zeros(0), "silent"),
        (np.zeros(HZ), "silent"),
        (np.full(HZ, 0.3), "silent"),
        (noise(0.1).samples, "too-short"),
        (noise(60.1, 8000).samples, "too-long"),
        (np.array([np.nan] * HZ), "not-finite"),
    ],
)
def test_what_cannot_be_encoded_is_refused_by_name(samples, code):
    with pytest.raises(EmotionOmniError) as caught:
        prepare(Audio(samples.astype(np.float32), 8000 if code == "too-long" else HZ))
    assert caught.value.code == code


def test_an_encoder_wants_prepared_samples(make):
    for wrong in (
        recording(1).astype(np.float64),
        recording(1)[None],
        recording(1)[:100],
        recording(1) * np.float32(np.nan),
    ):
        with pytest.raises(ValueError, match=r"prepare\(\)"):
            make("semantic random")([wrong])


# --- promises of every encoder ---------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_frames_do_not_depend_on_who_else_is_in_the_batch(make, name):
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
def test_nothing_of_an_encoder_learns_and_its_frames_can_be_learnt_from(make, name):
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


# --- equal to their originals ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["whisper", "large"])
def test_whisper_over_its_full_30_s_equals_transformers_own(make, folders, name):
    ours, samples = make(f"semantic {name}"), recording(4.0)
    theirs = transformers.WhisperModel.from_pretrained(folders / name).eval()
    features = transformers.WhisperFeatureExtractor(feature_size=theirs.config.num_mel_bins)
    mel = features(samples, sampling_rate=HZ, return_tensors="pt")["input_features"]  # padded to 30 s
    padded = torch.from_numpy(np.pad(samples, (0, 30 * HZ - len(samples))))
    assert mel.shape == (1, theirs.config.num_mel_bins, 3000) and torch.equal(ours.log_mel(padded), mel)
    with torch.no_grad():
        assert torch.allclose(ours.encode(mel), theirs.encoder(mel).last_hidden_state, atol=1e-5)


def test_the_embedded_encoders_read_what_the_embedded_engine_reads(make, whisper_base):
    samples = recording(1.7)
    network = WhisperEncoder.load(whisper_base)
    states = network.hidden_states(samples)[:, : valid_frames(len(samples))]
    words, _ = make("semantic embedded")([samples])
    assert torch.equal(words[0], states[-1])
    head = SpeechEmotionHead.load(speech_emotion.SHIPPED, network)
    with torch.inference_mode():
        mixed = head.adapted.features(states[None, head.config.first], torch.ones(1, states.shape[1], dtype=torch.bool))
    tones, _ = make("emotion embedded")([samples])
    assert torch.equal(tones[0], mixed[0])


def test_the_same_weights_give_the_same_frames_by_either_path(make, whisper_base, tmp_path):
    """Whisper base of the embedded engine, saved as transformers would hold it: mel, crop and layers must all agree."""
    tensors = {name.removeprefix("encoder/"): value for name, value in read_ctranslate2(whisper_base).items()}
    config = transformers.WhisperConfig(
        d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048, num_mel_bins=80
    )
    config.architectures = ["WhisperModel"]
    config.save_pretrained(tmp_path)
    safetensors.torch.save_file(as_transformers(tensors), tmp_path / "model.safetensors", metadata={"format": "pt"})
    ours = encoders.semantic_encoder(EncoderConfig(str(tmp_path), 512))
    frames, _ = ours([recording(1.3)])
    expected, _ = make("semantic embedded")([recording(1.3)])
    assert torch.allclose(frames, expected, atol=2e-3) and expected.std() > 0.1


def as_transformers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The encoder of a CTranslate2 Whisper under the names of transformers."""
    named = {"model.encoder.embed_positions.weight": tensors["position_encodings/encodings"]}

    def put(name: str, at: str, weight: str = "weight", bias: str = "bias") -> None:
        named.update(
            {
                f"model.encoder.{name}.{kind}": tensors[f"{at}/{key}"]
                for kind, key in (("weight", weight), ("bias", bias))
            }
        )

    put("conv1", "conv1"), put("conv2", "conv2"), put("layer_norm", "layer_norm", "gamma", "beta")
    for index in range(6):
        here, there = f"layers.{index}", f"layer_{index}"
        put(f"{here}.self_attn_layer_norm", f"{there}/self_attention/layer_norm", "gamma", "beta")
        put(f"{here}.final_layer_norm", f"{there}/ffn/layer_norm", "gamma", "beta")
        put(f"{here}.self_attn.out_proj", f"{there}/self_attention/linear_1")
        put(f"{here}.fc1", f"{there}/ffn/linear_0"), put(f"{here}.fc2", f"{there}/ffn/linear_1")
        for kind in ("weight", "bias"):
            parts = tensors[f"{there}/self_attention/linear_0/{kind}"].chunk(3)
            named.update(
                {
                    f"model.encoder.{here}.self_attn.{letter}_proj.{kind}": part
                    for letter, part in zip("qkv", parts, strict=True)
                }
            )
        del named[f"model.encoder.{here}.self_attn.k_proj.bias"]  # Whisper's keys have none; CTranslate2 holds zeros
    return {name: value.float().contiguous() for name, value in named.items()}


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm"])
def test_an_encoder_like_wav2vec_gives_what_transformers_gives(make, folders, name):
    """Normalised where its own feature extractor says so, and only there."""
    samples = recording(1.5)
    features = transformers.AutoFeatureExtractor.from_pretrained(folders / name)(
        samples, sampling_rate=HZ, return_tensors="pt"
    )
    theirs = transformers.AutoModel.from_pretrained(folders / name).eval()
    with torch.no_grad():
        expected = theirs(features["input_values"]).last_hidden_state
    frames, _ = make(f"emotion {name}")([samples])
    assert torch.allclose(frames, expected, atol=1e-5)


def test_random_encoders_are_the_same_every_time_and_leave_chance_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, other = (encoders.semantic_encoder(EncoderConfig("random", WIDTH)) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert one.identity == other.identity != encoders.emotion_encoder(EncoderConfig("random", WIDTH)).identity
    assert torch.equal(one([recording(0.5)])[0], other([recording(0.5)])[0])


# --- configuration and weights ---------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("kind", "name", "lost"),
    [("semantic", "whisper", "layers.1.fc1.weight"), ("emotion", "wav2vec2", "layers.1.layer_norm")],
)
def test_weights_that_are_missing_are_not_made_up(folders, tmp_path, kind, name, lost):
    tensors = safetensors.torch.load_file(folders / name / "model.safetensors")
    kept = {key: value for key, value in tensors.items() if not ("encoder" in key and lost in key)}
    assert 0 < len(kept) < len(tensors)
    for file in (folders / name).glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    safetensors.torch.save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EmotionOmniError, match=r"lacks \d+ tensors") as caught:
        getattr(encoders, f"{kind}_encoder")(EncoderConfig(str(tmp_path), WIDTH))
    assert caught.value.code == "weights"


def test_pickled_weights_are_not_read(folders, tmp_path):
    for file in (folders / "whisper").glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(safetensors.torch.load_file(folders / "whisper" / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(EmotionOmniError, match="safetensors") as caught:
        encoders.semantic_encoder(EncoderConfig(str(tmp_path), WIDTH))
    assert caught.value.code == "weights"


def test_a_broken_file_or_line_is_told_in_a_sentence(folders, tmp_path, monkeypatch):
    for file in (folders / "whisper").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: -100 if file.suffix == ".safetensors" else None])
    with pytest.raises(EmotionOmniError, match="cannot be loaded") as caught:
        encoders.semantic_encoder(EncoderConfig(str(tmp_path), WIDTH))
    assert caught.value.code == "weights"

    def broken(*given, **named):
        raise HTTPError("the line broke")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", broken)
    with pytest.raises(EmotionOmniError, match="'me/mine' cannot be loaded: the line broke") as caught:
        encoders.semantic_encoder(EncoderConfig("me/mine", WIDTH))
    assert caught.value.code == "weights"


def test_the_identity_follows_the_weights_and_not_the_folder(folders, tmp_path):
    first = encoders.semantic_encoder(EncoderConfig(str(folders / "whisper"), WIDTH)).identity
    for file in (folders / "whisper").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert encoders.semantic_encoder(EncoderConfig(str(tmp_path), WIDTH)).identity == first
    tensors = safetensors.torch.load_file(tmp_path / "model.safetensors")
    tensors["model.encoder.conv1.bias"] += 1
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert encoders.semantic_encoder(EncoderConfig(str(tmp_path), WIDTH)).identity != first


def test_a_pinned_revision_is_read_from_the_hub_and_named_in_the_identity(folders, tmp_path, monkeypatch):
    """Against the hub client's own cache, filled by hand: two commits of one repository, without a network."""
    commits = {"v1": "1" * 40, "main": "2" * 40}
    repository = tmp_path / "models--someone--whisper-tiny"
    for (revision, commit), name in zip(commits.items(), ("whisper", "large"), strict=True):
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
        (repository / "snapshots" / commit).mkdir(parents=True)
        for file in (folders / name).iterdir():
            (repository / "snapshots" / commit / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name, revision, mels in (("someone/whisper-tiny@v1", "v1", 80), ("someone/whisper-tiny", "main", 128)):
        encoder = encoders.semantic_encoder(EncoderConfig(name, WIDTH))
        assert encoder.network.config.num_mel_bins == mels
        assert f"someone/whisper-tiny@{commits[revision]}" in encoder.identity
    with pytest.raises(EmotionOmniError, match="nobody/nothing.*name a folder") as caught:
        encoders.semantic_encoder(EncoderConfig("nobody/nothing", WIDTH))
    assert caught.value.code == "weights"


# --- emotion2vec, where its package is installed ---------------------------------------------


def test_without_its_package_emotion2vec_says_what_to_install(monkeypatch):
    for name in ["funasr", *(name for name in sys.modules if name.startswith("funasr."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EmotionOmniError, match="pip install funasr") as caught:
        encoders.emotion_encoder(EncoderConfig("iic/emotion2vec_base", 768))
    assert caught.value.code == "missing-package"


EMOTION2VEC = {
    "depth": 2,
    "num_heads": 2,
    "embed_dim": WIDTH,
    "norm_eps": 1e-5,
    "norm_affine": True,
    "mlp_ratio": 2.0,
    "normalize": True,
    "encoder_dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "post_mlp_drop": 0.1,
    "dropout_input": 0.0,
    "layerdrop": 0.05,
    "layer_norm_first": False,
    "end_of_block_targets": False,
    "average_top_k_layers": 2,
    "clone_batch": 1,
    "start_drop_path_rate": 0.0,
    "end_drop_path_rate": 0.0,
    "modalities": {
        "audio": {
            "feature_encoder_spec": "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] + [(16, 2, 2)]",
            "extractor_mode": "layer_norm",
            "conv_pos_width": 15,
            "conv_pos_groups": 4,
            "conv_pos_depth": 2,
            "conv_pos_pre_ln": False,
            "prenet_depth": 1,
            "prenet_layerdrop": 0.05,
            "prenet_dropout": 0.1,
            "start_drop_path_rate": 0.0,
            "end_drop_path_rate": 0.0,
            "num_extra_tokens": 3,
            "init_extra_token_zero": True,
            "local_grad_mult": 1.0,
            "model_depth": 2,
            "num_alibi_heads": 2,
            "use_alibi_encoder": True,
            "alibi_scale": 1.0,
            "learned_alibi": False,
            "alibi_max_pos": None,
            "learned_alibi_scale": True,
            "learned_alibi_scale_per_head": True,
            "learned_alibi_scale_per_layer": False,
            "mask_prob": 0.5,
            "mask_prob_min": None,
            "mask_length": 5,
            "mask_dropout": 0.0,
            "mask_noise_std": 0.01,
            "inverse_mask": False,
            "add_masks": False,
            "encoder_zero_mask": True,
            "keep_masked_pct": 0.0,
            "mask_channel_prob": 0.0,
            "mask_channel_length": 64,
            "decoder": {
                "decoder_dim": 16,
                "decoder_groups": 4,
                "decoder_kernel": 7,
                "decoder_layers": 2,
                "input_dropout": 0.1,
                "add_positions_masked": False,
                "add_positions_all": False,
                "decoder_residual": True,
                "projection_layers": 1,
                "projection_ratio": 2.0,
            },
        }
    },
}


@pytest.fixture(scope="session")
def emotion2vec(tmp_path_factory) -> Path:
    """A thin emotion2vec with random weights in a folder like the published ones."""
    package = pytest.importorskip(
        "funasr.models.emotion2vec.model", reason="funasr is not installed (pip install funasr)"
    )
    folder = tmp_path_factory.mktemp("hub") / "emotion2vec_thin"
    folder.mkdir()
    (folder / "config.yaml").write_text(json.dumps({"model": "Emotion2vec", "model_conf": EMOTION2VEC}))  # JSON is YAML
    (folder / "configuration.json").write_text(
        json.dumps({"file_path_metas": {"init_param": "weights.pt", "config": "config.yaml"}})
    )
    torch.manual_seed(0)
    torch.save({"model": shaken(package.Emotion2vec(model_conf=EMOTION2VEC)).state_dict()}, folder / "weights.pt")
    return folder


def test_emotion2vec_gives_what_its_package_gives(make, emotion2vec):
    from funasr import AutoModel

    theirs = AutoModel(
        model=str(emotion2vec),
        hub="hf",
        device="cpu",
        ncpu=1,
        disable_update=True,
        disable_pbar=True,
        log_level="ERROR",
    )
    samples = recording(1.4)
    (expected,) = theirs.generate(samples, granularity="frame", extract_embedding=True)
    frames, _ = make("emotion emotion2vec")([samples])
    assert torch.allclose(frames[0], torch.from_numpy(expected["feats"]), atol=1e-6)


def test_emotion2vec_is_filled_from_its_file_or_refused(emotion2vec, tmp_path):
    folder = tmp_path / "emotion2vec"
    folder.mkdir()
    (folder / "config.yaml").write_bytes((emotion2vec / "config.yaml").read_bytes())
    tensors = torch.load(emotion2vec / "weights.pt", weights_only=True)["model"]
    torch.save({name: value for name, value in tensors.items() if "blocks.1" not in name}, folder / "model.pt")
    with pytest.raises(EmotionOmniError, match=r"lacks \d+ tensors, blocks\.1"):
        encoders.emotion_encoder(EncoderConfig(str(folder), WIDTH))
    torch.save({name: value for name, value in tensors.items() if ".decoder." not in name}, folder / "model.pt")
    assert (
        encoders.emotion_encoder(EncoderConfig(str(folder), WIDTH)).width == WIDTH
    )  # the decoder is of its pretraining


def test_a_configuration_of_emotion2vec_is_never_run_as_code(emotion2vec, tmp_path):
    folder, proof = tmp_path / "emotion2vec", tmp_path / "ran"
    folder.mkdir()
    settings = json.loads((emotion2vec / "config.yaml").read_text())
    settings["model_conf"]["modalities"]["audio"]["feature_encoder_spec"] = (
        f"[(16, 10, 5)] + list(open({str(proof)!r}, 'w'))"
    )
    (folder / "config.yaml").write_text(json.dumps(settings))
    with pytest.raises(EmotionOmniError, match="no list of numbers") as caught:
        encoders.emotion_encoder(EncoderConfig(str(folder), WIDTH))
    assert caught.value.code == "weights" and not proof.exists()
