// The microphone: 16-bit sound in small chunks, its level, and what was recorded, by a clock of samples.

const CHUNK = 512; // samples; 21 ms at 24 kHz: a stop must not wait for a long one
const WANTED_HZ = 24000; // the protocol's own rate
const WORKLET = `registerProcessor('microphone', class extends AudioWorkletProcessor {
  constructor() { super(); this.chunk = new Float32Array(${CHUNK}); this.filled = 0; }
  process([input]) {
    const samples = input[0];
    if (!samples) return true;
    for (const sample of samples) {
      this.chunk[this.filled++] = sample;
      if (this.filled === ${CHUNK}) { this.port.postMessage(this.chunk.slice()); this.filled = 0; }
    }
    return true;
  }
});`;
const REFUSED = {
  NotAllowedError: 'The microphone is blocked. Allow it beside the address of this page, then press the button again. You can also send a recording.',
  NotFoundError: 'No microphone was found. Connect one and press the button again, or send a recording.',
  NotReadableError: 'Another program is using the microphone. Close it and press the button again, or send a recording.',
  insecure: 'Browsers open the microphone only on secure pages (https). You can send a recording instead.',
};

class Microphone {
  constructor({ chunk, level, lost }) { Object.assign(this, { chunk, level, lost, hz: WANTED_HZ, stream: null, context: null }); this.reset(); }

  get open() { return this.stream !== null; }

  reset() { this.pieces = []; this.first = 0; this.end = 0; } // the clock starts anew, as the server's does
  get seconds() { return this.end / this.hz; }

  async start() {
    if (!navigator.mediaDevices?.getUserMedia) throw new Error(REFUSED.insecure);
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
    } catch (error) {
      throw new Error(REFUSED[error.name] ?? `The microphone could not be opened (${error.name}). You can send a recording instead.`);
    }
    try { await this.connect(stream, new AudioContext({ sampleRate: WANTED_HZ })); }
    catch { await this.connect(stream, new AudioContext()); } // Firefox joins no two rates
    this.stream = stream;
    stream.getAudioTracks()[0].addEventListener('ended', () => { if (this.stream === stream) { this.stop(); this.lost(); } });
  }

  async connect(stream, context) {
    const url = URL.createObjectURL(new Blob([WORKLET], { type: 'text/javascript' }));
    try {
      await context.audioWorklet.addModule(url);
      const node = new AudioWorkletNode(context, 'microphone', { numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' });
      context.createMediaStreamSource(stream).connect(node);
      node.port.onmessage = event => this.take(event.data);
      await context.resume();
    } catch (error) {
      context.close();
      throw error;
    } finally {
      URL.revokeObjectURL(url);
    }
    this.context = context;
    if (this.hz !== context.sampleRate) { this.hz = context.sampleRate; this.reset(); }
  }

  take(samples) {
    if (!this.stream) return;
    const pcm = toPcm(samples);
    this.pieces.push(pcm);
    this.end += pcm.length;
    this.level(Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length));
    this.chunk(pcm);
  }

  forget(seconds) { // what lies before this moment
    while (this.pieces.length && this.first + this.pieces[0].length <= seconds * this.hz) this.first += this.pieces.shift().length;
  }

  cut(start, end) { // → the recording between two moments, in seconds
    const all = joined(this.pieces);
    return { hz: this.hz, pcm: all.slice(Math.max(0, Math.round(start * this.hz) - this.first), Math.max(0, Math.round(end * this.hz) - this.first)) };
  }

  stop() {
    this.stream?.getTracks().forEach(track => track.stop());
    this.context?.close();
    this.stream = this.context = null;
    this.level(0);
  }
}

const toPcm = samples => Int16Array.from(samples, sample => Math.max(-1, Math.min(1, sample)) * 32767);
const toBase64 = pcm => {
  const bytes = new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
};
const fromBase64 = text => new Int16Array(Uint8Array.from(atob(text), character => character.charCodeAt(0)).buffer);

function joined(pieces) {
  const all = new Int16Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) { all.set(piece, at); at += piece.length; }
  return all;
}

function wav({ pcm, hz }) { // → a WAV file
  const head = new DataView(new ArrayBuffer(44)), text = (at, word) => [...word].forEach((letter, n) => head.setUint8(at + n, letter.charCodeAt(0)));
  text(0, 'RIFF'); head.setUint32(4, 36 + 2 * pcm.length, true); text(8, 'WAVEfmt ');
  head.setUint32(16, 16, true); head.setUint16(20, 1, true); head.setUint16(22, 1, true);
  head.setUint32(24, hz, true); head.setUint32(28, 2 * hz, true); head.setUint16(32, 2, true); head.setUint16(34, 16, true);
  text(36, 'data'); head.setUint32(40, 2 * pcm.length, true);
  return new Blob([head.buffer, pcm], { type: 'audio/wav' });
}

async function readRecording(file) { // → {pcm, hz}; whatever this browser can decode
  const offline = new OfflineAudioContext(1, 1, WANTED_HZ);
  let sound;
  try { sound = await offline.decodeAudioData(await file.arrayBuffer()); }
  catch { throw new Error('This file is not audio that your browser can read. WAV, FLAC, OGG, MP3 and M4A work in most.'); }
  if (sound.duration > LONGEST_SECONDS) throw new Error(`The recording lasts ${Math.round(sound.duration)} s; at most ${LONGEST_SECONDS} s are heard. Send a shorter one.`);
  if (sound.duration < 0.2) throw new Error(`The recording lasts ${sound.duration.toFixed(2)} s; at least 0.2 s are needed.`);
  const mono = new OfflineAudioContext(1, Math.ceil(sound.duration * WANTED_HZ), WANTED_HZ), source = mono.createBufferSource();
  source.buffer = sound; source.connect(mono.destination); source.start();
  return { pcm: toPcm((await mono.startRendering()).getChannelData(0)), hz: WANTED_HZ };
}
