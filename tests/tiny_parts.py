"""Tiny random models of every part of a cascade, saved and loaded as the large ones are. No network, no GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from tiny_encoders import EMOTION2VEC, shaken

from emotion_omni.cascade.config import CascadeConfig
from emotion_omni.omni.language_model import byte_tokenizer
from emotion_omni.recognition.config import TranscriberConfig, TransformersEmotionConfig, WhisperHFConfig
from emotion_omni.response.config import PlannerConfig, TransformersResponderConfig
from emotion_omni.synthesis.config import KokoroConfig

LABELS = ("ang", "hap", "neu", "sad", "boredom")
LETTERS = "abcdefghijklmnopqrstuvwxyz .,"


def save_all(folder: Path) -> Path:
    """A Whisper, an emotion classifier and a language model over bytes, each as save_pretrained leaves it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_whisper(folder / "whisper")
        save_classifier(folder / "classifier")
        save_language_model(folder / "responder")
    return folder


def config(folder: Path) -> CascadeConfig:
    """The cascade of :func:`save_all`'s models, spoken by Kokoro."""
    transcriber = TranscriberConfig(str(folder / "whisper"), "")
    return CascadeConfig(
        WhisperHFConfig("whisper-hf", transcriber, TransformersEmotionConfig(str(folder / "classifier"))),
        PlannerConfig("none"),
        TransformersResponderConfig(str(folder / "responder"), "", max_new_tokens=8),
        KokoroConfig(),
        "cpu",
    )


def save_whisper(folder) -> None:
    tokenizer = byte_tokenizer()
    marks = (
        "<|endoftext|>",
        "<|startoftranscript|>",
        "<|en|>",
        "<|de|>",
        "<|transcribe|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    )
    tokenizer.add_tokens(list(marks), special_tokens=True)
    vocabulary = tokenizer.get_vocab()
    shape = transformers.WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_source_positions=150,
        max_target_positions=64,
        num_mel_bins=8,
        decoder_start_token_id=vocabulary["<|startoftranscript|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        init_std=0.3,
        bos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
    )
    model = transformers.WhisperForConditionalGeneration(shape)
    spoken = {vocabulary[letter.replace(" ", "Ġ")] for letter in LETTERS} | {vocabulary["<|endoftext|>"]}
    model.generation_config.suppress_tokens = [token for token in range(len(tokenizer)) if token not in spoken]
    model.generation_config.begin_suppress_tokens = [vocabulary["Ġ"], vocabulary["<|endoftext|>"]]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=3).save_pretrained(folder)


def save_classifier(folder) -> None:
    shape = transformers.Wav2Vec2Config(
        vocab_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_kernel=(10, 8),
        conv_stride=(10, 32),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    model = transformers.Wav2Vec2ForSequenceClassification(shape)
    model.classifier.weight.data *= 20
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)


def save_language_model(folder) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<tool_call>"])  # added, but not marked as special, as Qwen2.5 has some
    shape = transformers.Qwen2Config(
        vocab_size=len(tokenizer) + 5,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
        initializer_range=0.3,
    )
    model = transformers.Qwen2ForCausalLM(shape)
    letters = [tokenizer.get_vocab()[letter.replace(" ", "Ġ")] for letter in LETTERS]
    head = torch.zeros_like(model.lm_head.weight)
    head[letters] = torch.randn(len(letters), head.shape[1])
    model.lm_head.weight.data = head
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_emotion2vec(folder: Path) -> Path:
    """A thin emotion2vec with a head, as the published ones were tuned and saved: without its pretraining's weights."""
    package = pytest.importorskip(
        "funasr.models.emotion2vec.model", reason="funasr is not installed (pip install funasr)"
    )
    labels = ["生气/angry", "unuse_0", "开心/happy", "中立/neutral", "难过/sad", "<unk>"]
    (folder / "tokens.txt").write_text("\n".join(labels), encoding="utf-8")
    tokenizer = {
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>"},
        "scope_map": ["d2v_model.", "none"],
    }
    (folder / "config.yaml").write_text(json.dumps({"model": "Emotion2vec", "model_conf": EMOTION2VEC, **tokenizer}))
    files = {"init_param": "model.pt", "config": "config.yaml", "tokenizer_conf": {"token_list": "tokens.txt"}}
    (folder / "configuration.json").write_text(json.dumps({"file_path_metas": files}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tensors = shaken(package.Emotion2vec(model_conf=EMOTION2VEC, vocab_size=len(labels))).state_dict()
    kept = {name: tensor for name, tensor in tensors.items() if ".decoder." not in name}
    saved = {name if name.startswith("proj.") else f"d2v_model.{name}": tensor for name, tensor in kept.items()}
    torch.save({"model": saved}, folder / "model.pt")
    return folder
