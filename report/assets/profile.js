// Draws the init profiles: an icicle that can be zoomed (click, Enter; Escape
// goes back) and searched. Without it the tables say the same.
(() => {
  'use strict';
  const report = JSON.parse(document.getElementById('thaw-report').textContent);
  const rowHeight = 21;
  const ms = (v) => (v >= 100 ? v.toFixed(0) : v >= 1 ? v.toFixed(1) : v.toFixed(2)) + ' ms';
  const hash = (s) => [...s].reduce((h, c) => (h * 31 + c.codePointAt(0)) >>> 0, 7);
  const colour = (p) => {
    if (p.name === '(other)') return 'other';
    if (p.origin === 'built-in') return 'builtin';
    if (p.name === '(own code)') return 'own';
    if (p.origin === 'layer' || p.origin === 'runtime') return p.origin;
    return 'p' + hash(p.name) % 5;
  };

  // tree gives each module its children, and a root that stands for the init.
  const tree = (profile) => {
    const nodes = profile.modules.map((m, i) => ({...m, index: i, children: []}));
    const root = {name: 'init', root: true, children: [], parent: -1, self_ms: 0, total_ms: 0, count: 0};
    for (const n of nodes) {
      n.above = n.parent >= 0 ? nodes[n.parent] : root;
      n.above.children.push(n);
    }
    for (const part of profile.parts) {
      if (part.part !== 'function') root.children.push({name: part.part, part: true, above: root, children: [], self_ms: part.mean_ms, total_ms: part.mean_ms, count: 0});
    }
    root.total_ms = root.children.reduce((sum, c) => sum + c.total_ms, 0);
    for (const n of [root, ...nodes]) n.children.sort((a, b) => b.total_ms - a.total_ms);
    return root;
  };

  const flames = [];
  for (const panel of document.querySelectorAll('[data-profile]')) {
    const fn = report.functions[Number(panel.dataset.function)];
    const at = (name) => panel.querySelector(`[data-flame="${name}"]`);
    if (!fn.profiles.length) continue;
    const graph = at('graph'), note = at('note'), up = at('up'), found = at('found'), search = at('search'), pick = at('pick');
    panel.querySelector('.flame-tools').hidden = false;
    let profile, root, focus;

    const describe = (n) => {
      if (n.root) return `The init: ${ms(n.total_ms)} of modules and parts.`;
      if (n.part) return `${n.name}: ${ms(n.total_ms)}, ${(100 * n.total_ms / root.total_ms).toFixed(1)} % of the init.`;
      const p = profile.packages[n.package];
      const chain = [];
      for (let a = n.above; a && !a.root; a = a.above) chain.unshift(a.name);
      return `${n.name}${p ? ' (' + p.name + (p.version ? ' ' + p.version : '') + ')' : ''}: ${ms(n.total_ms)} in all, ${ms(n.self_ms)} of its own, ` +
        `${(100 * n.total_ms / root.total_ms).toFixed(1)} % of the init.` + (n.open ? ' It was being loaded when the init ended.' : '') +
        (chain.length ? ` Imported by ${chain.join(' › ')}.` : '');
    };

    const place = (n, left, width, depth, rows) => {
      rows.depth = Math.max(rows.depth, depth);
      rows.push({n, left, width, depth});
      let x = left;
      for (const c of n.children) {
        const w = n.total_ms > 0 ? width * c.total_ms / n.total_ms : 0;
        if (w >= 0.05) place(c, x, w, depth + 1, rows); // of 100: less cannot be seen or hit
        x += w;
      }
    };

    const draw = () => {
      const rows = [];
      rows.depth = 0;
      const above = [];
      for (let a = focus.above; a; a = a.above) above.unshift(a);
      above.forEach((n, depth) => rows.push({n, left: 0, width: 100, depth, above: true}));
      place(focus, 0, 100, above.length, rows);
      const wanted = search.value.trim().toLowerCase();
      let hits = 0, time = 0;
      const matches = (n) => {
        if (!wanted || n.root) return false;
        const p = profile.packages[n.package];
        return n.name.toLowerCase().includes(wanted) || p !== undefined && (p.name + ' ' + p.version).toLowerCase().includes(wanted);
      };
      const count = (n, inside) => {
        const hit = matches(n);
        if (hit) hits += Math.max(1, n.count);
        if (hit && !inside) time += n.total_ms;
        n.children.forEach((c) => count(c, inside || hit));
      };
      count(root, false);
      const fragment = document.createDocumentFragment();
      for (const r of rows) {
        const e = document.createElement('div');
        e.style.left = r.left + '%';
        e.style.width = r.width + '%';
        e.style.top = r.depth * rowHeight + 'px';
        e.textContent = `${r.n.name} ${ms(r.n.total_ms)}`;
        e.className = r.n.root || r.n.part ? 'other' : colour(profile.packages[r.n.package] || {name: '(other)', origin: ''});
        if (r.n.open) e.classList.add('open');
        if (r.width < 1.2) e.classList.add('narrow');
        if (r.above) e.classList.add('above');
        if (wanted) e.classList.add(matches(r.n) ? 'hit' : 'dim');
        e.tabIndex = 0;
        e.setAttribute('role', 'treeitem');
        e.setAttribute('aria-level', String(r.depth + 1));
        e.title = describe(r.n);
        const show = () => { note.textContent = describe(r.n); };
        e.addEventListener('mouseenter', show);
        e.addEventListener('focus', show);
        e.addEventListener('click', () => zoom(r.n));
        e.addEventListener('keydown', (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); zoom(r.n); } });
        fragment.append(e);
      }
      graph.replaceChildren(fragment);
      graph.style.height = (rows.depth + 1) * rowHeight + 'px';
      up.disabled = focus === root;
      found.textContent = wanted ? `${hits} modules, ${ms(time)} (${(100 * time / root.total_ms).toFixed(1)} % of the init)` : '';
    };
    const zoom = (n) => {
      focus = n;
      note.textContent = describe(n);
      draw();
    };
    const open = () => {
      profile = fn.profiles[Number(pick.value)];
      root = tree(profile);
      zoom(root);
    };
    pick.addEventListener('change', open);
    search.addEventListener('input', draw);
    up.addEventListener('click', () => zoom(focus.above || root));
    panel.addEventListener('keydown', (event) => { if (event.key === 'Escape' && focus.above) zoom(focus.above); });
    open();
    flames.push({function: fn, graph, root: () => root, focus: () => focus});
  }
  window.thawFlames = flames;
})();
