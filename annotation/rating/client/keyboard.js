// What keys do.

function activePlayer(app) { // the one Space acts on: what sounds, else the next unheard, else the last played
  const playing = app.players.find(player => !player.audio.paused);
  return playing ?? unheardPlayers(app)[0] ?? app.players.find(player => player === sounding) ?? app.players[0];
}

function handleKey(app, event) {
  const { target } = event, away = !app.root.contains(target) && target !== document.body && !target.closest('[role="tab"]');
  if (away || event.ctrlKey || event.metaKey || event.altKey || app.root.querySelector('dialog[open]')) return;
  const typing = target.matches('input[type="text"], input[type="password"], textarea, select');
  const work = typing ? typingAction(app, event) : commandAction(app, event);
  if (!work) return;
  event.preventDefault();
  event.stopPropagation(); // the page has keys of its own, for other tabs
  if (!event.repeat) work();
}

function typingAction(app, { key, target }) {
  if (key === 'Escape') return () => (target.closest('.rating-question') ?? app.main.querySelector('.rating-heading'))?.focus();
  const inForm = app.form?.node.contains(target) && target.matches('input');
  return key === 'Enter' && inForm ? () => app.submitButton.click() : null;
}

function commandAction(app, { key, target }) {
  const listening = key === ' ' && target === app.submitButton && unheardPlayers(app).length > 0; // Space there can only mean: play
  const pressable = app.root.contains(target) && target.closest('button, a') && !listening;
  const tickable = target.type === 'checkbox' || (target.type === 'radio' && !target.checked);
  if (key === ' ') return pressable || tickable || !activePlayer(app) ? null : () => activePlayer(app).toggle();
  if (key === 'Enter' && pressable) return null;
  const answer = !app.busy && (app.form?.answering(key) ?? tickAction(app, key));
  if (answer) return answer;
  const commands = { r: () => activePlayer(app)?.replay(), n: () => goOnward(app, 'n'), enter: () => goOnward(app, 'enter'), s: () => skipItem(app),
    '?': () => showKeys(app), '[': () => app.form?.step(-1), ']': () => app.form?.step(1) };
  return commands[key.toLowerCase()] ?? null;
}

function tickAction(app, key) { const box = app.ticks?.[key - 1]; return box ? () => { box.checked = !box.checked; box.focus(); } : null; }

function goOnward(app, key) { // Enter on a question of several answers ends it; elsewhere it presses the main button
  const { form } = app;
  if (key === 'enter' && form?.current?.scale.kind === 'several' && form.following) form.go(form.following);
  else if (app.submitButton?.isConnected) app.submitButton.click();
}
