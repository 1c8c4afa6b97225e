import pytest

from emotion_omni.data import plan as plans
from emotion_omni.data.plan import CorpusPlan, ServerWriter, read_plan
from emotion_omni.types import EmotionOmniError

PLANS = sorted(plans.HUNDRED.parent.glob("*.yaml"))


def write(tmp_path, text):
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_our_own_plans_are_read(path):
    assert read_plan(path).dialogues >= 100


def test_a_plan_survives_its_own_json(tmp_path):
    plan = read_plan(write(tmp_path, "dialogues: 3\nemotions: [sad, happy]\nmix: {conflict: 0.5}\n"))
    assert CorpusPlan.from_json(plan.to_json()) == plan and plan.emotions == ("sad", "happy")


def test_a_writer_may_be_named_by_its_kind_alone(tmp_path):
    assert read_plan(write(tmp_path, "dialogues: 3\nwriter: responder\n")).writer.kind == "responder"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("dialogues: 0", "dialogues"),
        ("dialogues: 3\ndomain: [work]", "Did you mean 'domains'"),
        ("dialogues: 3\ndomains: [wrk]", "Did you mean 'work'"),
        ("dialogues: 3\nemotions: [sad]", "two emotions"),
        ("dialogues: 3\nmix: {conflict: 0.9, multi_turn: 0.9}", "at most 1"),
        ("dialogues: 3\nwriter: {kind: server, base_url: here, model: x}", "http://"),
        ("dialogues: 3\nfilters: {max_seconds: 0.1}", "max_seconds"),
        ("dialogues: 3\nspeech: {queries: [af_hart]}", "af_hart"),
        ("- 1", "mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_what_cannot_be_planned_is_refused_by_name(tmp_path, text, named):
    with pytest.raises(EmotionOmniError, match=named):
        read_plan(write(tmp_path, text))


def test_a_plan_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(EmotionOmniError, match="cannot be read"):
        read_plan(tmp_path / "none.yaml")


def test_every_setting_counts_for_the_identity():
    one = CorpusPlan(dialogues=3)
    server = ServerWriter("http://x/v1", "m")
    assert len({plan.sha256 for plan in (one, CorpusPlan(dialogues=3, seed=1), CorpusPlan(3, writer=server))}) == 3
