// Long texts in blocks that are coloured when they come into sight.

const BLOCK = 120;
const RULES = {
  python: [['comment', '#.*'], ['text', "'[^']*'|\"[^\"]*\""], ['keyword', '\\b(?:def|for|in|range|if|else|elif|while|return|and|or|not|pass|import|from)\\b'], ['number', '\\b\\d[\\w.]*(?:[eE][+-]\\d+)?']],
  llvm: [['comment', ';.*'], ['text', '"[^"]*"'], ['name', '[%@][\\w.$-]+'], ['label', '^[\\w.$-]+:'], ['keyword', '\\b(?:define|declare|load|store|br|ret|phi|select|call|getelementptr|inbounds|add|sub|mul|shl|lshr|icmp|fcmp|fadd|fmul|fsub|fdiv|fneg|bitcast|sext|zext|trunc|insertelement|extractelement|shufflevector|tail|fast|nsw|nuw|to|label|align|noalias|attributes)\\b'], ['number', '\\b(?:0x[\\dA-Fa-f]+|\\d[\\w.+-]*)\\b']],
  assembly: [['comment', '[#;].*'], ['label', '^[\\w.$]+:'], ['text', '"[^"]*"'], ['keyword', '^\\s+[a-z]\\w*'], ['name', '%\\w+|\\b[xyz]mm\\d+\\b'], ['number', '\\$?-?\\b(?:0x[\\dA-Fa-f]+|\\d+)\\b']],
};

/** Return an element that shows a text with numbered, coloured lines. */
function listing(content, language) {
  const rules = RULES[language];
  const pattern = new RegExp(rules.map(([name, rule]) => `(?<${name}>${rule})`).join('|'), 'gm');
  const lines = content.replace(/\n$/, '').split('\n');
  const element = h('div', { class: 'listing', tabindex: 0, role: 'region', 'aria-label': language });
  const watch = new IntersectionObserver((seen) => seen.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
    watch.unobserve(target);
    const text = target.lastChild;
    text.replaceChildren(...coloured(text.textContent, pattern));
  }), { root: element, rootMargin: '400px' });
  for (let at = 0; at < lines.length; at += BLOCK) {
    const part = lines.slice(at, at + BLOCK);
    const block = h('div', { class: 'block', style: `contain-intrinsic-size: auto ${part.length * 19}px` },
      h('pre', { class: 'numbers', 'aria-hidden': 'true' }, part.map((_, k) => at + k + 1).join('\n')), h('pre', {}, part.join('\n')));
    element.append(block);
    watch.observe(block);
  }
  return element;
}

function coloured(text, pattern) {
  const found = [];
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    const [kind] = Object.entries(match.groups).find(([, part]) => part !== undefined);
    found.push(text.slice(at, match.index), h('span', { class: kind }, match[0]));
    at = match.index + match[0].length;
  }
  return [...found, text.slice(at)];
}
