// A recognized emotion in words and as pictures. Every picture has a text alternative.

const CERTAIN = 0.7, SURE = 0.4, WELL_KNOWN = 10; // SURE: the server's; known turns from which more add little
const percent = share => `${Math.round(100 * share)}%`;
const capital = word => word.charAt(0).toUpperCase() + word.slice(1);
const ranked = probabilities => Object.entries(probabilities).sort((a, b) => b[1] - a[1]);

function inWords({ probabilities }) {
  const [[first, p], [second, q]] = ranked(probabilities);
  if (p >= CERTAIN) return `${capital(first)}, quite sure (${percent(p)})`;
  if (p >= SURE) return `Probably ${first} (${percent(p)}), perhaps ${second} (${percent(q)})`;
  return `Not sure: ${first} (${percent(p)}) or ${second} (${percent(q)})`;
}

function knownVoice(turns) {
  if (!turns) return null;
  const count = turns === 1 ? '1 turn' : `${turns} turns`;
  return turns < WELL_KNOWN
    ? `I am getting to know your voice (${count}): how you usually sound, so that your moods stand out. New forgets it.`
    : `I know your voice from ${count}. New forgets it.`;
}

const emotionDot = name => make('span', { class: 'talk-dot', style: `background:${config.emotions[name]}`, 'aria-hidden': 'true' });

function emotionBars(felt) {
  const bars = ranked(felt.probabilities).map(([name, share]) => make('div', { class: 'talk-bar', role: 'img', 'aria-label': `${name} ${percent(share)}` },
    span('talk-bar-name', name), make('span', { class: 'talk-track' }, make('span', { style: `width:${100 * share}%;background:${config.emotions[name]}` })), span('talk-share', percent(share))));
  return div('talk-bars', bars, scale('Pleasantness', felt.valence, 'unpleasant', 'pleasant'), scale('Energy', felt.arousal, 'quiet', 'excited'));
}

const scale = (name, value, low, high) => make('div', { class: 'talk-bar talk-scale', role: 'img', 'aria-label': `${name} ${value.toFixed(2)}, from ${low} to ${high}` },
  span('talk-bar-name', name), make('span', { class: 'talk-track', title: `${low} … ${high}` }, make('span', { style: `left:${50 + 50 * value}%` })), span('talk-share', `${value > 0 ? '+' : ''}${value.toFixed(2)}`));

function overTime(trajectory, turningPoint) { // at each moment the height of a colour is the probability of its label
  if (trajectory.length < 2) return null;
  const width = 360, height = 56, start = trajectory[0].seconds, end = trajectory.at(-1).seconds;
  const x = at => (width * (at - start)) / (end - start), labels = trajectory.map(one => ranked(one.probabilities)[0][0]);
  const course = labels.filter((label, n) => n === 0 || label !== labels[n - 1]);
  const summary = course.slice(0, 6).join(' → ') + (course.length > 6 ? ' → …' : '');
  let below = trajectory.map(() => 0);
  const bands = Object.keys(config.emotions).map(name => {
    const above = trajectory.map((one, n) => below[n] + (one.probabilities[name] ?? 0));
    const edge = shares => shares.map((share, n) => `${x(trajectory[n].seconds).toFixed(1)},${(height * (1 - share)).toFixed(1)}`);
    const points = [...edge(above), ...edge(below).reverse()].join(' ');
    below = above;
    return drawn('polygon', { points, fill: config.emotions[name] });
  });
  const mark = turningPoint == null ? [] : ['talk-mark-edge', 'talk-mark'].map(style => drawn('line', { class: style, x1: x(turningPoint), x2: x(turningPoint), y1: 0, y2: height, 'vector-effect': 'non-scaling-stroke' }));
  const changed = turningPoint == null ? null : para('talk-note', `It changed after ${turningPoint.toFixed(1)} s.`);
  return div('talk-course', para('talk-note', `Over time: ${summary}`),
    drawn('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `Emotion over time: ${summary}` }, ...bands, ...mark),
    div('talk-axis', span('', `${start.toFixed(1)} s`), span('', `${end.toFixed(1)} s`)), changed);
}

function drawn(tag, attributes, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  node.append(...children);
  return node;
}
