// A graph to look into: where one is, the drawing, what boxes lead to.

class Pane {
  /**
   * `show(key, node)` is asked to go to a view, `choose(node)` to a node, `group(box)` tells of a chosen box without one; `paint(box, graph)` colours boxes.
   * `extra` are elements at the right end of the bar.
   */
  constructor({ label, show, choose, group, paint, report, extra = [] }) {
    Object.assign(this, { show, paint, choose, group, reads: report.reads, leaf: report.leaf });
    this.crumbs = h('div', { class: 'crumbs', 'aria-label': 'Where you are' });
    this.drawing = new Drawing({ label, choose: (box) => this.pick(box), open: (box) => this.open(box) });
    this.extra = h('div', { style: 'display:flex;gap:10px;align-items:center' }, extra);
    this.element = h('section', { class: 'pane', 'aria-label': label },
      h('div', { class: 'pane-bar' }, this.crumbs, this.extra), this.drawing.element);
  }

  /** Draw a view of a graph, if it is not drawn yet; `look` is what else decides its colours. */
  draw(graph, key, shapes, node, look) {
    const fresh = this.graph !== graph || this.key !== key || this.look !== look;
    if (fresh) {
      const same = this.graph === graph && this.key === key;
      const at = this.drawing.at;
      Object.assign(this, { graph, key, look, view: graph.view(key) });
      this.drawing.draw(this.view, shapes[this.view.shape], (box) => this.paint(box, graph));
      if (same) this.drawing.move(at.x, at.y, at.scale);
      this.trail();
    }
    this.drawing.mark(this.finds(node));
  }

  /** Return the test for the boxes that show a node: its own, those it stands in, or those whose label has it. */
  finds(node) {
    if (node === null) return () => false;
    const { boxes } = this.view;
    if (boxes.some((box) => box.node === node)) return (box) => box.node === node;
    if (boxes.some((box) => this.holds(box, node))) return (box) => this.holds(box, node);
    return (box) => box.node >= 0 && (this.reads(box.node, node) || this.reads(node, box.node));
  }

  /** Tell whether a node stands in a box. */
  holds(box, node) {
    return box.kind !== 'outside' && box.opens.some((key) => this.graph.inside(key).includes(node));
  }

  /** Return how many operations there are in the view and inside of its boxes. */
  operations() {
    return new Set(this.graph.inside(this.key).filter((n) => !this.leaf(n))).size;
  }

  trail() {
    const path = this.graph.path(this.key);
    put(this.crumbs, ...path.flatMap((view, k) => [
      k > 0 ? h('span', { class: 'soft', 'aria-hidden': 'true' }, '›') : null,
      k === path.length - 1 ? h('b', { title: view.title }, view.title) : link(view.title, () => this.show(view.key, null)),
    ]).filter(Boolean), h('span', { class: 'soft' }, counted(this.operations(), 'operation')));
  }

  pick(box) {
    if (box.kind === 'result') return;
    if (box.node >= 0) this.choose(box.node);
    else {
      this.drawing.mark((other) => other === box);
      this.group?.(box);
    }
  }

  open(box) {
    if (box.opens.length) this.show(box.opens[0], box.kind === 'outside' && box.node >= 0 ? box.node : null);
    else this.pick(box);
  }

  /** Go to the view around; return whether there is one. */
  leave() {
    const outer = this.view?.around;
    if (outer) this.show(outer, null);
    return Boolean(outer);
  }
}
