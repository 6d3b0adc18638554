// Search: nodes of the graph in sight, kernels, rules and lines; every word must be found.

const [MOST_HITS, FEW_HITS] = [60, 5];

class Search {
  constructor(report) {
    this.report = report;
    this.input = document.getElementById('search');
    this.box = document.getElementById('hits');
    this.hits = [];
    this.input.addEventListener('input', () => this.look());
    this.input.addEventListener('focus', () => this.look());
    this.input.addEventListener('keydown', (event) => this.key(event));
    this.box.addEventListener('pointerdown', (event) => event.preventDefault());
    this.input.addEventListener('blur', () => this.close());
  }

  /** Find a few kernels, the nodes of the graph in sight, then passes and rules. */
  find() {
    const { report } = this;
    const state = here();
    report.kernels.forEach((kernel, k) => this.hits.length < FEW_HITS && this.add('kernel', kernel.name, '', kernel.name, () => report.toKernel(k)));
    const stage = state.tab === 'stages' ? Math.min(state.stage, report.stages.length - 1) : report.stages.length - 1;
    const before = state.tab === 'stages' && state.side === 'before' && stage > 0;
    for (const n of report.stageNodes[before ? stage - 1 : stage]) {
      if (this.hits.length > MOST_HITS) return;
      const { op, name, type, place } = report.nodes.get(n);
      const at = report.nodes.place(place);
      const below = at ? `${at.short}: ${at.text}` : '';
      this.add('node', `${name ? `${name}, ` : ''}${op}: ${type}`, below, `${below} ${at ? at.scope : ''}`, () => report.toStage(stage, before ? 'before' : 'after', n));
    }
    report.stages.forEach((found, k) => {
      this.add('pass', found.name, '', '', () => report.toStage(k, 'after'));
      for (const rule of new Set(found.rewrites.map(([name]) => name))) {
        const at = report.nodes.place(found.rewrites.find(([name]) => name === rule)[1]);
        this.add('rule', rule, at ? `${found.name}, ${at.short}: ${at.text}` : found.name, '', () => report.toStage(k, 'before'));
      }
    });
  }

  /** Add a hit if every word is in its title or in what else it is found by. */
  add(what, title, below, also, to) {
    const lower = `${title} ${also}`.toLowerCase();
    if (this.words.every((word) => lower.includes(word))) this.hits.push({ what, title, below, to });
  }

  look() {
    this.words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.hits = [];
    if (!this.words.length) return this.close();
    this.find();
    this.at = 0;
    const more = this.hits.length > MOST_HITS;
    this.hits = this.hits.slice(0, MOST_HITS);
    this.options = this.hits.map(({ what, title, below }, k) => h('div', { class: 'hit', role: 'option', id: `hit${k}`, onclick: () => this.take(k) },
      h('span', { class: 'what' }, what), h('span', {}, title, below && h('span', { class: 'code' }, below))));
    put(this.box, ...this.options, ...(more ? [h('p', { class: 'note' }, 'There is more: add a word.')] : []), ...(this.hits.length ? [] : [h('p', { class: 'note' }, 'Nothing found.')]));
    this.box.hidden = false;
    this.input.setAttribute('aria-expanded', 'true');
    this.move(0);
  }

  move(by) {
    if (!this.hits.length) return;
    this.at = (this.at + by + this.hits.length) % this.hits.length;
    this.options.forEach((option, k) => option.setAttribute('aria-selected', String(k === this.at)));
    this.options[this.at].scrollIntoView({ block: 'nearest' });
    this.input.setAttribute('aria-activedescendant', `hit${this.at}`);
  }

  take(k) {
    const { to } = this.hits[k];
    this.input.blur();
    to();
    document.getElementById('main').focus();
  }

  close() {
    this.box.hidden = true;
    this.input.setAttribute('aria-expanded', 'false');
    this.input.removeAttribute('aria-activedescendant');
  }

  key(event) {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') this.move(event.key === 'ArrowDown' ? 1 : -1);
    else if (event.key === 'Enter' && this.hits.length && !this.box.hidden) this.take(this.at);
    else if (event.key === 'Escape') { this.input.value = ''; this.input.blur(); document.getElementById('main').focus(); } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
