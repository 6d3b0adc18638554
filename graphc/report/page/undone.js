// What was not fused, rewritten, vectorized or shared among threads, and why.

const MEANINGS = {
  'not fused': 'Kernels of which one reads the other, and why they stayed apart; kernels that take no others in.',
  'not rewritten': 'Rewritings that would have been possible but were not expected to pay.',
  'not vectorized': 'Kernels whose loops compute one element at a time.',
  'not parallelized': 'Kernels that one thread computes alone.',
  'schedules not taken': 'For products and convolutions, the second-best schedule by the estimate that decided.',
};

class Undone {
  constructor(report) {
    this.report = report;
    this.element = h('div', { class: 'page' }, report.undone.map(([title, found], k) => [
      h('h2', k ? {} : { style: 'margin-top:0' }, `${title[0].toUpperCase()}${title.slice(1)} `, h('span', { class: 'soft' }, found.length ? String(found.length) : '')),
      h('p', { class: 'soft', style: 'margin-bottom:10px' }, found.length ? MEANINGS[title] || '' : 'Nothing.'),
      found.length > 0 && this.table(title, found)]));
  }

  table(title, found) {
    const { report } = this;
    const named = found.some(([subject]) => subject);
    const scoped = found.some(([, , place]) => report.nodes.place(place)?.scope);
    const rows = found.map(([subject, why, place, kernel, count]) => {
      const at = report.nodes.place(place);
      return [kernel, ...(named ? [subject] : []), h('div', {}, why, count > 1 && h('span', { class: 'soft' }, ` (${count} times)`)),
        at ? at.short : '', ...(scoped ? [at ? at.scope : ''] : []), h('code', {}, at ? at.text : '')];
    });
    return table([...(named ? [['what']] : []), ['why'], ['line'], ...(scoped ? [['scope']] : []), ['text', false, 'code']], rows, { open: (kernel) => report.toKernel(kernel), label: title });
  }

  update() {}
  key() { return false; }
}
