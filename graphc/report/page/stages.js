// The stages: what each pass did, drawn before and after.

class Stages {
  constructor(report) {
    this.report = report;
    this.hide = report.stages.length > 12;
    this.list = h('div', { class: 'list', role: 'group', 'aria-label': 'Stages' });
    this.spark = h('div');
    this.facts = h('aside', { class: 'side right', 'aria-label': 'Details' });
    this.only = h('input', { type: 'checkbox', ...(this.hide ? { checked: true } : {}), onchange: () => { this.hide = this.only.checked; this.listed = null; this.update(here()); } });
    this.sides = h('div');
    this.pane = new Pane({
      report, label: 'Graph', extra: [this.sides],
      show: (view, node) => go({ view, node }),
      choose: (node) => go({ node }, true),
      paint: (box, graph) => this.paint(box, graph),
    });
    this.element = h('div', { class: 'split' },
      h('aside', { class: 'side left' }, h('div', { class: 'list-head' }, h('h3', {}, 'Passes'), h('label', {}, this.only, 'only changes')), this.spark, this.list),
      this.pane.element, this.facts);
  }

  /** Return the stage whose graph is looked at. */
  standing({ stage, side }) { return side === 'before' && stage > 0 ? stage - 1 : stage; }

  async update(state) {
    const { report } = this;
    this.state = { ...state, stage: Math.min(state.stage, report.stages.length - 1) };
    const at = this.standing(this.state);
    const graph = await report.graph(`graph${report.stages[at].graph}`);
    if (here().tab !== 'stages' || this.state.stage !== Math.min(here().stage, report.stages.length - 1)) return;
    const node = this.state.node;
    const view = state.view in graph.views && state.view ? state.view : graph.home[node] || 'v0';
    this.pane.draw(graph, view, report.shapes, node, `${this.state.stage} ${this.state.side}`);
    this.drawList();
    put(this.sides, ...this.sideChoice());
    put(this.facts, ...(node !== null && node < report.nodes.rows.length
      ? [nodeFacts(report, graph, node, (n) => go({ node: n, view: null })), nodeTrail(report, at, node)] : []),
    ...this.summary());
  }

  changes(stage) {
    const { nodes, kernels, rewrites } = stage;
    return nodes[0] !== nodes[1] || kernels[0] !== kernels[1] || rewrites.length > 0;
  }

  drawList() {
    const { report, state } = this;
    const key = `${this.hide} ${state.stage}`;
    if (this.listed === key) return;
    this.listed = key;
    const shown = report.stages.map((stage, k) => [stage, k]).filter(([stage, k]) => !this.hide || k === 0 || k === state.stage || this.changes(stage));
    put(this.list, ...shown.map(([stage, k]) => {
      const [before, after] = stage.nodes;
      const rules = new Set(stage.rewrites.map(([rule]) => rule)).size;
      const detail = k === 0 ? counted(after, 'node') : [
        before === after ? '' : `${after - before > 0 ? '+' : '−'}${counted(Math.abs(after - before), 'node')}`,
        rules ? counted(rules, 'rule') : '', seconds(stage.seconds)].filter(Boolean).join(' · ');
      return h('button', { type: 'button', class: this.changes(stage) || k === 0 ? '' : 'idle', 'aria-current': String(k === state.stage), onclick: () => this.step(k) },
        h('span', { class: 'title' }, stage.name), h('span', { class: 'count' }, String(after)), h('span', { class: 'detail' }, detail));
    }));
    this.list.querySelector('[aria-current="true"]')?.scrollIntoView({ block: 'nearest' });
    put(this.spark, this.sparkline());
  }

  /** Draw how many nodes there are after each stage. */
  sparkline() {
    const counts = this.report.stages.map((stage) => stage.nodes[1]);
    const [wide, high, top] = [232, 50, Math.max(...counts)];
    const x = (k) => (k / Math.max(counts.length - 1, 1)) * wide;
    const y = (n) => high - (n / top) * (high - 6);
    const rim = counts.map((n, k) => `${k ? `H${x(k)}` : `M${x(k)} ${y(n)}`}V${y(n)}`).join('');
    return s('svg', { class: 'spark', viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `Nodes after each stage: ${counts[0]} at first, ${counts.at(-1)} in the end` },
      s('path', { class: 'area', d: `${rim}V${high}H0Z` }), s('path', { class: 'rim', d: rim, 'vector-effect': 'non-scaling-stroke' }),
      s('path', { class: 'now', d: `M${x(this.state.stage)} 0V${high}`, 'vector-effect': 'non-scaling-stroke' }));
  }

  sideChoice() {
    const { stage, side } = this.state;
    return [
      h('button', { class: 'tool', type: 'button', title: 'Previous stage (←)', 'aria-label': 'Previous stage', onclick: () => this.next(-1) }, '←'),
      stage > 0 && choice([['before', 'Before'], ['after', 'After']], side, (found) => this.turn(found), 'Before or after the pass'),
      h('button', { class: 'tool', type: 'button', title: 'Next stage (→)', 'aria-label': 'Next stage', onclick: () => this.next(1) }, '→'),
    ].filter(Boolean);
  }

  /** Go to a stage with the chosen node, or with what stands for it there. */
  step(stage, side = 'after', quietly = false) {
    const { report, state } = this;
    const [from, to] = [this.standing(state), this.standing({ stage, side })];
    const node = state.node === null ? null : report.carried(state.node, from, to);
    const same = report.stages[from].graph === report.stages[to].graph;
    go({ stage, side, node, view: same ? state.view : null }, quietly);
  }

  turn(side) { this.step(this.state.stage, side); }

