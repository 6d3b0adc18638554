// Measured kernels: a roofline, and a table of times.

const ROOF = { wide: 1100, high: 460, left: 70, low: 46, top: 26, right: 20 };

class Profile {
  constructor(report) {
    Object.assign(this, { report, profile: report.profile });
    this.element = h('div', { class: 'page' });
    if (!this.profile) {
      this.element.append(h('h2', { style: 'margin-top:0' }, 'No measurement'), h('p', { class: 'soft' }, 'This report was written without one. Measure calls, and hand the result to the report:'),
        h('pre', { class: 'code quote', style: 'margin-top:12px;padding:14px' }, 'profile = program.profile(*feeds)\nprogram.report("report.html", profile=profile)'));
      return;
    }
    this.steps = this.profile.steps.filter((step) => step.kind === 'kernel' || step.kind === 'callback');
    const sizes = Object.entries(this.profile.sizes).map(([name, size]) => `${name} = ${size}`).join(', ');
    this.element.append(h('h2', { style: 'margin-top:0' }, 'Time'), h('p', { class: 'soft', style: 'margin-bottom:12px' },
      `The call of median duration among ${this.profile.calls}${sizes ? `, at ${sizes}` : ''}.`), this.cards(), h('h2', {}, 'Roofline'), this.roofline(), h('h2', {}, 'Kernels'), this.table());
  }

  cards() {
    const { seconds: whole, fastest_plain_seconds: plain, around_seconds: around, between_seconds: between, threads, overhead } = this.profile;
    const flops = this.steps.reduce((sum, step) => sum + total(step.flops), 0);
    const moved = this.steps.reduce((sum, step) => sum + step.bytes_read + step.bytes_written, 0);
    const card = (title, found, detail) => h('div', { class: 'card' }, h('h3', {}, title), h('div', { class: 'value' }, found), h('div', { class: 'detail' }, detail));
    return h('div', { class: 'cards' },
      card('Call', seconds(plain), `${counted(threads, 'thread')}; ${seconds(whole)} while timed, ${overhead.toFixed(2)}×`),
      card('Outside of kernels', seconds(around + between), `${significant((100 * (around + between)) / whole)} % of the timed call`),
      card('Arithmetic', `${significant(flops / whole / 1e9)} GFLOP/s`, `${significant((100 * flops) / whole / this.peak)} % of the machine’s ${significant(this.peak / 1e9)}`),
      card('Traffic', `${significant(moved / whole / 1e9)} GB/s`, `${bytes(moved)} read and written at least`));
  }

  get peak() { return Math.max(...Object.values(this.profile.machine.flops_per_second)); }

  /** Return the bytes a second from the fastest cache and from beyond all of them, with the sizes that were copied. */
  get rates() {
    const rungs = this.profile.machine.copied_bytes_per_second;
    return { near: rungs.reduce((a, b) => (b[1] > a[1] ? b : a)), far: rungs.at(-1) };
  }

