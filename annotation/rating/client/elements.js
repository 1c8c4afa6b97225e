// Making the page's elements.

const ICONS = {
  play: 'M8 5v14l11-7z', pause: 'M7 5h4v14H7zM13 5h4v14h-4z',
  sound: 'M4 9v6h4l5 5V4L8 9zM16 8a5 5 0 0 1 0 8M18.5 5.5a9 9 0 0 1 0 13', muted: 'M4 9v6h4l5 5V4L8 9zM16 9l5 6M21 9l-5 6',
};

let serial = 0; // makes names of elements unique

const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

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

const button = (label, onclick, style = 'rating-button') => make('button', { type: 'button', class: style, onclick }, label);
const link = (label, onclick) => button(label, onclick, 'rating-link');
const div = (style, ...children) => make('div', { class: style }, ...children);
const span = (style, ...children) => make('span', { class: style }, ...children);
const para = (style, ...children) => make('p', { class: style }, ...children);
const bar = (share, attributes) => make('div', { class: 'rating-track', ...attributes },
  make('span', { style: `width:${100 * Math.min(1, share)}%` }));
const kbd = key => make('kbd', { 'aria-hidden': 'true' }, key);
const paragraphs = lines => [lines ?? []].flat().map(line => make('p', {}, line));
const heading = text => make('h2', { class: 'rating-heading', tabindex: '-1' }, text);
