"""The benchmark of the end-to-end model: it measures what it says, on the size that fits a test."""

from __future__ import annotations

import json

import pytest
import torch

from emotion_omni.evaluate import omni_cost
from emotion_omni.omni.config import OmniConfig
from emotion_omni.synthesis import codec


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:  # a short vector's speed is as good as a long one's here
        patch.setitem(omni_cost.READ_BYTES, "cpu", 2**22)
        patch.setattr(codec.CodecVocoder, "load", classmethod(lambda cls, *_: cls.random(1024, 0)))
        yield omni_cost.Bench.load(OmniConfig.preset("tiny"), torch.device("cpu"), compiled=False)


@pytest.mark.slow
def test_the_report_is_complete_and_can_be_saved_and_read(monkeypatch):
    monkeypatch.setitem(omni_cost.READ_BYTES, "cpu", 2**22)
    monkeypatch.setattr(omni_cost, "AT_ONCE", (1, 2))
    monkeypatch.setattr(codec.CodecVocoder, "load", classmethod(lambda cls, *_: cls.random(1024, 0)))
    report = omni_cost.measure(OmniConfig.preset("tiny"), "tiny", runs=2, device="cpu")
    assert json.loads(json.dumps(report)) == report and "nan" not in json.dumps(report).lower()
    assert set(report["stages_p50"]) == {
        "prepare",
        "encode_words",
        "encode_tone",
        "prefill",
        "first_text",
        "speech_tokens",
        "vocoder",
    }
    for name in ("text_decoding", "speech_decoding"):
        assert report[name]["times_the_floor"] == pytest.approx(
            report[name]["ms_per_token"] / report[name]["floor_ms"], rel=0.2
        )
    assert set(report["at_once"]) == {"1", "2"} and "first sound" in omni_cost.as_text(report)


def test_a_turns_stages_add_up_to_its_first_sound(bench):
    turn = bench.turn(0)
    assert turn.pop("first_audio") == pytest.approx(sum(turn.values())) and min(turn.values()) > 0


def test_shared_weights_are_read_once_and_a_table_that_is_looked_up_is_not(bench):
    causal = bench.model.causal_lm
    assert (
        causal.config.tie_word_embeddings
        and causal.get_output_embeddings().weight is causal.get_input_embeddings().weight
    )
    own = {value.data_ptr(): value.numel() * 4 for value in causal.parameters()}
    rows = bench.text_bytes() - sum(own.values())
    assert 0 < rows < 2 * 2 * 16 * 4 * 200, "keys and values of two layers with one head of 16, for fewer than 200 rows"
    layer = torch.nn.Linear(3, 5)
    assert omni_cost.size_of(torch.nn.ModuleList([layer, layer])) == (15 + 5) * 4


def test_percentiles_are_nearest_rank():
    assert [omni_cost.percentile([3.0, 1.0, 2.0, 4.0], share) for share in (50, 75, 95)] == [2.0, 3.0, 4.0]
