// Building elements: text is always set as text, never parsed.

function fill(element, properties, children) {
  for (const [key, given] of Object.entries(properties)) {
    if (given === undefined || given === null || given === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), given);
    else element.setAttribute(key, given === true ? '' : given);
  }
  element.append(...shown(children));
  return element;
}

/** Return the children that are there: conditions leave `false` or `null` where there is none. */
const shown = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

/** Put children into an element in the place of those that it has. */
const put = (element, ...children) => element.replaceChildren(...shown(children));

/** Return an HTML element. */
const h = (tag, properties = {}, ...children) => fill(document.createElement(tag), properties, children);

/** Return an SVG element. */
const s = (tag, properties = {}, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', tag), properties, children);

const link = (label, onclick, properties = {}) => h('button', { type: 'button', class: 'link', onclick, ...properties }, label);

/** Return a row of buttons of which one is pressed. */
function choice(options, current, choose, label) {
  return h('div', { class: 'choice', role: 'group', 'aria-label': label }, options.map(([key, title]) =>
    h('button', { type: 'button', 'aria-pressed': String(key === current), onclick: () => choose(key) }, title)));
}

/** Return a line of the user's, with its text and the scopes in which it ran. */
function quoted(place, scopes = place ? [place.scope] : []) {
  if (!place) return h('span', { class: 'soft' }, 'no line of yours');
  const named = scopes.filter(Boolean);
  const more = named.length > 3 ? ` and ${named.length - 2} more` : '';
  const within = named.length ? ` in ${named.slice(0, more ? 2 : 3).join(', ')}${more}` : '';
  return h('div', {}, h('span', { class: 'soft' }, place.short, within), place.text && h('code', { class: 'quote' }, place.text));
}

/** Return a table that sorts by a click on a column's title; rows are cells, the first one a key. */
function table(columns, rows, { open, label, chosen } = {}) {
  const body = h('tbody');
  let [by, down] = [-1, true];
  const heads = columns.map(([title, numeric], k) => h('th', { class: numeric ? 'num' : '' },
    h('button', { type: 'button', onclick: () => sort(k) }, title)));
  const cell = (content) => (content instanceof Object && 'sort' in content ? content.sort : content);
  const text = (content) => (content instanceof Object && 'show' in content ? content.show : content);
  function draw() {
    const order = rows.map((_, k) => k);
    const rank = ([, ...cells]) => cell(cells[by]);
    if (by >= 0) {
      order.sort((a, b) => {
        const [x, y] = [rank(rows[a]), rank(rows[b])];
        const sign = typeof x === 'number' ? x - y : String(x).localeCompare(String(y));
        return down ? -sign : sign;
      });
    }
    body.replaceChildren(...order.map((k) => {
      const [key, ...cells] = rows[k];
      const go = open && key !== null;
      return h('tr', { class: `${go ? 'go' : ''} ${key === chosen ? 'chosen' : ''}`, onclick: go ? () => open(key) : null },
        cells.map((content, at) => h('td', { class: columns[at][1] ? 'num' : columns[at][2] || '' },
          go && at === 0 ? link(text(content), () => open(key)) : text(content))));
    }));
  }
  function sort(k) {
    [by, down] = [k, by === k ? !down : Boolean(columns[k][1])];
    heads.forEach((head, at) => (at === by ? head.setAttribute('aria-sort', down ? 'descending' : 'ascending') : head.removeAttribute('aria-sort')));
    draw();
  }
  draw();
  return h('div', { class: 'framed' }, h('table', { 'aria-label': label }, h('thead', {}, h('tr', {}, heads)), body));
}
