"""What a Space downloads ahead."""

from __future__ import annotations

import dataclasses
import hashlib
import logging

from model_hub import QWEN
from tiny_checkpoints import (
    ROOT,
    front_matter,
)

from emotion_omni import checkpoint
from emotion_omni.omni.config import OmniConfig


def test_a_space_fetches_the_papers_models_ahead_pinned(hub, monkeypatch, caplog):
    monkeypatch.delenv("HF_TOKEN")
    paper = dataclasses.replace(OmniConfig.preset("paper"), voice="codec")
    with caplog.at_level(logging.WARNING):
        lines = checkpoint.preload(paper)
    whisper, qwen = (
        hashlib.sha1(base.name.partition("@")[2].encode()).hexdigest()
        for base in (paper.semantic, paper.language_model)
    )
    assert lines == [
        f"openai/whisper-large-v3 config.json,model.safetensors,preprocessor_config.json {whisper}",
        f"Qwen/Qwen2.5-7B-Instruct {','.join(QWEN)} {qwen}",
    ]
    assert "iic/emotion2vec_base is not on the hub" in caplog.text
    pinned = dataclasses.replace(paper.emotion, name="emotion2vec/emotion2vec_base@abc")
    _, line, _ = checkpoint.preload(dataclasses.replace(paper, emotion=pinned))
    files = "config.yaml,configuration.json,emotion2vec_base.pt"
    assert line == f"emotion2vec/emotion2vec_base {files} {hashlib.sha1(b'abc').hexdigest()}"


def test_the_line_of_our_own_parts_is_the_one_in_the_readme():
    (line,) = checkpoint.preload(OmniConfig.preset("small"))
    head = front_matter((ROOT / "README.md").read_text())
    assert line in head["preload_from_hub"]
    assert checkpoint.preload(OmniConfig.preset("tiny")) == []
