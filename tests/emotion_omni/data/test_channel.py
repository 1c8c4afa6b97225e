import numpy as np
import pytest

from emotion_omni import audio
from emotion_omni.data.channel import Channel, channel_of, through
from emotion_omni.data.plan import Speech
from emotion_omni.types import Audio

HZ = 24_000
TONE = Audio((0.2 * np.sin(2 * np.pi * 440 * np.arange(HZ) / HZ)).astype(np.float32), HZ)


@pytest.mark.parametrize(
    "channel", [Channel(decibels=12), Channel(reverberation=0.4), Channel(snr=10), Channel(telephone=True)]
)
def test_a_channel_changes_the_sound_keeps_its_length_and_repeats(channel):
    one, again = through(channel, TONE, 7), through(channel, TONE, 7)
    assert np.array_equal(one.samples, again.samples) and len(one.samples) == len(TONE.samples)
    assert not np.array_equal(one.samples, TONE.samples) and np.abs(one.samples).max() < 1


def test_no_channel_is_the_sound_itself():
    assert through(Channel(), TONE, 7) is TONE


def test_noise_has_the_level_it_says():
    noise = through(Channel(snr=10), TONE, 1).samples - TONE.samples
    assert audio.dbfs(TONE.samples) - audio.dbfs(noise) == pytest.approx(10, abs=0.1)


def test_a_telephone_keeps_its_band():
    rng = np.random.default_rng(0)
    heard = through(Channel(telephone=True), Audio(rng.normal(0, 0.1, HZ).astype(np.float32), HZ), 1).samples
    power = np.abs(np.fft.rfft(heard)) ** 2
    assert power[5000:].sum() < 0.01 * power.sum()


def test_a_room_rings_on():
    click = np.zeros(HZ, np.float32)
    click[100] = 0.5
    heard = through(Channel(reverberation=0.5), Audio(click, HZ), 1).samples
    assert np.abs(heard[2000:4000]).max() > 0


def test_shares_are_kept():
    every = [channel_of(Speech(level=0.5, room=0.25, noise=0.25, codec=0.1), seed) for seed in range(2000)]
    assert np.mean([bool(one.decibels) for one in every]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([one.telephone for one in every]) == pytest.approx(0.1, abs=0.03)
    assert all(channel_of(Speech(), seed).is_plain for seed in range(50))