  next(by) {
    const { report, state } = this;
    let k = state.stage + by;
    while (this.hide && k > 0 && k < report.stages.length && !this.changes(report.stages[k])) k += by;
    if (k >= 0 && k < report.stages.length) this.step(k, state.side, true);
  }

  /** Colour what the pass changed; where it changed nothing, by what things are. */
  paint(box, graph) {
    const { report, state } = this;
    if (state.stage === 0 || !report.fates[state.stage] || box.kind === 'outside' || box.kind === 'result') return {};
    const kind = (n) => (state.side === 'before' ? report.fate(state.stage, n).kind : report.birth(state.stage, n));
    const inner = box.opens.length && (box.node < 0 || box.kind === 'control') ? box.opens.flatMap((key) => graph.inside(key)) : [];
    const changed = inner.filter((n) => kind(n) !== 'kept');
    if (box.node < 0) return changed.length ? { badge: changed.length, style: `f-${most(changed.map(kind))}`, note: `${changed.length} changed` } : { style: 'still' };
    const found = kind(box.node);
    if (found === 'kept' && !changed.length) return { style: 'still' };
    return { style: `f-${found}`, note: FATES[found], badge: changed.length };
  }

  /** Return what the pass did: how many nodes of each fate, every rule with the user's lines, what was left alone. */
  summary() {
    const { report, state } = this;
    const stage = report.stages[state.stage];
    const tally = new Map();
    for (const [node] of report.fates[state.stage] || []) {
      const { kind } = report.fate(state.stage, node);
      if (kind !== 'kept') tally.set(kind, [...(tally.get(kind) || []), node]);
    }
    const chips = [...tally].map(([kind, found]) => h('button', { type: 'button', class: `chip f-${kind}`, title: 'Show the next of these',
      onclick: () => this.cycle(found) }, `${FATES[kind]} ${found.length}`));
    const count = ([before, after], word) => (before === after ? counted(after, word) : `${before} → ${counted(after, word)}`);
    return [
      h('section', {}, h('h3', {}, `${stage.name}`),
        h('p', {}, `${count(stage.nodes, 'node')}, ${count(stage.kernels, 'kernel')}, ${seconds(stage.seconds)}`),
        chips.length > 0 && h('div', { class: 'legend', style: 'margin-top:8px' }, chips),
        !chips.length && state.stage > 0 && h('p', { class: 'soft' }, 'This pass changed nothing here.')),
      this.rules('Rules', stage.rewrites), this.rules('Left alone', stage.declined),
      (state.stage === 0 || !report.fates[state.stage]) && this.legend(),
    ].filter(Boolean);
  }

  legend() {
    return h('section', {}, h('h3', {}, 'Colours'), h('div', { class: 'legend' },
      Object.entries(KINDS).map(([kind, title]) => h('span', { class: `chip k-${kind}` }, title))));
  }

  /** Choose one node after the other of those with one fate, in the graph before the pass. */
  cycle(nodes) {
    const at = nodes.indexOf(this.state.side === 'before' ? this.state.node : -1);
    go({ side: 'before', node: nodes[(at + 1) % nodes.length], view: null }, true);
  }

  rules(title, rows) {
    const { report, state } = this;
    if (!rows.length) return null;
    const found = new Map();
    for (const [rule, place, note, count] of rows) {
      if (!found.has(rule)) found.set(rule, new Map());
      const key = `${report.nodes.line(place)} ${note}`;
      const line = found.get(rule).get(key) || { place, note, count: 0, scopes: new Set() };
      line.count += count;
      line.scopes.add(report.nodes.place(place)?.scope);
      found.get(rule).set(key, line);
    }
    return h('section', {}, h('h3', {}, title), [...found].map(([rule, byLine]) => {
      const lines = [...byLine.values()];
      const total = lines.reduce((sum, { count }) => sum + count, 0);
      const shown = lines.slice(0, 12);
      const nodes = (report.fates[state.stage] || []).map(([n]) => n).filter((n) => report.fate(state.stage, n).rule === rule);
      return h('div', { class: 'rule' }, h('div', { class: 'rule-name' }, nodes.length ? link(rule, () => this.cycle(nodes), { title: 'Show the next node that it changed' }) : h('span', {}, rule), h('span', { class: 'soft' }, `${total}×`)),
        shown.map(({ place, note, count, scopes }) => h('div', { style: 'margin-top:6px' }, quoted(report.nodes.place(place), [...scopes]),
          (note || count > 1) && h('div', { class: 'soft' }, [note, count > 1 ? `${count} times` : ''].filter(Boolean).join(', ')))),
        lines.length > shown.length && h('p', { class: 'soft' }, `and ${counted(lines.length - shown.length, 'more line')}`));
    }));
  }

  key(event) {
    if (event.key === 'ArrowRight' || event.key === 'ArrowDown') this.next(1);
    else if (event.key === 'ArrowLeft' || event.key === 'ArrowUp') this.next(-1);
    else if (event.key === 'b') this.turn(this.state.side === 'before' ? 'after' : 'before');
    else return paneKey(this.pane, event);
    return true;
  }
}

/** Return what occurs most often. */
function most(words) {
  const counts = new Map();
  for (const word of words) counts.set(word, (counts.get(word) || 0) + 1);
  return [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

/** Keys that every drawing knows; returns whether one was pressed. */
function paneKey(pane, event) {
  const drawing = pane.drawing;
  if (event.key === '+' || event.key === '=') drawing.zoom(1.3);
  else if (event.key === '-') drawing.zoom(1 / 1.3);
  else if (event.key === '0') drawing.fit();
  else if (event.key === 'Backspace' || event.key === 'u') return pane.leave();
  else return false;
  return true;
}
