// One view of a graph as SVG: pan, zoom, choose, open; by mouse, touch or keyboard.

const [FAR, NEAR, READABLE] = [0.08, 3, 0.6];
// What stands before the names of variables that are read, and of those that get new values.
const MARKS = { reads: '·', updates: '→' };

class Drawing {
  /** `choose(box)` is called for a click, `open(box)` for a double click or Enter. */
  constructor({ choose, open, label }) {
    this.handlers = { choose, open };
    this.world = s('g');
    this.sheet = s('svg', { class: 'sheet', role: 'group', 'aria-label': label },
      s('defs', {}, s('marker', { id: `tip-${label.replace(/\W/g, '')}`, viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 6, markerHeight: 6, orient: 'auto' },
        s('path', { class: 'tip', d: 'M0 0L8 4L0 8z' }))), this.world);
    this.marker = `url(#tip-${label.replace(/\W/g, '')})`;
    this.at = { x: 0, y: 0, scale: 1 };
    this.element = h('div', { style: 'position:relative;min-height:0;min-width:0;overflow:hidden' }, this.sheet, h('div', { class: 'tools' },
      h('button', { class: 'tool', type: 'button', title: 'Smaller (-)', 'aria-label': 'Smaller', onclick: () => this.zoom(1 / 1.3) }, '−'),
      h('button', { class: 'tool', type: 'button', title: 'Larger (+)', 'aria-label': 'Larger', onclick: () => this.zoom(1.3) }, '+'),
      h('button', { class: 'tool', type: 'button', title: 'Show all (0)', onclick: () => this.fit() }, 'Fit')));
    this.listen();
  }

  /** Draw a view at the places of a shape; `paint(box)` says what colours and marks a box. */
  draw(view, [width, height, places, routes], paint) {
    Object.assign(this, { view, size: [width, height], places });
    this.wires = view.edges.map(([a, b], k) => s('path', { class: 'wire', d: curve(routes[k]), 'marker-end': this.marker, 'data-from': a, 'data-to': b }));
    this.faces = view.boxes.map((box, k) => this.box(box, places[k], paint(box)));
    this.world.replaceChildren(...this.wires, ...this.faces);
    this.chosen = -1;
    this.faces[0]?.setAttribute('tabindex', '0');
    this.begin();
  }

  box(box, [x, y, width, height], { style = '', badge = 0, note = '' }) {
    const opens = box.opens.length && box.kind !== 'outside';
    const round = box.kind === 'result' || box.kind === 'placeholder' ? height / 2 : 6;
    const names = [...box.reads.map((name) => [name, 'reads']), ...box.updates.map((name) => [name, 'updates'])];
    const middle = y + height / 2 - (box.lines.length + names.length - 1) * 8 + 4;
    const lines = [...box.lines.map((line, k) => [line, k ? '' : 'first']), ...names.map(([name, kind]) => [`${MARKS[kind]} ${name}`, kind])];
    const label = [...box.lines, ...names.map(([name, kind]) => `${kind} ${name}`), note, opens ? 'opens' : ''].filter(Boolean).join(', ');
    const mark = String(badge);
    return s('g', { class: `box k-${box.kind} ${style}`, tabindex: -1, role: 'button', 'aria-label': label,
      onclick: () => this.handlers.choose(box), ondblclick: () => this.handlers.open(box) },
    s('title', {}, label),
    opens && s('rect', { class: 'under', x: x + 4, y: y + 4, width, height, rx: round }),
    s('rect', { class: 'face', x, y, width, height, rx: round }),
    lines.map(([line, kind], k) => s('text', { class: kind, x: x + width / 2, y: middle + k * 16 }, line)),
    badge > 0 && s('rect', { class: 'badge', x: x + width - 8 - 6 * mark.length, y: y - 8, width: 10 + 6 * mark.length, height: 16, rx: 8 }),
    badge > 0 && s('text', { class: 'badge-text', x: x + width - 3 - 3 * mark.length, y: y + 4 }, mark));
  }

  /** Mark the boxes for which `test` holds, and the lines at them; bring the first one into sight. */
  mark(test, style = 'chosen', follow = true) {
    const found = this.view.boxes.map((box, k) => (test(box) ? k : -1)).filter((k) => k >= 0);
    const marked = new Set(found);
    this.faces.forEach((face, k) => face.classList.toggle(style, marked.has(k)));
    this.wires.forEach((wire, k) => wire.classList.toggle('near', this.view.edges[k].some((end) => marked.has(end))));
    if (!found.length) return false;
    if (style === 'chosen') this.stop(found[0]);
    if (follow) this.reveal(found[0]);
    return true;
  }

