// A conversation that can be kept: as a zip file of sounds and JSON, and, if its owner asks for it, in the browser's own storage.

const KEPT = 'emotion-omni:conversation', DAY = 86_400_000;

const CRC = Uint32Array.from({ length: 256 }, (_, n) => { for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1; return n >>> 0; });
const crc32 = bytes => ~bytes.reduce((crc, byte) => CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8), -1) >>> 0;

async function zip(files) { // [name, Blob] → a zip file without compression: sounds would gain little (PKWARE APPNOTE, §4.3)
  const parts = [], directory = [], now = new Date();
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  const date = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  const numbers = (...values) => { // [value, bytes]
    const view = new DataView(new ArrayBuffer(values.reduce((sum, [, bytes]) => sum + bytes, 0)));
    values.reduce((at, [value, bytes]) => { if (bytes === 2) view.setUint16(at, value, true); else view.setUint32(at, value, true); return at + bytes; }, 0);
    return view.buffer;
  };
  let offset = 0, listed = 0;
  for (const [name, blob] of files) {
    const bytes = new Uint8Array(await blob.arrayBuffer()), written = new TextEncoder().encode(name);
    const about = [[20, 2], [0x800, 2], [0, 2], [time, 2], [date, 2], [crc32(bytes), 4], [bytes.length, 4], [bytes.length, 4], [written.length, 2], [0, 2]];
    parts.push(numbers([0x04034b50, 4], ...about), written, bytes);
    directory.push(numbers([0x02014b50, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), written);
    offset += 30 + written.length + bytes.length;
    listed += 46 + written.length;
  }
  return new Blob([...parts, ...directory, numbers([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [listed, 4], [offset, 4], [0, 2])], { type: 'application/zip' });
}

const inWriting = ({ heard, plan, reply }) => ({
  transcript: heard?.transcript ?? null, heard: heard?.label ?? null, probabilities: heard?.probabilities ?? null, corrected: heard?.corrected ?? false, own: heard?.own ?? null,
  valence: heard?.valence ?? null, arousal: heard?.arousal ?? null, planned: plan?.emotion ?? null, reply: reply?.text.trim() ?? null,
});

async function download(conversation, chosen) {
  const files = [], turns = conversation.turns.map((turn, n) => {
    const number = String(n + 1).padStart(2, '0'), written = inWriting(turn);
    if (turn.recording) { written.recording = `${number}-you.wav`; files.push([written.recording, wav(turn.recording)]); }
    if (turn.reply?.pieces.length) { written.sound = `${number}-reply.wav`; files.push([written.sound, wav({ pcm: joined(turn.reply.pieces), hz: REPLY_HZ })]); }
    return written;
  });
  const about = { program: 'Emotion Omni Studio', saved: new Date().toISOString(), settings: chosen, turns };
  const url = URL.createObjectURL(await zip([['conversation.json', new Blob([JSON.stringify(about, null, 2)])], ...files]));
  make('a', { href: url, download: 'conversation.zip' }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// Words and emotions only, no sound: what the next visit needs to go on.
const kept = {
  read() {
    try {
      const found = JSON.parse(localStorage.getItem(KEPT) ?? 'null');
      return found && Date.now() - found.saved < 30 * DAY ? found : null;
    } catch { return null; }
  },
  write(turns) {
    try { localStorage.setItem(KEPT, JSON.stringify({ saved: Date.now(), turns: turns.filter(turn => turn.heard).map(({ heard, plan, reply }) => ({ heard, plan, reply: reply?.text ?? '' })) })); } catch { /* full or forbidden: then it is not kept */ }
  },
  forget() { try { localStorage.removeItem(KEPT); } catch { /* nothing was kept */ } },
};
