// What the page knows of a node: its type, the user's line, its operands and readers, and where it went.

const KINDS = {
  placeholder: 'input', variable: 'variable', constant: 'constant', operation: 'operation', contraction: 'contraction',
  composite: 'to be expanded', control: 'loop or branch', fused: 'fused kernel',
};
const FATES = {
  rewritten: 'rewritten', merged: 'merged', folded: 'folded', fused: 'fused', absorbed: 'absorbed', pruned: 'removed',
  new: 'new',
};

/** Return what a node is, as sections of the side panel; `go(node)` is called for other nodes. */
function nodeFacts(report, graph, number, go) {
  const node = report.nodes.get(number);
  const others = (numbers) => h('div', { class: 'links' }, numbers.map((n) => link(report.nodes.title(n), () => go(n))));
  const readers = [...new Set(graph.readers.get(number) || [])];
  const rows = [
    ['type', h('code', {}, node.type)],
    node.name && ['name', node.name],
    node.detail && [node.kind === 'constant' ? 'value' : 'with', h('code', {}, node.detail)],
    node.inputs.length && ['reads', others(node.inputs)],
    readers.length && ['read by', others(readers)],
  ].filter(Boolean);
  return h('section', { 'aria-label': 'The chosen node' },
    h('h2', {}, node.op, ' ', h('span', { class: `chip k-${node.kind}` }, KINDS[node.kind] || node.kind)),
    h('dl', { class: 'facts', style: 'margin:10px 0' }, rows.flatMap(([title, content]) => [h('dt', {}, title), h('dd', {}, content)])),
    quoted(report.nodes.place(node.place)));
}

/** Return where a node came from and went, stage by stage. */
function nodeTrail(report, stage, number) {
  const steps = report.course(stage, number);
  const kernels = report.kernelsOf(stage, number);
  const forward = report.pairs.forward.get(steps[0].node);
  return h('section', {}, h('h3', {}, 'Where it came from and went'),
    h('ol', { class: 'trail' }, steps.map((step) => h('li', { class: `f-${step.kind}` }, h('div', {},
      link(step.index === 0 ? 'traced' : report.stages[step.index].name, () => report.toStage(step.index, step.kind === 'pruned' ? 'before' : 'after', step.node)),
      h('span', { class: 'soft' }, ` ${step.index === 0 ? '' : FATES[step.kind] || step.kind}${step.rule ? `: ${step.rule}` : ''}`),
      step.note && h('div', { class: 'soft' }, step.note),
      step.index > 0 && step.targets.length > 0 && h('div', {}, 'now ', link(report.nodes.title(step.targets[0]), () => report.toStage(step.index, 'after', step.targets[0])))))),
    kernels.map((k) => h('li', { class: 'f-fused' }, h('div', {}, 'runs in ', link(report.kernels[k].name, () => report.toKernel(k))))),
    ),
    forward !== undefined && h('p', { class: 'soft' }, 'belongs to the gradient of ', link(report.nodes.title(forward), () => report.toStage(0, 'after', forward))));
}
