// The arena over time: a rectangle is a buffer, from its first step to its last, where it lies.

const [WIDE, HIGH, LEFT, LOW] = [1100, 420, 78, 34];

class Memory {
  constructor(report) {
    const { arena } = report;
    Object.assign(this, { report, arena });
    this.buffers = arena.buffers.map(([label, kind, start, size, first, last]) => ({ label, kind, start, size, first, last }));
    this.element = h('div', { class: 'page' });
    this.detail = h('div', { class: 'card', style: 'min-height:112px;margin-top:12px', 'aria-live': 'polite' });
    const sizes = Object.entries(arena.sizes).map(([name, size]) => `${name} = ${size}`).join(', ');
    this.element.append(...[
      h('h2', { style: 'margin-top:0' }, 'Memory of temporaries'),
      h('p', { class: 'soft' }, `${sizes ? `At ${sizes}` : 'All sizes are fixed'}${arena.assumed ? ', which is assumed, since the program has not been called yet' : ''}; for ${counted(arena.threads, 'thread')}.`),
      this.bars(), ...(this.buffers.length ? [
        h('h2', {}, 'The arena over time'), this.map(), this.detail,
        h('h2', {}, 'Bytes in use'), this.curve(), h('h2', {}, 'Buffers'), this.table()]
        : [h('p', { class: 'note' }, 'No step keeps anything in the arena.')]), this.updates(),
    ].filter(Boolean));
    this.select(0);
  }

  update({ step }) { if (step !== null && this.buffers.length) this.select(step); }

  get live() {
    return this.arena.steps.map((_, k) => this.buffers.filter((b) => b.first <= k && k <= b.last).reduce((sum, b) => sum + b.size, 0));
  }

  bars() {
    const { size, unshared } = this.arena;
    const peak = Math.max(0, ...this.live);
    const row = (title, found, other) => [h('span', {}, title), h('div', { class: 'track' }, h('i', { class: other ? 'other' : '', style: `width:${(100 * found) / Math.max(unshared, size, 1)}%` })), h('span', { class: 'num' }, bytes(found))];
    const saved = size ? `, ${(unshared / size).toFixed(1)} times as much` : '';
    return h('div', { class: 'card', style: 'margin-top:12px' }, h('div', { class: 'bars' },
      row('in use at the peak', peak), row('arena, as planned', size), row(`without planning${saved}`, unshared, true)));
  }

  x(step) { return LEFT + (step / this.arena.steps.length) * (WIDE - LEFT - 12); }
  y(offset, top, high) { return high - LOW - (offset / Math.max(top, 1)) * (high - LOW - 20); }

