// Forward and backward program side by side: what belongs to what.

class Gradients {
  constructor(report) {
    this.report = report;
    this.facts = h('aside', { class: 'side', 'aria-label': 'Details' });
    this.keys = {};
    const pane = (side, label) => new Pane({
      report, label, show: (view) => { this.keys[side] = view; this.update(here()); }, choose: (node) => go({ node }, true), group: (box) => this.group(side, box),
      paint: (box, graph) => this.paint(box, graph),
    });
    this.panes = { forward: pane('forward', 'Forward'), backward: pane('backward', 'Backward') };
    this.element = report.gradients.pairs.length ? h('div', { class: 'pair' }, this.panes.forward.element, this.panes.backward.element, this.facts)
      : h('p', { class: 'note' }, 'This program computes no gradients, so there is no backward program to show.');
  }

  mates(node) {
    const { forward, backward } = this.report.pairs;
    return forward.has(node) ? [forward.get(node)] : backward.get(node) || [];
  }

  /** Mark what belongs to the nodes of a group on the other side. */
  group(side, box) {
    const other = this.panes[side === 'forward' ? 'backward' : 'forward'];
    const mates = new Set(box.opens.flatMap((key) => other.graph.inside(key)).flatMap((n) => this.mates(n)));
    const holds = ({ kind, node, opens }) => kind !== 'outside' && (mates.has(node) || opens.some((key) => other.graph.inside(key).some((n) => mates.has(n))));
    other.drawing.mark(holds, 'mate');
  }

  /** Return how many nodes on the other side belong to a box. */
  paint(box, graph) {
    const { backward } = this.report.pairs;
    const nodes = box.node >= 0 ? [box.node] : box.kind === 'outside' ? [] : box.opens.flatMap((key) => graph.inside(key));
    const count = nodes.reduce((sum, n) => sum + (backward.get(n) || []).length, 0);
    return count ? { badge: count, note: `${counted(count, 'node')} in the backward program` } : {};
  }

  async update({ node }) {
    const { report } = this;
    if (!report.gradients.pairs.length) return;
    const graph = await report.graph('gradients');
    const mates = node === null ? [] : this.mates(node);
    const isBackward = report.pairs.forward.has(node);
    for (const [side, pane] of Object.entries(this.panes)) {
      const own = node !== null && (side === 'backward') === isBackward;
      const wanted = own ? [node] : mates;
      const root = report.gradients[side];
      const known = wanted.filter((n) => graph.home[n] && graph.path(graph.home[n])[0].key === root);
      if (known.length && this.last !== node) this.keys[side] = graph.home[known[0]];
      pane.draw(graph, this.keys[side] || root, report.shapes, own ? node : null, '');
      const marked = new Set(own ? [] : known);
      pane.drawing.mark((box) => (box.node >= 0 ? marked.has(box.node) : known.some((n) => pane.holds(box, n) && !own)), 'mate');
    }
    this.last = node;
    put(this.facts, ...(node === null ? [this.lines()] : [
      nodeFacts(report, graph, node, (n) => go({ node: n }, true)),
      h('section', {}, h('h3', {}, isBackward ? 'Belongs to' : 'In the backward program'),
        mates.length ? h('ul', {}, mates.map((n) => h('li', {}, link(report.nodes.title(n), () => go({ node: n }, true))))) : h('p', { class: 'soft' }, 'nothing'),
        h('p', { style: 'margin-top:10px' }, link('Show this node in the stages', () => report.toStage(0, 'after', node)))), this.lines()]));
  }

  /** Return the user's lines, each with what it contributes to both programs. */
  lines() {
    const { report } = this;
    const found = new Map();
    for (const [backward, forward] of report.gradients.pairs) {
      const { place } = report.nodes.get(forward);
      const line = report.nodes.line(place);
      if (!found.has(line)) found.set(line, { place, forward: new Set(), backward: new Set() });
      found.get(line).forward.add(forward);
      found.get(line).backward.add(backward);
    }
    return h('section', {}, h('h3', {}, 'By your lines'), [...found.values()].sort((a, b) => a.place - b.place).map(({ place, ...sides }) =>
      h('div', { class: 'rule' }, quoted(report.nodes.place(place), []), h('div', { class: 'links', style: 'margin-top:4px' },
        link(`${counted(sides.forward.size, 'node')} forward`, () => go({ node: [...sides.forward][0] }, true)),
        link(`${counted(sides.backward.size, 'node')} backward`, () => go({ node: [...sides.backward][0] }, true))))));
  }

  key(event) { return paneKey(this.panes[this.panes.backward.element.contains(document.activeElement) ? 'backward' : 'forward'], event); }
}