  roofline() {
    const { wide, high, left, low, top, right } = ROOF;
    const { near, far } = this.rates;
    const moved = (step) => step.bytes_read + step.bytes_written;
    const points = this.steps.map((step, k) => ({ step, k, x: total(step.flops) / moved(step), y: step.flops_per_second }))
      .filter(({ x, y }) => x > 0 && Number.isFinite(x) && y > 0);
    const decades = (found) => [Math.floor(Math.log10(Math.min(...found))), Math.ceil(Math.log10(Math.max(...found)))];
    const [x0, x1] = decades([this.peak / near[1] / 8, (this.peak / far[1]) * 4, ...points.map((p) => p.x)]);
    const [y0, y1] = decades([this.peak * 1.3, this.peak / 300, ...points.map((p) => p.y)]);
    const x = (v) => left + ((Math.log10(v) - x0) / (x1 - x0)) * (wide - left - right);
    const y = (v) => high - low - ((Math.log10(v) - y0) / (y1 - y0)) * (high - low - top);
    const powers = (from, to) => Array.from({ length: to - from + 1 }, (_, k) => 10 ** (from + k));
    const plain = (v) => Number(v.toPrecision(1)).toLocaleString('en', { maximumFractionDigits: 9 });
    const slope = ([size, rate], style) => {
      const start = Math.max(10 ** x0, 10 ** y0 / rate);
      const end = this.peak / rate;
      const at = start * (end / start) ** 0.3;
      const turn = (Math.atan2(y(end * rate) - y(start * rate), x(end) - x(start)) * 180) / Math.PI;
      return [s('path', { class: style, d: `M${x(start)} ${y(start * rate)}L${x(end)} ${y(this.peak)}` }),
        s('text', { x: x(at), y: y(at * rate) - 7, transform: `rotate(${turn} ${x(at)} ${y(at * rate) - 7})` }, `${significant(rate / 1e9)} GB/s, copying ${bytes(size)}`)];
    };
    const longest = Math.max(...this.steps.map((step) => step.elapsed_seconds));
    return s('svg', { class: 'chart', viewBox: `0 0 ${wide} ${high}`, role: 'group', 'aria-label': 'Roofline: arithmetic per byte against speed' },
      powers(x0, x1).map((v) => [s('path', { class: 'grid', d: `M${x(v)} ${top}V${high - low}` }), s('text', { x: x(v), y: high - low + 17, 'text-anchor': 'middle' }, plain(v))]),
      powers(y0, y1).map((v) => [s('path', { class: 'grid', d: `M${left} ${y(v)}H${wide - right}` }), s('text', { x: left - 8, y: y(v) + 4, 'text-anchor': 'end' }, plain(v / 1e9))]),
      near[1] > far[1] * 1.2 && slope(near, 'axis'), slope(far, 'roof'),
      s('path', { class: 'roof', d: `M${x(this.peak / far[1])} ${y(this.peak)}H${wide - right}` }), s('path', { class: 'axis', d: `M${x(this.peak / near[1])} ${y(this.peak)}H${x(this.peak / far[1])}` }),
      s('text', { class: 'title', x: wide - right - 4, y: y(this.peak) - 8, 'text-anchor': 'end' }, `${significant(this.peak / 1e9)} GFLOP/s`),
      s('text', { x: wide - right, y: high - 8, 'text-anchor': 'end' }, 'operations per byte'), s('text', { x: 8, y: 15 }, 'GFLOP/s'),
      points.sort((a, b) => b.step.elapsed_seconds - a.step.elapsed_seconds).map(({ step, k, x: across, y: up }) => s('circle', {
        class: 'spot', cx: x(across), cy: y(up), r: 4 + 14 * Math.sqrt(step.elapsed_seconds / longest), tabindex: 0, role: 'button', 'aria-label': `${step.name}: ${seconds(step.elapsed_seconds)}`,
        onclick: () => this.open(k), onkeydown: (event) => event.key === 'Enter' && this.open(k) },
      s('title', {}, `${step.name}\n${seconds(step.elapsed_seconds)} in ${counted(step.executions, 'run')}\n${significant(up / 1e9)} GFLOP/s, ${significant(step.bytes_per_second / 1e9)} GB/s`))));
  }

  open(k) {
    const { kernel } = this.steps[k];
    if (kernel !== null) this.report.toKernel(kernel);
  }

  table() {
    const whole = this.steps.reduce((sum, step) => sum + step.elapsed_seconds, 0);
    const number = (found, text) => ({ sort: found ?? -1, show: found === null || found === undefined ? '' : text(found) });
    const giga = (found) => significant(found / 1e9);
    const order = this.steps.map((_, k) => k).sort((a, b) => this.steps[b].elapsed_seconds - this.steps[a].elapsed_seconds);
    const rows = order.map((k) => {
      const step = this.steps[k];
      const flops = step.flops && total(step.flops) ? step.flops_per_second : null;
      return [step.kernel === null ? null : k, step.name, number(step.executions, (n) => n.toLocaleString('en')), number(step.threads, String), number(step.elapsed_seconds, seconds),
        number(step.elapsed_seconds / whole, (part) => `${(100 * part).toFixed(1)} %`), number(flops, giga), number(step.bytes_per_second, giga),
        number(step.share_of_roof, (part) => `${significant(100 * part)} %`), step.where.join(', ')];
    });
    return table([['kernel'], ['runs', true], ['threads', true], ['time', true], ['share', true], ['GFLOP/s', true], ['GB/s', true], ['of the roof', true], ['your lines']], rows, { open: (k) => this.open(k), label: 'Measured kernels' });
  }

  update() {}
  key() { return false; }
}

const total = (flops) => Object.values(flops || {}).reduce((sum, n) => sum + n, 0);