  /** Make a box the one that Tab comes to. */
  stop(k) {
    this.faces[this.chosen]?.setAttribute('tabindex', '-1');
    this.faces[0]?.setAttribute('tabindex', '-1');
    this.chosen = k;
    this.faces[k].setAttribute('tabindex', '0');
  }

  reveal(k) {
    const [x, y, width, height] = this.places[k];
    const { clientWidth: w, clientHeight: t } = this.sheet;
    const { x: dx, y: dy, scale } = this.at;
    const [left, top] = [x * scale + dx, y * scale + dy];
    const hidden = left < 8 || top < 8 || left + width * scale > w - 8 || top + height * scale > t - 8;
    if (hidden) this.move(w / 2 - (x + width / 2) * scale, t / 2 - (y + height / 2) * scale, scale);
  }

  /** Show the top of a view, as large as can be read. */
  begin() {
    const { clientWidth: w, clientHeight: t } = this.sheet;
    const whole = Math.min((w - 48) / this.size[0], (t - 48) / this.size[1], 1);
    const scale = Math.max(whole, Math.min((w - 48) / this.size[0], 1), READABLE);
    const first = this.places[0] || [0, 0, 0, 0];
    const x = this.size[0] * scale < w ? (w - this.size[0] * scale) / 2 : Math.min(24, w / 2 - (first[0] + first[2] / 2) * scale);
    this.move(x, this.size[1] * scale < t ? (t - this.size[1] * scale) / 2 : 24, scale);
  }

  fit() {
    const { clientWidth: w, clientHeight: t } = this.sheet;
    const scale = Math.max(Math.min((w - 48) / this.size[0], (t - 48) / this.size[1], 1.4), FAR);
    this.move((w - this.size[0] * scale) / 2, (t - this.size[1] * scale) / 2, scale);
  }

  zoom(factor, x = this.sheet.clientWidth / 2, y = this.sheet.clientHeight / 2) {
    const scale = Math.min(Math.max(this.at.scale * factor, FAR), NEAR);
    const by = scale / this.at.scale;
    this.move(x - (x - this.at.x) * by, y - (y - this.at.y) * by, scale);
  }

  move(x, y, scale) {
    this.at = { x, y, scale };
    this.world.setAttribute('transform', `translate(${x} ${y}) scale(${scale})`);
  }

  listen() {
    const sheet = this.sheet;
    sheet.addEventListener('wheel', (event) => {
      event.preventDefault();
      const { x, y, scale } = this.at;
      if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
      else this.move(x - event.deltaX, y - event.deltaY, scale);
    }, { passive: false });
    let held = null;
    sheet.addEventListener('pointerdown', (event) => { held = { x: event.clientX, y: event.clientY, ...{ from: this.at } }; });
    sheet.addEventListener('pointermove', (event) => {
      if (!held || !event.buttons) return;
      const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
      if (Math.abs(dx) + Math.abs(dy) > 4) this.move(held.from.x + dx, held.from.y + dy, held.from.scale);
    });
    sheet.addEventListener('pointerup', () => { held = null; });
    sheet.addEventListener('keydown', (event) => this.key(event));
  }

  key(event) {
    const at = this.faces.indexOf(document.activeElement);
    if (at < 0) return;
    const box = this.view.boxes[at];
    if (event.key === 'Enter') this.handlers.open(box);
    else if (event.key === ' ') this.handlers.choose(box);
    else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') this.walk(at, event.key === 'ArrowDown');
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Go along a line, down to a reader or up to an operand; where there is none, to the next box. */
  walk(at, down) {
    const [here, there] = down ? [0, 1] : [1, 0];
    const edge = this.view.edges.find((e) => e[here] === at);
    const next = edge ? edge[there] : (at + (down ? 1 : -1) + this.faces.length) % this.faces.length;
    this.stop(next);
    this.faces[next].focus({ preventScroll: true });
    this.reveal(next);
    this.handlers.choose(this.view.boxes[next]);
  }
}

/** Return a smooth path through points, x before y. */
function curve(points) {
  let path = `M${points[0]} ${points[1]}`;
  for (let k = 2; k < points.length; k += 2) {
    const [x, y, u, v] = points.slice(k - 2, k + 2);
    path += u === x ? `L${u} ${v}` : `C${x} ${(y + v) / 2} ${u} ${(y + v) / 2} ${u} ${v}`;
  }
  return path;
}
