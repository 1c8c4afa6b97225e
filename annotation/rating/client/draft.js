// What a refresh must not lose, in the browser's storage.

const DRAFT_DAYS = 14; // then the item has long gone to another rater

// A browser may forbid storage (private windows, frames). The page then works, without resuming.
const store = {
  read(area, key) { try { return JSON.parse(window[area].getItem(key)); } catch { return null; } },
  write(area, key, value) { try { window[area].setItem(key, JSON.stringify(value)); } catch { /* see above */ } },
  remove(area, key) { try { window[area].removeItem(key); } catch { /* see above */ } },
  keys(area) { try { return Object.keys(window[area]); } catch { return []; } },
};

function uuid() { // a version 4 UUID; crypto.randomUUID is missing on a page served without https
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

class Draft { // what would be lost by a refresh: answers, play not yet reported, and the name the save will go by
  constructor(key, study, receipt) {
    const kept = store.read('localStorage', key);
    Object.assign(this, { key, study, receipt, values: {}, unsent: [], ranges: {}, clicks: [], proofs: {}, submit: uuid() },
      kept?.saved, { restored: !!kept });
  }
  static prune(outlived = ({ at }) => Date.now() - at > DRAFT_DAYS * 86400000) { // by default: their items went to others long ago
    for (const key of store.keys('localStorage').filter(name => name.startsWith('studio:'))) {
      const kept = store.read('localStorage', key);
      if (kept?.saved && outlived(kept)) store.remove('localStorage', key);
    }
  }
  keep() {
    if (this.gone) return;
    const { receipt, values, unsent, ranges, clicks, proofs, submit } = this;
    store.write('localStorage', this.key, { at: Date.now(), study: this.study,
      saved: { receipt, values, unsent, ranges, clicks, proofs, submit } });
  }
  drop() { this.gone = true; store.remove('localStorage', this.key); }
}
