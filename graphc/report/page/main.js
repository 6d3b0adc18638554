// The page: tabs, theme, keyboard.

const TABS = [
  ['overview', 'Overview', Overview], ['stages', 'Stages', Stages], ['gradients', 'Gradients', Gradients], ['kernels', 'Kernels', Kernels],
  ['memory', 'Memory', Memory], ['profile', 'Profile', Profile], ['undone', 'Left undone', Undone],
];
const KEYS = [
  ['/', 'search'], ['1 to 7', 'views'], ['← →', 'previous or next stage, kernel or step'], ['b', 'before or after the pass'],
  ['Tab, ↑ ↓', 'in a drawing: from box to box along the lines'], ['Enter', 'open a scope, loop or fused kernel'], ['u', 'back to what is around it'],
  ['+ − 0', 'larger, smaller, all of it'], ['Ctrl and wheel', 'zoom at the pointer; drag to move'], ['Esc', 'let go of what is chosen'],
];

function theme() {
  const wanted = matchMedia('(prefers-color-scheme: dark)');
  const apply = (dark) => { document.documentElement.dataset.theme = dark ? 'dark' : 'light'; };
  apply(wanted.matches);
  wanted.addEventListener('change', () => apply(wanted.matches));
  document.getElementById('theme').addEventListener('click', () => apply(document.documentElement.dataset.theme !== 'dark'));
}

function help() {
  const dialog = document.getElementById('keys');
  dialog.append(h('h2', {}, 'Keyboard'), h('dl', {}, KEYS.flatMap(([key, what]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, what)])),
    h('form', { method: 'dialog' }, h('button', { class: 'plain' }, 'Close')));
  document.getElementById('help').addEventListener('click', () => dialog.showModal());
}

async function start() {
  theme();
  help();
  const report = new Report(...await Promise.all(['program', 'nodes', 'shapes'].map(value)));
  const main = document.getElementById('main');
  const made = new Map();
  const buttons = TABS.map(([key, title]) => h('button', { type: 'button', role: 'tab', id: `tab-${key}`, 'aria-controls': 'main', 'data-text': title, onclick: () => go({ tab: key, node: null, view: null }) }, title));
  document.getElementById('tabs').append(...buttons);
  new Search(report);
  let shown = null;
  async function show() {
    const state = here();
    const at = Math.max(TABS.findIndex(([key]) => key === state.tab), 0);
    const [key, title, Tab] = TABS[at];
    buttons.forEach((button, k) => { button.setAttribute('aria-selected', String(k === at)); button.tabIndex = k === at ? 0 : -1; });
    if (!made.has(key)) made.set(key, new Tab(report));
    const tab = made.get(key);
    if (shown !== tab) {
      put(main, tab.element);
      main.setAttribute('aria-label', title);
      shown = tab;
    }
    await tab.update(state);
    document.documentElement.dataset.ready = `${Number(document.documentElement.dataset.ready || 0) + 1}`;
  }
  addEventListener('moved', show);
  addEventListener('popstate', show);
  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('input, textarea, select');
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.getElementById('keys').open) return;
    const tab = Number(event.key);
    if (event.key === '/') document.getElementById('search').select();
    else if (event.key === '?') document.getElementById('keys').showModal();
    else if (event.key === 'Escape') go({ node: null }, true);
    else if (event.target.role === 'tab' && /Arrow(Left|Right)/.test(event.key)) walk(event);
    else if (tab >= 1 && tab <= TABS.length) go({ tab: TABS[tab - 1][0], node: null, view: null });
    else if (!shown?.key(event)) return;
    event.preventDefault();
  });
  function walk(event) {
    const by = event.key === 'ArrowRight' ? 1 : -1;
    const next = (buttons.indexOf(event.target) + by + buttons.length) % buttons.length;
    buttons[next].focus();
    buttons[next].click();
  }
  await show();
}

start().catch((error) => {
  document.getElementById('main').replaceChildren(h('p', { class: 'note' }, `This report cannot be shown: ${error.message}`));
  throw error;
});
