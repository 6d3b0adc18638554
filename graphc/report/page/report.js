// The whole report: its tables, the history of nodes through the stages, and where the reader is.

class Report {
  constructor(program, nodes, shapes) {
    Object.assign(this, program, { nodes: new Nodes(nodes), shapes });
    this.graphs = new Map();
    const leaves = new Set(['placeholder', 'variable', 'constant'].map((kind) => this.nodes.names.indexOf(kind)));
    this.leaf = (node) => leaves.has(this.nodes.rows[node][1]);
    this.reads = (reader, operand) => this.nodes.rows[reader][6].includes(operand);
    const members = this.stageGraphs.map((nodes) => new Set(nodes));
    this.stageNodes = this.stages.map(({ graph }) => members[graph]);
    this.links = this.stages.map((_, k) => this.index(k));
    this.pairs = { forward: new Map(), backward: new Map() };
    for (const [backward, forward] of this.gradients.pairs) {
      this.pairs.forward.set(backward, forward);
      if (!this.pairs.backward.has(forward)) this.pairs.backward.set(forward, []);
      this.pairs.backward.get(forward).push(backward);
    }
    this.memberOf = new Map();
    this.kernels.forEach((kernel, k) => [...kernel.nodes, ...kernel.steps].forEach((n) => {
      if (!this.memberOf.has(n)) this.memberOf.set(n, []);
      this.memberOf.get(n).push(k);
    }));
  }

  graph(key) {
    if (!this.graphs.has(key)) this.graphs.set(key, value(key).then((data) => new Graph(data, this.nodes)));
    return this.graphs.get(key);
  }

  /** Read the fates of a stage in both directions. */
  index(stage) {
    const fates = new Map();
    const sources = new Map();
    for (const [node, fate] of this.fates[stage] || []) {
      // A number alone: kept, over other operands.
      const [kind, rule, targets, note] = typeof fate === 'number' ? ['kept', -1, [fate], -1] : fate;
      const word = (k) => (k < 0 ? '' : this.words[k]);
      fates.set(node, { kind, rule: word(rule), targets, note: word(note) });
      for (const target of targets) {
        if (!sources.has(target)) sources.set(target, []);
        sources.get(target).push(node);
      }
    }
    return { fates, sources };
  }

  /** Return what a stage made of a node that stood before it. */
  fate(stage, node) {
    return this.links[stage].fates.get(node) || { kind: 'kept', rule: '', targets: [node], note: '' };
  }

  /** Return how a node came to be in the graph after a stage: the most telling fate of what became it. */
  birth(stage, node) {
    if (stage === 0) return 'kept';
    const sources = this.links[stage].sources.get(node);
    // The inputs of a fused kernel only stand for what it reads.
    if (!sources) return this.stageNodes[stage - 1].has(node) || this.leaf(node) ? 'kept' : 'new';
    const kinds = sources.map((n) => this.fate(stage, n).kind);
    return kinds.find((kind) => kind !== 'kept' && kind !== 'absorbed') || kinds[0];
  }

  /** Return all that happened to a node, given the stage after which it stands; the first entry is the traced one. */
  course(stage, node) {
    let first = node;
    for (let k = stage; k > 0; k -= 1) {
      const sources = this.links[k].sources.get(first);
      if (sources) first = sources[0];
      else if (!this.stageNodes[k - 1].has(first)) {
        const found = [{ index: k, kind: 'new', rule: '', note: 'made by this pass', node: first, targets: [] }];
        return this.follow(found, k + 1, first);
      }
    }
    return this.follow([{ index: 0, kind: 'kept', rule: '', note: '', node: first, targets: [] }], 1, first);
  }

  follow(found, from, first) {
    let at = first;
    for (let k = from; k < this.stages.length; k += 1) {
      const fate = this.fate(k, at);
      if (fate.kind !== 'kept') found.push({ index: k, ...fate, node: at });
      if (!fate.targets.length) break;
      at = fate.targets[0];
    }
    return found;
  }

  /** Return the node that stands for another one after a later or an earlier stage; null if none does. */
  carried(node, from, to) {
    let at = node;
    for (let k = from + 1; k <= to && at !== undefined; k += 1) at = this.fate(k, at).targets[0];
    for (let k = from; k > to && at !== undefined; k -= 1) {
      const sources = this.links[k].sources.get(at);
      at = sources ? sources[0] : this.stageNodes[k - 1].has(at) ? at : undefined;
    }
    return at ?? null;
  }

  kernelsOf(stage, node) {
    const last = this.carried(node, stage, this.stages.length - 1);
    return last === null ? [] : this.memberOf.get(last) || [];
  }

  /** Return the measured seconds of a kernel; 0 where there is no measurement. */
  timeOf(kernel) {
    return (this.profile?.steps || []).filter((step) => step.kernel === kernel).reduce((sum, step) => sum + step.elapsed_seconds, 0);
  }

  toStage(stage, side, node = null) { go({ tab: 'stages', stage, side, node, view: null }); }
  toKernel(kernel, show) { go({ tab: 'kernels', kernel, show: show || 'graph', node: null, view: null }); }
}

// Where the reader is: the part of the address behind the '#', so that Back works and places can be shared.
const FIELDS = { tab: 'overview', stage: 0, side: 'after', view: null, node: null, kernel: 0, show: 'graph', step: null };

function here() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.entries(FIELDS).map(([key, initial]) => {
    const found = given.get(key);
    const numeric = ['stage', 'node', 'kernel', 'step'].includes(key);
    return [key, found === null ? initial : numeric ? Number(found) : found];
  }));
}

/** Go somewhere: change some of the fields; `quietly` leaves no entry for Back. */
function go(change, quietly = false) {
  const next = { ...here(), ...change };
  const shown = Object.entries(next).filter(([key, found]) => found !== FIELDS[key] && found !== null);
  const hash = `#${new URLSearchParams(shown.map(([key, found]) => [key, String(found)]))}`;
  if (hash === location.hash) return;
  history[quietly ? 'replaceState' : 'pushState'](null, '', hash);
  dispatchEvent(new Event('moved'));
}
