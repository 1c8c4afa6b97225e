// What every part of the room uses: constants, words in the page's language, making elements.

const BACKOFF_SECONDS = [1, 2, 4, 8, 15];
const CALL_SECONDS = 20, CLIP_SECONDS = 90; // after which an unanswered call counts as lost
const REPORT_SECONDS = 5, HEARTBEAT_SECONDS = 60, WAIT_SECONDS = 15;
const NEEDED = 0.95; // share of a clip to be heard, until the server has named its own
const RATES = [1, 1.25];
const DOUBLE_PRESS_MS = 300; // two presses of Enter closer than this are one
const CLICKS_KEPT = 500; // per item; a log longer than this says nothing more
const DRAFT_DAYS = 14;
const PEAKS = 240; // of a drawn clip: more than the bars a wide screen has room for
const TEXT_LIMIT = 2000;
const ICONS = {
  play: 'M8 5v14l11-7z', pause: 'M7 5h4v14H7zM13 5h4v14h-4z',
  sound: 'M4 9v6h4l5 5V4L8 9zM16 8a5 5 0 0 1 0 8M18.5 5.5a9 9 0 0 1 0 13', muted: 'M4 9v6h4l5 5V4L8 9zM16 9l5 6M21 9l-5 6',
};
const KEYS = [
  ['Space', 'Play or pause'], ['R', 'Play again from the start'], ['1 – 9', 'Answer the marked question'],
  ['A · 0 · B', 'Choose A, neither, or B (when comparing)'], ['[ · ]', 'Previous or next question'], ['Tab · arrows', 'Move and choose'],
  ['Enter · N', 'Save and continue'], ['S', 'Skip this one'], ['Esc', 'Leave a text field'], ['?', 'Show these keys'],
];
const SCREENS = ['consent', 'instructions', 'rate', 'break', 'survey', 'done', 'wait'];
const NOT_SAVED = 'Not saved yet – retrying', NOT_REACHED = 'The studio cannot be reached – trying again';

let texts = {}; // English → the page's language, as the server sends it
let sounding = null; // the player that is heard now
let serial = 0;
const rooms = new Set();

// --- small helpers ---------------------------------------------------------------------------------------------

const t = (text, values = {}) => (texts[text] ?? text).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
const percent = share => Math.floor(100 * share + 1e-6); // down, so that 100 % means all of it
const sleep = seconds => new Promise(done => setTimeout(done, 1000 * seconds));
const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
const rounded = seconds => Math.round(1000 * seconds) / 1000;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

function icon(name) {
  const [drawing, path] = ['svg', 'path'].map(tag => document.createElementNS('http://www.w3.org/2000/svg', tag));
  drawing.setAttribute('viewBox', '0 0 24 24');
  drawing.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', ICONS[name]);
  drawing.append(path);
  return drawing;
}

function relabel(node, label, picture) { // only on change: a picture redrawn under a finger loses the press
  if (node.ariaLabel === label) return;
  node.ariaLabel = label;
  node.replaceChildren(icon(picture));
}

const button = (label, onclick, style = 'room-button') => make('button', { type: 'button', class: style, onclick }, label);
const link = (label, onclick) => button(label, onclick, 'room-link');
const div = (style, ...children) => make('div', { class: style }, ...children);
const span = (style, ...children) => make('span', { class: style }, ...children);
const para = (style, ...children) => make('p', { class: style }, ...children);
const bar = (share, attributes) => make('div', { class: 'room-track', ...attributes },
  make('span', { style: `width:${100 * Math.min(1, share)}%` }));
const kbd = key => make('kbd', { 'aria-hidden': 'true' }, key);
const paragraphs = lines => [lines ?? []].flat().map(line => make('p', {}, line));
const heading = text => make('h2', { class: 'room-heading', tabindex: '-1' }, text);

function identity() { // a version 4 UUID; crypto.randomUUID is missing on a page served without https
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function join(ranges, added) { // the union of [from, to] seconds, in order; a gap of a frame is no gap
  const union = [];
  for (const [from, to] of [...ranges, ...added].sort((one, other) => one[0] - other[0])) {
    const last = union.at(-1);
    if (last && from <= last[1] + 0.03) last[1] = Math.max(last[1], to);
    else union.push([from, to]);
  }
  return union;
}

// A browser may forbid storage (private windows, frames). The room then works on, without resuming.
const store = {
  read(area, key) { try { return JSON.parse(window[area].getItem(key)); } catch { return null; } },
  write(area, key, value) { try { window[area].setItem(key, JSON.stringify(value)); } catch { /* see above */ } },
  remove(area, key) { try { window[area].removeItem(key); } catch { /* see above */ } },
  keys(area) { try { return Object.keys(window[area]); } catch { return []; } },
};
