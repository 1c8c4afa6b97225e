// What can be chosen, kept in the address of the page, so that a link opens the page as it is.

const CHOICES = { engine: '', voice: '', seed: 0, intensity: 1, speed: 1, handsfree: true };

function chosenInAddress() {
  const asked = new URL(location.href).searchParams, chosen = { ...CHOICES, engine: config.engines[0] };
  const number = (name, least, most) => { const given = Number(asked.get(name)); if (asked.has(name) && given >= least && given <= most) chosen[name] = given; };
  if (config.engines.includes(asked.get('engine'))) chosen.engine = asked.get('engine');
  if (/^[a-z_]{0,20}$/.test(asked.get('voice') ?? '')) chosen.voice = asked.get('voice') ?? '';
  number('seed', 0, 2 ** 31 - 1); number('intensity', 0, 2); number('speed', 0.5, 2);
  if (asked.get('handsfree') === '0') chosen.handsfree = false;
  return chosen;
}

function keepInAddress(chosen) {
  const url = new URL(location.href), usual = { ...CHOICES, engine: config.engines[0] };
  for (const name of Object.keys(CHOICES)) {
    if (chosen[name] === usual[name]) url.searchParams.delete(name);
    else url.searchParams.set(name, typeof chosen[name] === 'boolean' ? Number(chosen[name]) : chosen[name]);
  }
  history.replaceState(history.state, '', url);
}

function settingsPanel(chosen, changed, more) {
  const field = (label, node, note) => make('label', { class: 'talk-field' }, span('talk-label', label), node, note ? span('talk-note', note) : null);
  const set = (name, value) => { chosen[name] = value; keepInAddress(chosen); changed(name); };
  const report = span('talk-report');
  const showReport = () => { report.innerHTML = config.reports[chosen.engine] ?? ''; }; // written and escaped by the server
  showReport();
  const engine = make('select', { id: 'talk-engine', onchange: event => { set('engine', event.target.value); showReport(); } }, ...config.engines.map(name => make('option', { value: name, selected: name === chosen.engine }, name)));
  const voices = make('datalist', { id: 'talk-voices' }, ...config.voices.map(([label, name]) => make('option', { value: name }, label)));
  const voice = make('input', { type: 'text', list: 'talk-voices', value: chosen.voice, maxlength: 20, placeholder: 'the engine’s own', autocomplete: 'off', spellcheck: 'false', onchange: event => set('voice', event.target.value.trim()) });
  const range = (name, least, most, step) => {
    const shown = span('talk-share', String(chosen[name]));
    const node = make('input', { type: 'range', min: least, max: most, step, value: chosen[name], oninput: event => { shown.textContent = event.target.value; }, onchange: event => set(name, Number(event.target.value)) });
    return div('talk-range', node, shown);
  };
  const seed = make('input', { type: 'number', min: 0, max: 2 ** 31 - 1, step: 1, value: chosen.seed, onchange: event => set('seed', Math.max(0, Math.trunc(Number(event.target.value)) || 0)) });
  return make('details', { class: 'talk-settings' }, make('summary', {}, 'Settings'), div('talk-fields',
    field('Voice of the reply', voice, 'Choose from the list, or type another Kokoro voice, such as bf_emma.'), voices,
    field('Expressiveness', range('intensity', 0, 2, 0.1), '0 is neutral, 1 is as designed.'), field('Speed', range('speed', 0.5, 2, 0.05)),
    div('', field('Engine', engine, '“fake” answers without a model, for testing the page.'), report),
    field('Seed', seed, 'Another number, another answer; the same number, the same answer.')), more,
  para('talk-note', 'The address of this page holds these settings: copy it to share them.'));
}
