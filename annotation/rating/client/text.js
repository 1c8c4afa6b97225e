// Words in the page's language, and numbers in words.

let texts = {}; // English → the page's language, as the server sends it

const t = (text, values = {}) => (texts[text] ?? text).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
const percent = share => Math.floor(100 * share + 1e-6); // down, so that 100 % means all of it
const rounded = seconds => Math.round(1000 * seconds) / 1000;
