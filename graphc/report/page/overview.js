// What was compiled, in numbers, and what became of each of the user's lines.

class Overview {
  constructor(report) {
    const { stages, kernels, arena } = report;
    const [first, last] = [stages[0], stages.at(-1)];
    const card = (title, found, detail) => h('div', { class: 'card' }, h('h3', {}, title), h('div', { class: 'value' }, found), h('div', { class: 'detail' }, detail));
    const arrow = (from, to) => [h('small', {}, `${from.toLocaleString('en')} → `), to.toLocaleString('en')];
    const time = stages.reduce((sum, stage) => sum + stage.seconds, 0);
    const rewrites = stages.reduce((sum, stage) => sum + stage.rewrites.reduce((n, row) => n + row[3], 0), 0);
    const slowest = stages.reduce((a, b) => (b.seconds > a.seconds ? b : a));
    this.element = h('div', { class: 'page' },
      h('h2', { style: 'margin-top:0' }, 'What was compiled'), this.signature(report),
      h('div', { class: 'cards', style: 'margin-top:14px' },
        card('Nodes', arrow(first.nodes[1], last.nodes[1]), `by ${counted(rewrites, 'rewrite')}`),
        card('Kernels', arrow(first.kernels[1], kernels.length), 'if each operation were one, and now'),
        card('Passes', seconds(time), `${slowest.name} took longest: ${seconds(slowest.seconds)}`),
        card('Arena', arena.size ? bytes(arena.size) : 'none', arena.size ? `${bytes(arena.unshared)} if nothing shared memory` : 'no temporaries')),
      h('h2', {}, 'Passes that changed something'), this.passes(report),
      h('h2', {}, 'Your lines'), this.lines(report));
  }

  signature({ inputs, outputs, updates, name, version }) {
    const few = (names, most) => (names.length > most ? `${names.slice(0, most).join(', ')} and ${names.length - most} more` : names.join(', '));
    return h('div', { class: 'signature code' }, h('div', {}, `${name}(${few(inputs, 12)})`), h('div', {}, `  → ${few(outputs, 8) || 'nothing'}`),
      updates.length > 0 && h('div', { class: 'soft' }, `  updates ${few(updates, 5)}`), h('div', { class: 'soft' }, `  graphc ${version}`));
  }

  passes(report) {
    const rows = report.stages.map((stage, k) => [stage, k]).filter(([stage, k]) => k > 0 && (stage.nodes[0] !== stage.nodes[1] || stage.kernels[0] !== stage.kernels[1] || stage.rewrites.length))
      .map(([stage, k]) => {
        const rules = [...new Set(stage.rewrites.map(([rule]) => rule))];
        return [k, stage.name, { sort: stage.nodes[1], show: stage.nodes.join(' → ') }, { sort: stage.kernels[1], show: stage.kernels.join(' → ') },
          { sort: stage.seconds, show: seconds(stage.seconds) }, rules.slice(0, 3).join('; ') + (rules.length > 3 ? `; and ${rules.length - 3} more` : '')];
      });
    return table([['pass'], ['nodes', true], ['kernels', true], ['time', true], ['rules']], rows, { open: (k) => report.toStage(k, 'before'), label: 'Passes' });
  }

  lines(report) {
    const found = new Map();
    for (const n of report.stageNodes[0]) {
      const place = report.nodes.rows[n][3];
      if (place < 0 || report.nodes.get(n).kind === 'constant') continue;
      const line = report.nodes.line(place);
      const entry = found.get(line) || { place, nodes: [], kernels: new Set(), leaves: true };
      entry.leaves = entry.leaves && report.leaf(n);
      entry.nodes.push(n);
      report.kernelsOf(0, n).forEach((k) => entry.kernels.add(k));
      found.set(line, entry);
    }
    const rows = [...found.values()].sort(({ place: a }, { place: b }) => {
      const [x, y] = [report.nodes.place(a), report.nodes.place(b)];
      return x.file.localeCompare(y.file) || x.line - y.line;
    }).map(({ place, nodes, kernels, leaves }) => {
      const at = report.nodes.place(place);
      const shown = [...kernels].slice(0, 4);
      return [nodes[0], at.short, at.text, { sort: nodes.length, show: String(nodes.length) }, { sort: kernels.size, show: h('div', { class: 'links' },
        shown.map((k) => link(report.kernels[k].name, (event) => { event.stopPropagation(); report.toKernel(k); })), !kernels.size && h('span', { class: 'soft' }, leaves ? 'inputs and variables' : 'none: folded, removed or a view'), kernels.size > 4 && h('span', { class: 'soft' }, `and ${kernels.size - 4} more`)) }];
    });
    return table([['line'], ['text', false, 'code'], ['nodes', true], ['ended in kernels']], rows, { open: (n) => report.toStage(0, 'after', n), label: 'Your lines' });
  }

  update() {}
  key() { return false; }
}
