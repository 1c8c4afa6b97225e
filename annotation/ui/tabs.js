// Arrow keys between the tabs, as people who use a keyboard expect (WAI-ARIA authoring practices, "Tabs").
document.addEventListener('keydown', event => {
  const tab = event.target.closest?.('[role="tab"]'), step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
  if (!tab || !step || event.ctrlKey || event.metaKey || event.altKey) return;
  const tabs = [...tab.closest('[role="tablist"]').querySelectorAll('[role="tab"]')].filter(one => one.offsetParent && !one.disabled);
  const at = tabs.indexOf(tab) + step, next = Number.isFinite(at) ? tabs[(at + tabs.length) % tabs.length] : tabs.at(at < 0 ? 0 : -1);
  next.click();
  next.focus();
  event.preventDefault();
});
