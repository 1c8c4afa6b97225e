// The reply's sound: pieces play without a gap as they arrive, stop within milliseconds, and are counted as they are heard.

const REPLY_HZ = 24000, FADE_SECONDS = 0.008; // a sound that is cut off at once would click

class Speaker {
  constructor(changed) { Object.assign(this, { changed, context: null, nodes: [], spans: [], end: 0 }); }

  get speaking() { return this.nodes.length > 0; }

  ready() { // browsers play only after a gesture
    if (!this.context) {
      this.context = new AudioContext();
      this.gain = this.context.createGain();
      this.gain.connect(this.context.destination);
    }
    if (this.context.state === 'suspended') this.context.resume();
    return this.context;
  }

  play(pcm, hz = REPLY_HZ) {
    if (!pcm.length) return;
    const context = this.ready(), buffer = context.createBuffer(1, pcm.length, hz), node = context.createBufferSource();
    buffer.copyToChannel(Float32Array.from(pcm, sample => sample / 32768), 0);
    node.buffer = buffer;
    node.connect(this.gain);
    const at = Math.max(context.currentTime + 0.02, this.end);
    if (!this.speaking) { this.gain.gain.cancelScheduledValues(0); this.gain.gain.value = 1; }
    node.start(at);
    this.end = at + buffer.duration;
    this.spans.push([at, buffer.duration]);
    this.nodes.push(node);
    node.onended = () => { this.nodes = this.nodes.filter(other => other !== node); if (!this.speaking) this.changed(); };
    this.changed();
  }

  heard() { // seconds of what was given since begin() that have left the loudspeaker
    if (!this.context) return 0;
    const now = this.context.currentTime - (this.context.outputLatency || this.context.baseLatency || 0);
    return this.spans.reduce((sum, [at, seconds]) => sum + Math.max(0, Math.min(seconds, now - at)), 0);
  }

  begin() { this.spans = []; } // a new reply

  stop() { // → seconds heard
    const seconds = this.heard(), nodes = this.nodes;
    if (!nodes.length) return seconds;
    const now = this.context.currentTime;
    this.gain.gain.setValueAtTime(this.gain.gain.value, now);
    this.gain.gain.linearRampToValueAtTime(0, now + FADE_SECONDS);
    nodes.forEach(node => { node.onended = null; node.stop(now + FADE_SECONDS); });
    // what comes next has a gain of its own, since the fade of this one may not be over
    const gain = this.context.createGain();
    gain.connect(this.context.destination);
    [this.gain, this.nodes, this.end] = [gain, [], 0];
    this.changed();
    return seconds;
  }
}
