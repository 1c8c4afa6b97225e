"""Cascade files: what they may hold, and what an error says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from emotion_omni.cascade import config as module
from emotion_omni.cascade import parts, presets
from emotion_omni.cascade.config import CascadeConfig
from emotion_omni.cascade.engine import CascadeEngine
from emotion_omni.recognition.config import (
    Emotion2vecConfig,
    SpeechEmotionConfig,
    TranscriberConfig,
    TransformersEmotionConfig,
    WhisperHFConfig,
)
from emotion_omni.response.config import (
    OpenAIResponderConfig,
    PlannerConfig,
    Qwen2Config,
    RerankedConfig,
    SmolLM2Config,
    TransformersResponderConfig,
)
from emotion_omni.types import EmotionOmniError

README = Path(module.__file__).with_name("README.md")


def pinned(config: CascadeConfig) -> list[str]:
    """The revisions of all models of the hub in a configuration."""
    found = []
    if isinstance(config.recognizer, WhisperHFConfig):
        found.append(config.recognizer.transcriber.revision)
        if isinstance(config.recognizer.emotion, Emotion2vecConfig):
            found.append(config.recognizer.emotion.revision)
    if isinstance(config.responder, TransformersResponderConfig):
        found.append(config.responder.revision)
    return found


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_survives_json_and_yaml_and_is_pinned(name, tmp_path):
    config = presets.preset(name)
    assert CascadeConfig.from_json(config.to_json()) == config
    (tmp_path / "mine.yaml").write_text(config.to_json())  # JSON is YAML
    assert CascadeConfig.read(tmp_path / "mine.yaml") == config
    assert all(len(revision) == 40 for revision in pinned(config))


def test_the_defaults_are_the_embedded_engine(tmp_path):
    (tmp_path / "one.yaml").write_text("synthesizer: {kind: kokoro}")
    assert CascadeConfig.read(tmp_path / "one.yaml") == replace(presets.embedded(), device="auto")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    with pytest.raises(EmotionOmniError, match="empty.yaml is empty"):
        CascadeConfig.read(tmp_path / "empty.yaml")


@pytest.mark.parametrize(("name", "text"), [("one.yaml", "synthesizer: {kind: kokoro}  # é"), ("one.json", "{}")])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_file_is_read_in_the_encodings_of_other_programs(tmp_path, name, text, encoding):
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert CascadeConfig.read(tmp_path / name) == replace(presets.embedded(), device="auto")
    (tmp_path / name).write_bytes(text.encode() + b"\x81\xfe\xff")
    with pytest.raises(EmotionOmniError, match=f"{name}' cannot be read: it is "):
        CascadeConfig.read(tmp_path / name)


def test_a_file_chooses_parts_by_kind(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "recognizer:\n  kind: whisper-hf\n  transcriber: {name: openai/whisper-tiny}\n"
        "  emotion: {kind: transformers, name: me/classifier}\n"
        "responder:\n  kind: openai\n  base_url: http://127.0.0.1:1/v1\n  model: mine\n  temperature: 1e-05\n"
        "device: cpu\n"
    )
    found = CascadeConfig.read(tmp_path / "mine.yaml")
    assert found == CascadeConfig(
        WhisperHFConfig(
            "whisper-hf", TranscriberConfig("openai/whisper-tiny", ""), TransformersEmotionConfig("me/classifier")
        ),
        PlannerConfig(),
        OpenAIResponderConfig("http://127.0.0.1:1/v1", "mine", temperature=1e-5),
        device="cpu",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recogniser: {kind: whisper-ct2}", r"Unknown setting 'recogniser'.*Did you mean 'recognizer'"),
        (
            "responder: {kind: smolm2}",
            r"responder\.kind is 'smolm2'; .*'smollm2', 'qwen2', 'reranked', 'transformers', 'openai'.*mean 'smollm2'",
        ),
        ("responder: {name: me/mine}", r"'responder\.kind' is missing.*smollm2, qwen2, reranked, transformers, openai"),
        ("responder: smollm2", r"responder is 'smollm2'; it must be an object"),
        ("responder: {kind: [smollm2]}", r"responder\.kind is \['smollm2'\]"),
        ("responder: {kind: transformers, top_p: 1.5}", r"top_p is 1\.5; it must be from 0 to 1"),
        ("responder: {kind: transformers, max_new_tokens: 0}", r"max_new_tokens is 0; it must be greater than 0"),
        ("responder: {kind: transformers, temperature: -1.0}", r"temperature is -1\.0; it must be 0 or more"),
        ("responder: {kind: transformers, four_bit: 'yes'}", r"four_bit is 'yes'; it must be true or false"),
        ("responder: {kind: openai, model: m}", r"'responder\.base_url' is missing"),
        ("responder: {kind: openai, model: m, base_url: localhost}", r"base_url is 'localhost'; .*http://"),
        (
            "responder: {kind: openai, model: m, base_url: 'http://a', api_key: sk}",
            r"'responder\.api_key'.*Did you mean 'api_key_env'",
        ),
        ("recognizer: {kind: whisper-hf, emotion: {kind: transformers}}", r"'recognizer\.emotion\.name' is missing"),
        ("recognizer: {kind: whisper-hf, emotion: {kind: funasr}}", r"emotion\.kind is 'funasr'; .*'emotion2vec'"),
        ("recognizer: {kind: whisper-hf, transcriber: {dtype: int8}}", r"dtype is 'int8'; .*'float16'"),
        ("planner: {news: guards}", r"news is 'guards'; .*'guard', 'none'"),
        ("- responder", r"The configuration is \['responder'\]; it must be an object"),
        ("device: cpu\nresponder: {kind: smollm2", r"mine\.yaml line 2 is not valid YAML"),
        ("device: cpu\ndevice: cuda", r"mine\.yaml line 2 is not valid YAML: 'device' is given twice"),
        ("device: !!python/name:os.system {}", r"mine\.yaml line 1 is not valid YAML"),
        ("device: cp\x00u", r"mine\.yaml is not valid YAML"),
    ],
)
def test_a_fault_of_a_file_is_named_with_what_is_allowed(tmp_path, text, words):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(EmotionOmniError, match=re.compile(words, re.S)) as caught:
        CascadeConfig.read(tmp_path / "mine.yaml")
    assert caught.value.code == "config" and str(tmp_path) not in str(caught.value)


def test_a_fault_of_json_has_its_line_and_a_missing_file_is_told(tmp_path):
    (tmp_path / "mine.json").write_text('{\n"device": cpu}')
    with pytest.raises(EmotionOmniError, match=r"mine\.json line 2 is not valid JSON"):
        CascadeConfig.read(tmp_path / "mine.json")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("absent.yaml", "binary.yaml"):
        with pytest.raises(EmotionOmniError, match=rf"'{name}' cannot be read"):
            CascadeConfig.read(tmp_path / name)


def test_the_environment_names_a_preset_or_a_file(monkeypatch, tmp_path):
    monkeypatch.delenv(presets.VARIABLE, raising=False)
    with pytest.raises(EmotionOmniError, match="needs a file.*EMOTION_OMNI_CASCADE"):
        presets.find()
    monkeypatch.setenv(presets.VARIABLE, "hub:light")
    assert presets.find() == ("hub:light", presets.hub_light())
    (tmp_path / "mine.yml").write_text("device: cpu")
    monkeypatch.setenv(presets.VARIABLE, str(tmp_path / "mine.yml"))
    assert presets.find() == ("cascade:mine", CascadeConfig(device="cpu"))
    monkeypatch.setenv(presets.VARIABLE, "hub:lihgt")
    with pytest.raises(EmotionOmniError, match="'hub:lihgt' is neither.*hub, hub:light.*mean 'hub:light'"):
        presets.find()


@pytest.mark.parametrize("part", ["transcriber", "emotion", "responder"])
def test_another_model_is_not_asked_for_the_commit_of_the_default_one(part):
    written = json.loads(presets.hub().to_json())
    place = written if part == "responder" else written["recognizer"]
    place[part] |= {"name": "me/mine"}  # only the name was edited
    given = CascadeConfig.from_json(json.dumps(written))
    assert sorted(pinned(given)) == sorted(
        "" if revision == place[part]["revision"] else revision for revision in pinned(presets.hub())
    )
    assert CascadeConfig.from_json(given.to_json()) == given
    place[part]["revision"] = "v2"
    assert "v2" in pinned(CascadeConfig.from_json(json.dumps(written)))


def test_reading_the_configuration_loads_no_torch():
    code = (
        "import sys, emotion_omni.cascade.presets as c, emotion_omni.cascade.old_hub as o\n"
        "c.preset('hub:light'), o.find(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


PACKAGES = {
    "funasr": {"recognizer": WhisperHFConfig()},
    "bitsandbytes": {"responder": TransformersResponderConfig(four_bit=True)},
}


@pytest.mark.parametrize(("package", "part"), PACKAGES.items())
def test_a_package_that_is_missing_is_found_before_anything_is_loaded(monkeypatch, package, part):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(parts, "load_synthesizer", lambda *given: pytest.fail("a model was loaded"))
    with pytest.raises(EmotionOmniError, match=f"pip install {package}") as caught:
        CascadeEngine.load(replace(presets.hub_light(), device="cpu", **part))
    assert caught.value.code == "missing-package"


@pytest.mark.parametrize("number", range(3))
def test_every_example_of_the_readme_is_a_cascade(number, tmp_path):
    examples = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert len(examples) == 3
    (tmp_path / "mine.yaml").write_text(examples[number])
    CascadeConfig.read(tmp_path / "mine.yaml")


def test_embedded_takes_the_weights_of_single_parts_from_a_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(EmotionOmniError, match=r"'mine'.*holds none of speech_emotion\.safetensors") as caught:
        presets.embedded_with(str(tmp_path / "mine"))
    assert caught.value.code == "checkpoint" and str(tmp_path) not in str(caught.value)
    for name in ("speech_emotion", "responder", "guard", "g2p", "crisis", "kokoro_directions"):
        (tmp_path / "mine" / f"{name}.safetensors").touch()
    (tmp_path / "mine" / "prosody.json").touch()
    shown, config = presets.embedded_with(str(tmp_path / "mine"))
    assert shown == "embedded:mine"
    assert Path(config.recognizer.weights) == tmp_path / "mine" / "speech_emotion.safetensors"
    assert config.responder == SmolLM2Config(weights=str(tmp_path / "mine" / "responder.safetensors"))
    assert config.planner.weights.endswith("guard.safetensors") and config.synthesizer.g2p.endswith("g2p.safetensors")
    assert config.crisis.endswith("crisis.safetensors") and config.synthesizer.prosody.endswith("prosody.json")
    assert config.synthesizer.directions.endswith("kokoro_directions.safetensors")
    (tmp_path / "mine" / "reranker.safetensors").touch()
    reranked = presets.embedded_with(str(tmp_path / "mine"))[1].responder
    assert isinstance(reranked, RerankedConfig) and reranked.reranker.endswith("reranker.safetensors")
    assert reranked.weights.endswith("responder.safetensors") and reranked.bank == ""
    (tmp_path / "mine" / "qwen2_responder.safetensors").touch()
    large = presets.embedded_with(str(tmp_path / "mine"))[1].responder
    assert isinstance(large, Qwen2Config) and large.weights.endswith("qwen2_responder.safetensors")
    assert large.reranker.endswith("reranker.safetensors")
    (tmp_path / "mine" / "guard.safetensors").unlink()
    assert presets.embedded_with(str(tmp_path / "mine"))[1].planner == PlannerConfig()


def test_only_what_uses_a_gpu_borrows_one():
    assert not presets.embedded().uses_device and presets.hub().uses_device and presets.hub_light().uses_device
    served = OpenAIResponderConfig("http://127.0.0.1:1/v1", "mine")
    assert not replace(presets.embedded(), responder=served).uses_device
    assert replace(presets.embedded(), recognizer=WhisperHFConfig(emotion=SpeechEmotionConfig())).uses_device
