// The tables that the page carries, unpacked when they are first needed.

const entries = JSON.parse(document.getElementById('pack').textContent);
const unpacked = new Map();

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Response(stream).text();
}

/** Return the promise of an entry's text. */
function text(key) {
  if (!unpacked.has(key)) unpacked.set(key, inflate(entries[key]));
  return unpacked.get(key);
}

const values = new Map();

/** Return the promise of an entry's value. */
function value(key) {
  if (!values.has(key)) values.set(key, text(key).then((found) => (unpacked.delete(key), JSON.parse(found))));
  return values.get(key);
}

/** All nodes of all stages, by number. */
class Nodes {
  constructor({ names, places, rows }) {
    Object.assign(this, { names, places, rows });
  }
  get(number) {
    const [op, kind, type, place, name, detail, inputs] = this.rows[number];
    const [op_, kind_, type_] = [op, kind, type].map((k) => this.names[k]);
    return { number, op: op_, kind: kind_, type: type_, place, name, detail, inputs };
  }
  /** Return one line that tells which node it is. */
  title(number) {
    const { op, name, type } = this.get(number);
    return `${name || op}: ${type}`;
  }
  place(number) {
    if (number < 0) return null;
    const [file, line, text, scope] = this.places[number];
    return { file, line, text, scope, short: `${file}:${line}` };
  }
  /** Return what tells a line from others, whatever scopes were open when it ran. */
  line(number) {
    return this.place(number)?.short || '';
  }
}

/** One graph with its views: what stands where, who reads whom. */
class Graph {
  constructor({ views, home }, all) {
    this.views = views;
    this.home = home;
    this.members = new Map();
    this.readers = new Map();
    for (const node of Object.keys(home).map(Number)) {
      for (const operand of all.rows[node][6]) {
        if (!this.readers.has(operand)) this.readers.set(operand, []);
        this.readers.get(operand).push(node);
      }
    }
  }
  view(key) {
    const [title, kind, around, boxes, edges, shape] = this.views[key];
    return {
      key, title, kind, around, edges, shape,
      boxes: boxes.map(([lines, kind, node, opens, reads, updates]) => ({ lines, kind, node, opens, reads, updates })),
    };
  }
  /** Return the views from the outermost to the given one. */
  path(key) {
    const found = [];
    for (let at = key; at; at = this.views[at][2]) found.unshift(this.view(at));
    return found;
  }
  /** Return the nodes in a view and in all that open from it. */
  inside(key) {
    if (!this.members.has(key)) {
      const found = [];
      this.members.set(key, found);
      for (const [, kind, node, opens] of this.views[key][3]) {
        if (kind === 'outside') continue;
        if (node >= 0) found.push(node);
        for (const inner of opens) found.push(...this.inside(inner));
      }
    }
    return this.members.get(key);
  }
}

const seconds = (s) => {
  const [unit, factor] = s >= 1 ? ['s', 1] : s >= 1e-3 ? ['ms', 1e3] : s >= 1e-6 ? ['µs', 1e6] : ['ns', 1e9];
  return `${significant(s * factor)} ${unit}`;
};
const bytes = (b) => {
  const power = Math.min(Math.floor(Math.log2(Math.max(b, 1)) / 10), 4);
  return `${power ? significant(b / 1024 ** power) : b} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`;
};
const significant = (x) => (x >= 100 ? String(Math.round(x)) : x.toPrecision(3).replace(/\.?0+$/, ''));
const counted = (n, word) => `${n.toLocaleString('en')} ${word}${n === 1 ? '' : 's'}`;
