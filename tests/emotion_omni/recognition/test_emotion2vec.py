"""emotion2vec against its own package; what a foreign configuration may not do."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import noise

from emotion_omni import emotion
from emotion_omni.recognition.config import Emotion2vecConfig
from emotion_omni.recognition.emotion2vec import Emotion2vec, _settings
from emotion_omni.recognition.utterance import Utterance
from emotion_omni.recognition.whisper_hf import load_classifier
from emotion_omni.types import EmotionOmniError

CPU = torch.device("cpu")


def test_without_funasr_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "funasr", None)
    with pytest.raises(EmotionOmniError, match="pip install funasr.*speech-emotion") as caught:
        load_classifier(Emotion2vecConfig(), CPU)
    assert caught.value.code == "missing-package"


def copied(folder, place, model=None, **settings):
    """The emotion2vec of ``folder`` with some of its settings, or its weights, exchanged."""
    shutil.copytree(folder, place)
    given = json.loads((folder / "config.yaml").read_text())
    given["model_conf"]["modalities"]["audio"].update(settings)
    (place / "config.yaml").write_text(json.dumps(given))
    if model:
        torch.save(model, place / "model.pt")
    return Emotion2vecConfig(str(place), "")


def test_emotion2vec_believes_what_its_package_believes(emotion2vec):
    from funasr import AutoModel

    threads = torch.get_num_threads()
    theirs = AutoModel(
        model=str(emotion2vec), device="cpu", ncpu=threads, disable_update=True, disable_pbar=True, log_level="ERROR"
    )
    ours = Emotion2vec.load(str(emotion2vec), head=True)
    for seconds in (3.0, 0.7):
        samples = noise(seconds, level=0.2, seed=3).samples
        (expected,) = theirs.generate(samples, granularity="utterance", extract_embedding=False)
        assert ours.used == expected["labels"] == ["生气/angry", "开心/happy", "中立/neutral", "难过/sad", "<unk>"]
        assert ours.probabilities(torch.from_numpy(samples)).tolist() == pytest.approx(expected["scores"], abs=1e-6)
    belief, trajectory, _ = load_classifier(Emotion2vecConfig(str(emotion2vec), ""), CPU).classify(
        Utterance.of(samples, 0.0)
    )
    angry, happy, neutral, sad, unknown = expected["scores"]
    wanted = {"angry": angry, "happy": happy, "neutral": neutral + unknown, "sad": sad}
    assert belief.probabilities == pytest.approx({name: wanted.get(name, 0.0) for name in emotion.NAMES}, abs=1e-6)
    assert len(trajectory) == 1


def test_loading_emotion2vec_leaves_the_process_as_it_was(emotion2vec, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda number: pytest.fail("the threads were set"))
    expected = torch.random.get_rng_state()
    load_classifier(Emotion2vecConfig(str(emotion2vec), ""), CPU)
    assert torch.equal(torch.random.get_rng_state(), expected)


def test_a_configuration_of_emotion2vec_that_holds_code_is_not_run(emotion2vec, tmp_path):
    for number, code in enumerate(
        (f"[(16, 10, 5)] + list(open({str(tmp_path / 'ran')!r}, 'w'))", "[(16, 10, 5)] * 9 ** 9 ** 9")
    ):
        with pytest.raises(EmotionOmniError, match="not a list of numbers") as caught:
            load_classifier(copied(emotion2vec, tmp_path / str(number), feature_encoder_spec=code), CPU)
        assert caught.value.code == "weights" and not (tmp_path / "ran").exists()


SECRET = "hf_nobodyshouldreadthis"


REFERENCES = (
    "${oc.env:HF_TOKEN}",
    "[(16, 10, 5)] + ${oc.env:HF_TOKEN}",
    "\\x24{oc.env:HF_TOKEN}",
)  # the last one: an escape of YAML


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_configuration_of_emotion2vec_cannot_tell_a_secret_of_the_environment(tmp_path, monkeypatch, reference):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    (tmp_path / "config.yaml").write_text(
        f'model_conf: {{modalities: {{audio: {{feature_encoder_spec: "{reference}"}}}}}}'
    )
    with pytest.raises(ValueError, match="no reference is followed") as caught:
        _settings(tmp_path)
    assert SECRET not in str(caught.value)


def test_neither_code_nor_a_reference_reaches_the_error_of_a_recognizer(emotion2vec, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    for number, text in enumerate(("${oc.env:HF_TOKEN}", "my own words")):
        with pytest.raises(EmotionOmniError, match=r"Its config\.yaml refers|not a list of numbers") as caught:
            load_classifier(copied(emotion2vec, tmp_path / str(number), feature_encoder_spec=text), CPU)
        assert (
            caught.value.code == "weights"
            and SECRET not in str(caught.value)
            and "my own words" not in str(caught.value)
        )


NO_SETTINGS = (
    "",
    "{}",
    "- model_conf",
    "model_conf: [",
    "model_conf: 7",
    "model_conf: !!python/name:os.system {}",
    "? [a]\n: b",
)


@pytest.mark.parametrize("text", NO_SETTINGS)
def test_a_configuration_that_describes_no_emotion2vec_is_refused(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"Its config\.yaml"):
        _settings(tmp_path)


def test_a_configuration_of_emotion2vec_is_read_as_its_authors_write_it(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "model_conf:\n    norm_eps: 1e-05\n    loss_scale: null\n    normalize: true\n    depth: 8\n"
    )
    assert _settings(tmp_path) == {"norm_eps": 1e-5, "loss_scale": None, "normalize": True, "depth": 8}


def test_settings_that_make_no_network_are_refused(emotion2vec, tmp_path):
    for number, spec in enumerate(("((((", "[]", [[16, 10, 5]], None)):
        with pytest.raises(EmotionOmniError, match=r"describes no emotion2vec") as caught:
            load_classifier(copied(emotion2vec, tmp_path / str(number), feature_encoder_spec=spec), CPU)
        assert caught.value.code == "weights"


def test_loading_emotion2vec_prints_nothing_where_json_goes(emotion2vec):
    code = (
        "import sys; from emotion_omni.recognition.emotion2vec import Emotion2vec\n"
        "Emotion2vec.load(sys.argv[1], head=True)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(emotion2vec)], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_an_emotion2vec_without_its_head_is_refused_rather_than_given_a_random_one(emotion2vec, tmp_path):
    tensors = torch.load(emotion2vec / "model.pt", weights_only=True)["model"]
    headless = {name: tensor for name, tensor in tensors.items() if not name.startswith("proj.")}
    other = tensors | {"proj.weight": torch.ones(9, 16)}
    cases = (
        ("headless", headless, r"lacks 2 tensors, proj\."),
        ("other", other, r"proj\.weight is \[9, 16\].*\[6, 16\]"),
    )
    for name, model, words in cases:
        with pytest.raises(EmotionOmniError, match=words) as caught:
            load_classifier(copied(emotion2vec, tmp_path / name, {"model": model}), CPU)
        assert caught.value.code == "weights"
    nameless = copied(emotion2vec, tmp_path / "nameless")
    (tmp_path / "nameless" / "tokens.txt").unlink()
    with pytest.raises(EmotionOmniError, match=r"no tokens\.txt.*emotion2vec\+"):
        load_classifier(nameless, CPU)
