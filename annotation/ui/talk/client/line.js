// The line to the server: events of the OpenAI Realtime protocol, over a WebSocket or, where there is none, over the page's queue.

const RETRY_SECONDS = [0.5, 1, 2, 4, 8], SILENT_SECONDS = 8; // until a line that does not open counts as blocked

class Line {
  constructor({ event, state, bridge }) { Object.assign(this, { event, state, bridge, socket: null, conversation: null, failures: 0, queue: [], live: false, direct: true }); }

  connect() {
    const url = new URL('v1/realtime', document.baseURI);
    url.protocol = url.protocol.replace('http', 'ws');
    if (this.conversation) url.searchParams.set('conversation', this.conversation);
    const socket = this.socket = new WebSocket(url);
    const patience = setTimeout(() => socket.close(), 1000 * SILENT_SECONDS);
    socket.onmessage = message => {
      const event = JSON.parse(message.data);
      if (event.type === 'session.created') {
        clearTimeout(patience);
        [this.live, this.failures, this.opened] = [true, 0, true];
        this.state('open');
        this.queue.splice(0).forEach(waiting => this.send(waiting));
      }
      if (event.type === 'error' && ['no-gpu', 'full', 'too-many', 'forbidden'].includes(event.error.code) && !this.live) this.refusal = event.error;
      this.event(event);
    };
    socket.onclose = () => {
      clearTimeout(patience);
      if (this.socket !== socket) return;
      this.live = false;
      if (this.refusal?.code === 'no-gpu' || (!this.opened && this.failures >= 1 && this.bridge)) { this.useQueue(); return; }
      this.state('lost');
      setTimeout(() => this.connect(), 1000 * (this.refusal ? 30 : RETRY_SECONDS[Math.min(this.failures++, RETRY_SECONDS.length - 1)]));
      this.refusal = null;
    };
  }

  useQueue() {
    this.direct = false;
    this.live = true;
    this.state('queue');
    this.queue.splice(0).forEach(waiting => this.send(waiting));
  }

  send(event) { // false if it could not be sent; what matters waits, sound of the microphone does not
    if (!this.direct) { this.bridge.send(event, this.conversation); return true; }
    if (this.live && this.socket.readyState === WebSocket.OPEN) { this.socket.send(JSON.stringify(event)); return true; }
    if (event.type !== 'input_audio_buffer.append') this.queue.push(event);
    return false;
  }
}

// Gradio's queue: a turn is one call, whose results are the server's events so far. An event that changes settings waits for it.
const CALLS = ['response.create', 'conversation.item.truncate', 'emotion_omni.correct', 'emotion_omni.new', 'emotion_omni.open', 'emotion_omni.forget'];

class Bridge {
  constructor({ element, props, trigger, watch }, receive) {
    Object.assign(this, { element, props, trigger, receive, waiting: [], seen: 0, call: 0 });
    watch('value', () => this.read());
  }

  send(event, conversation) {
    if (event.type === 'session.update') { this.settings = event; return; } // goes with each turn
    this.waiting.push(event);
    if (!CALLS.includes(event.type)) return;
    this.call += 1;
    this.seen = 0;
    this.props.value = JSON.stringify({ call: this.call, conversation, events: [this.settings, ...this.waiting].filter(Boolean) });
    this.waiting = [];
    this.trigger('submit');
  }

  read() {
    const place = this.element.querySelector('.talk-place'); // Gradio draws the component anew with each value
    if (talk && place && !place.contains(talk.root)) place.replaceChildren(talk.root);
    let told;
    try { told = JSON.parse(this.props.value || 'null'); } catch { return; }
    if (!told?.sent || told.call !== this.call) return;
    const fresh = told.sent.slice(this.seen);
    this.seen = told.sent.length;
    fresh.forEach(event => this.receive(event));
  }
}