  frame(top, high, label) {
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => share * top);
    const every = Math.max(1, Math.ceil(this.arena.steps.length / 12));
    const numbers = this.arena.steps.map((_, k) => k).filter((k) => k % every === 0);
    return s('svg', { class: 'chart', viewBox: `0 0 ${WIDE} ${high}`, role: 'group', 'aria-label': label },
      ticks.map((t) => [s('path', { class: 'grid', d: `M${LEFT} ${this.y(t, top, high)}H${WIDE - 12}` }), s('text', { x: LEFT - 8, y: this.y(t, top, high) + 4, 'text-anchor': 'end' }, bytes(Math.round(t)))]),
      numbers.map((k) => s('text', { x: this.x(k + 0.5), y: high - 14, 'text-anchor': 'middle' }, String(k))),
      s('text', { x: WIDE - 12, y: high - 1, 'text-anchor': 'end' }, 'step'));
  }

  map() {
    const top = this.arena.size;
    const chart = this.frame(top, HIGH, 'Where buffers lie in the arena, step by step. Arrow keys move through the steps.');
    chart.setAttribute('tabindex', '0');
    this.rects = this.buffers.map((b, k) => {
      const kind = b.kind === 'value' ? `c${k % 6}` : b.kind === 'nested' ? 'nested' : 'working';
      const [x, y] = [this.x(b.first), this.y(b.start + b.size, top, HIGH)];
      return s('rect', { class: `buffer ${kind}`, x: x + 0.5, y, width: Math.max(this.x(b.last + 1) - x - 1, 1), height: Math.max(this.y(b.start, top, HIGH) - y - 0.5, 1), rx: 1.5,
        onclick: () => this.choose(k) }, s('title', {}, `${b.label}: ${bytes(b.size)} at ${b.start}, steps ${b.first} to ${b.last}`));
    });
    this.cursor = s('rect', { class: 'cursor', y: 14, height: HIGH - LOW - 14, fill: 'none' });
    chart.append(...this.rects, this.cursor);
    chart.addEventListener('pointermove', (event) => this.point(chart, event));
    return chart;
  }

  point(chart, event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    const step = Math.floor(((at.x - LEFT) / (WIDE - LEFT - 12)) * this.arena.steps.length);
    if (step !== this.step && step >= 0 && step < this.arena.steps.length) this.select(step);
  }

  curve() {
    const { live } = this;
    const { size, unshared } = this.arena;
    const [top, high] = [Math.max(unshared, size), 220];
    const chart = this.frame(top, high, 'Bytes in use at each step');
    const rim = live.map((b, k) => `V${this.y(b, top, high)}H${this.x(k + 1)}`).join('');
    const line = (found, title, style) => [s('path', { class: style, d: `M${LEFT} ${this.y(found, top, high)}H${WIDE - 12}` }), s('text', { x: WIDE - 18, y: this.y(found, top, high) - 5, 'text-anchor': 'end' }, title)];
    chart.append(s('path', { class: 'live', d: `M${LEFT} ${this.y(0, top, high)}${rim}V${this.y(0, top, high)}Z` }),
      ...line(size, `arena ${bytes(size)}`, 'axis'), ...line(unshared, `without planning ${bytes(unshared)}`, 'limit'));
    return chart;
  }

  select(step) {
    if (!this.buffers.length) return;
    this.step = step;
    const found = this.buffers.filter((b) => b.first <= step && step <= b.last).sort((a, b) => b.size - a.size);
    this.cursor.setAttribute('x', this.x(step));
    this.cursor.setAttribute('width', this.x(step + 1) - this.x(step));
    const held = found.reduce((sum, b) => sum + b.size, 0);
    put(this.detail, h('b', {}, `Step ${step}: ${this.arena.steps[step]}`), h('span', { class: 'soft' }, `, ${bytes(held)} in ${counted(found.length, 'buffer')}`),
      h('div', { class: 'soft' }, found.slice(0, 6).map((b) => `${b.label} (${bytes(b.size)})`).join(', '), found.length > 6 ? ` and ${found.length - 6} more` : ''));
  }

  choose(k) {
    this.rects.forEach((rect, at) => rect.classList.toggle('chosen', at === k));
    const { label, kind, start, size, first, last } = this.buffers[k];
    put(this.detail, h('b', {}, label), h('span', { class: 'soft' }, `, ${kind}: ${bytes(size)} at offset ${start.toLocaleString('en')}, from step ${first} (${this.arena.steps[first]}) to ${last} (${this.arena.steps[last]})`));
  }

  table() {
    const rows = this.buffers.map((b, k) => [k, b.label, b.kind, { sort: b.size, show: bytes(b.size) }, { sort: b.start, show: b.start.toLocaleString('en') }, { sort: b.first, show: `${b.first} – ${b.last}` }]);
    return table([['holds'], ['kind'], ['size', true], ['offset', true], ['steps', true]], rows, { open: (k) => { this.choose(k); this.detail.scrollIntoView({ block: 'center' }); }, label: 'Buffers' });
  }

  updates() {
    const { inPlace, committed, reused } = this.report;
    return h('div', {}, h('h2', {}, 'Variables and reuse'), h('div', { class: 'card' }, h('dl', { class: 'facts', style: 'grid-template-columns:190px 1fr' },
      h('dt', {}, 'updated in place'), h('dd', {}, inPlace.join(', ') || 'none'), h('dt', {}, 'updated by a copy'), h('dd', {}, committed.join(', ') || 'none'),
      h('dt', {}, 'results in an operand’s memory'), h('dd', {}, String(reused)))));
  }

  key(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by || !this.buffers.length) return false;
    this.select(Math.min(Math.max(this.step + by, 0), this.arena.steps.length - 1));
    return true;
  }
}
