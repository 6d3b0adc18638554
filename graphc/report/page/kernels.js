// The kernels: what runs in each, as a graph, as Python, as LLVM IR and as assembly.

const SHOWN = [['graph', 'Graph'], ['source', 'Python'], ['llvm', 'LLVM IR'], ['asm', 'Assembly'], ['schedules', 'Schedules'], ['lines', 'Your lines']];
const LANGUAGES = { source: ['python', 0], llvm: ['llvm', 1], asm: ['assembly', 2] };

class Kernels {
  constructor(report) {
    this.report = report;
    this.list = h('div', { class: 'list', role: 'group', 'aria-label': 'Kernels' });
    this.facts = h('aside', { class: 'side right', hidden: true, 'aria-label': 'Details' });
    this.title = h('header');
    this.bar = h('div', { class: 'pane-bar' });
    this.body = h('div', { class: 'body' });
    this.pane = new Pane({
      report, label: 'Kernel', show: (view, node) => go({ view, node }), choose: (node) => go({ node }, true), paint: () => ({}),
    });
    this.element = h('div', { class: 'split two' },
      h('aside', { class: 'side left' }, h('div', { class: 'list-head' }, h('h3', {}, counted(report.kernels.length, 'kernel'))), this.list),
      h('section', { class: 'kernel', 'aria-label': 'Kernel' }, this.title, this.bar, this.body));
  }

  async update(state) {
    const { report } = this;
    if (!report.kernels.length) return put(this.element, h('p', { class: 'note' }, 'This program runs no kernels: its outputs are inputs, variables or constants.'));
    const number = Math.min(state.kernel, report.kernels.length - 1);
    this.state = { ...state, kernel: number };
    const kernel = report.kernels[number];
    this.drawList(number);
    const results = kernel.results.map((n) => report.nodes.get(n).type);
    put(this.title, h('h2', {}, kernel.name), h('p', {}, `${counted(kernel.nodes.length, 'operation')}; stores ${results.join(', ')}`));
    const shown = SHOWN.filter(([key]) => (LANGUAGES[key] ? kernel.texts[LANGUAGES[key][1]] : key !== 'schedules' || kernel.schedules.length));
    const show = shown.some(([key]) => key === state.show) ? state.show : 'graph';
    put(this.bar, choice(shown, show, (key) => go({ show: key, node: null, view: null }, true), 'What to show of the kernel'),
      h('span', { style: 'flex:1' }), LANGUAGES[show] && h('button', { class: 'tool', type: 'button', onclick: () => this.copy(kernel.texts[LANGUAGES[show][1]]) }, 'Copy'));
    if (show === 'graph') return this.drawGraph(kernel);
    if (LANGUAGES[show]) return this.drawText(kernel, show);
    return this.place(`${number} ${show}`, show === 'lines' ? this.lines(kernel) : this.schedules(kernel));
  }

  place(key, element) {
    if (this.shown === key) return;
    this.shown = key;
    this.body.style.gridTemplateColumns = '';
    put(this.body, element);
  }

  drawList(number) {
    if (!this.rows) {
      const measured = this.report.profile ? 1 : 0;
      this.rows = this.report.kernels.map((kernel, k) => {
        const places = [...new Set(kernel.nodes.map((n) => this.report.nodes.place(this.report.nodes.get(n).place)?.short).filter(Boolean))];
        const time = this.report.timeOf(k);
        return h('button', { type: 'button', onclick: () => go({ kernel: k, node: null, view: null }) },
          h('span', { class: 'title' }, kernel.name), h('span', { class: 'count' }, time && measured ? seconds(time) : String(kernel.nodes.length)),
          h('span', { class: 'detail' }, places.slice(0, 3).join(', '), places.length > 3 ? ` and ${places.length - 3} more` : ''));
      });
      put(this.list, ...this.rows);
    }
    this.rows.forEach((row, k) => row.setAttribute('aria-current', String(k === number)));
    this.rows[number].scrollIntoView({ block: 'nearest' });
  }

  async drawGraph(kernel) {
    const { report, state } = this;
    const graph = await report.graph('kernels');
    if (this.shown !== 'graph') {
      this.shown = 'graph';
      put(this.body, this.pane.element, this.facts);
    }
    const node = state.node;
    this.facts.hidden = node === null;
    this.body.style.gridTemplateColumns = node === null ? 'minmax(0,1fr)' : 'minmax(0,1fr) 348px';
    if (node !== null) put(this.facts, nodeFacts(report, graph, node, (n) => go({ node: n }, true)), nodeTrail(report, report.stages.length - 1, node));
    const own = state.view in graph.views && graph.path(state.view)[0].key === kernel.view;
    this.pane.draw(graph, own ? state.view : kernel.view, report.shapes, node, '');
  }

  async drawText(kernel, show) {
    const [language, k] = LANGUAGES[show];
    const key = kernel.texts[k];
    if (this.shown === key) return;
    const content = await text(key);
    if (here().show === show) this.place(key, listing(content, language));
  }

  async copy(key) { await navigator.clipboard?.writeText(await text(key)); }

  lines(kernel) {
    const { report } = this;
    const found = new Map();
    for (const n of kernel.nodes) {
      const { place, op } = report.nodes.get(n);
      const line = report.nodes.line(place);
      found.set(line, { place, ops: [...(found.get(line)?.ops || []), op] });
    }
    const rows = [...found.values()].map(({ place, ops }) => {
      const at = report.nodes.place(place);
      return [null, at ? at.short : '', h('code', {}, at ? at.text : 'no line of yours'), ops.join(', ')];
    });
    return h('div', { class: 'fill' }, table([['line'], ['text', false, 'code'], ['operations in this kernel']], rows, { label: 'Your lines' }));
  }

  schedules(kernel) {
    const least = kernel.schedules[0][0];
    const rows = kernel.schedules.map(([cycles, words], k) => [null, words, { sort: cycles, show: cycles.toLocaleString('en') }, { sort: cycles, show: `${(cycles / least).toFixed(2)}×` }, k ? '' : 'chosen']);
    return h('div', { class: 'fill' }, h('p', { class: 'soft', style: 'margin-bottom:12px;max-width:68ch' }, 'Schedules that could compute this kernel, ranked when it was compiled by an estimate of the cycles of one core.'),
      table([['schedule'], ['cycles', true], ['to the best', true], ['']], rows, { label: 'Schedules' }));
  }

  key(event) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by && document.activeElement?.classList.contains('listing') && event.key.match(/Up|Down/)) return false;
    const next = this.state.kernel + by;
    if (!by) return this.shown === 'graph' && paneKey(this.pane, event);
    if (next >= 0 && next < this.report.kernels.length) go({ kernel: next, node: null, view: null }, true);
    return true;
  }
}
