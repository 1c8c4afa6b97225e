// Dialogs, and the list of keys.

const KEYS = [
  ['Space', 'Play or pause'], ['R', 'Play again from the start'], ['1 – 9', 'Answer the marked question'],
  ['A · 0 · B', 'Choose A, neither, or B (when comparing)'], ['[ · ]', 'Previous or next question'], ['Tab · arrows', 'Move and choose'],
  ['Enter · N', 'Save and continue'], ['S', 'Skip this one'], ['Esc', 'Leave a text field'], ['?', 'Show these keys'],
];

function openDialog(app, title, parts, buttons) { // resolves with the value of the button pressed, or '' (Esc)
  const name = `rating-${++serial}`, numbered = buttons.length > 2;
  const keys = buttons.map(([value, label], n) => {
    const key = button(label, () => box.close(value));
    if (numbered && value) key.prepend(kbd(String(n + 1)));
    return key;
  });
  const box = make('dialog', { class: 'rating-dialog', 'aria-labelledby': name }, make('h3', { id: name }, title), parts,
    div('rating-dialog-buttons', keys));
  box.addEventListener('keydown', event => {
    event.stopPropagation();
    if (numbered && /^[1-9]$/.test(event.key)) keys[event.key - 1]?.click();
  });
  app.root.append(box);
  box.showModal();
  return new Promise(done => box.addEventListener('close', () => { box.remove(); done(box.returnValue); }, { once: true }));
}

function choose(app, title, text, choices, refusal) { return openDialog(app, title, [make('p', {}, text)], [...choices, ['', refusal]]); }

function keyList() {
  return make('dl', { class: 'rating-keys' }, KEYS.map(([key, words]) => make('div', {}, make('dt', {}, make('kbd', {}, t(key))),
    make('dd', {}, t(words)))));
}

function showKeys(app) { app.stopPlaying(); return openDialog(app, t('Keys'), [keyList()], [['', t('Close')]]); }
