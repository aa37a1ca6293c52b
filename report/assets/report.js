// Draws the charts of the report from the JSON in the page. Without it nothing
// is lost: every chart has its table.
(() => {
  'use strict';
  const report = JSON.parse(document.getElementById('thaw-report').textContent);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const partColor = {
    'extensions': '--amber', 'runtime': '--sky', 'function': '--violet',
    'runtime+function': '--blue', 'restore': '--teal', 'unattributed': '--grey',
  };

  const digits = (v) => {
    const abs = Math.abs(v);
    if (abs >= 1000) return Math.round(v).toLocaleString('en-US');
    if (abs >= 100) return v.toFixed(0);
    if (abs >= 10) return v.toFixed(1);
    if (abs >= 1) return v.toFixed(2);
    return v === 0 ? '0' : v.toFixed(3);
  };
  const ms = (v) => (v === null || v === undefined ? 'not enough data' : digits(v) + ' ms');
  const usd = (v) => (v === null || v === undefined ? 'no price' : '$' + digits(v));
  const axisMS = (v) => (v >= 1000 ? v / 1000 + ' s' : v + ' ms');

  const base = () => ({
    animation: false,
    aria: {enabled: true},
    // ECharts measures text to place it, so it has to know the real font.
    textStyle: {fontFamily: getComputedStyle(document.body).fontFamily, color: css('--soft')},
    tooltip: {
      trigger: 'axis', axisPointer: {type: 'shadow', shadowStyle: {color: css('--wash'), opacity: 0.5}},
      backgroundColor: css('--card'), borderColor: css('--line'), textStyle: {color: css('--ink'), fontSize: 13}, confine: true,
    },
    legend: {top: 0, left: 0, itemWidth: 14, itemHeight: 10, itemGap: 16, textStyle: {color: css('--soft'), fontSize: 13}},
  });
  const axis = (more) => Object.assign({
    axisLabel: {color: css('--soft'), fontSize: 12}, axisTick: {show: false},
    axisLine: {show: false}, splitLine: {lineStyle: {color: css('--line')}},
    nameTextStyle: {color: css('--soft'), fontSize: 12, align: 'left'},
  }, more);
  const categories = (data, more) => axis(Object.assign({
    type: 'category', data, splitLine: {show: false}, axisLine: {show: true, lineStyle: {color: css('--line')}},
  }, more));

  // whiskers draws 95 % intervals: data are [category, low, high].
  const whiskers = (data, color, more) => Object.assign({
    type: 'custom', data, silent: true, z: 5, encode: {x: 0, y: [1, 2]}, tooltip: {show: false},
    renderItem: (params, api) => {
      if (!Number.isFinite(api.value(1)) || !Number.isFinite(api.value(2))) return null;
      const low = api.coord([api.value(0), api.value(1)]);
      const high = api.coord([api.value(0), api.value(2)]);
      const line = (x1, y1, x2, y2) => ({type: 'line', shape: {x1, y1, x2, y2}, style: {stroke: color, lineWidth: 1.5}});
      return {type: 'group', children: [
        line(low[0], low[1], high[0], high[1]),
        line(low[0] - 4, low[1], low[0] + 4, low[1]),
        line(high[0] - 4, high[1], high[0] + 4, high[1]),
      ]};
    },
  }, more);
  const intervals = (points, of) => points
    .map((p, i) => [i, of(p).low, of(p).high]).filter((d) => d[1] !== null && d[2] !== null);

  // The predicted means, dashed through the measured one, with their 90 % range
  // as a band.
  const prediction = (points, predicted) => {
    const end = (p, key) => (predicted(p) ? p.warm_mean_ms[key] : p.warm_mean_ms.value);
    const edge = {type: 'line', stack: 'range', silent: true, symbol: 'none', lineStyle: {opacity: 0}, tooltip: {show: false}, z: 1};
    return [
      Object.assign({name: 'low', data: points.map((p) => end(p, 'low'))}, edge),
      Object.assign({name: 'range', data: points.map((p) => end(p, 'high') - end(p, 'low')), areaStyle: {color: css('--blue'), opacity: 0.14}}, edge),
      {name: 'predicted mean', type: 'line', data: points.map((p) => p.warm_mean_ms.value), symbol: 'emptyCircle', symbolSize: 6,
        lineStyle: {width: 1.5, type: 'dashed'}, color: css('--blue'), tooltip: {valueFormatter: ms}},
    ];
  };

  // Duration above, cost below, over the same memory sizes.
  const curve = (f) => {
    const points = f.memory_curve;
    const many = new Set(points.map((p) => p.architecture)).size > 1;
    const names = points.map((p) => p.memory_mb + ' MB' + (many ? '\n' + p.architecture : ''));
    const pick = f.recommendation.memory_mb;
    const priced = points.some((p) => p.cost_per_million_usd !== null);
    const top = {left: 58, right: 12, top: 50, height: priced ? 170 : 290};
    const grids = priced ? [top, {left: 58, right: 12, top: 278, height: 92}] : [top];
    const series = [
      {name: 'mean', type: 'line', data: points.map((p) => p.duration_ms.mean), symbol: 'circle', symbolSize: 8,
        lineStyle: {width: 2.5}, color: css('--blue'), tooltip: {valueFormatter: ms}},
      {name: 'median (p50)', type: 'line', data: points.map((p) => p.duration_ms.p50), symbol: 'rect', symbolSize: 6,
        lineStyle: {width: 1.5}, color: css('--teal'), tooltip: {valueFormatter: ms}},
      {name: 'slowest 5 % (p95)', type: 'line', data: points.map((p) => p.duration_ms.p95), symbol: 'emptyCircle', symbolSize: 7,
        lineStyle: {width: 1.5, type: 'dashed'}, color: css('--violet'), tooltip: {valueFormatter: ms}},
    ];
    const predicted = (p) => p.basis === 'predicted';
    const guessed = points.some(predicted);
    if (guessed) series.push(...prediction(points, predicted));
    if (priced) {
      series.push({name: 'cost per million', type: 'bar', xAxisIndex: 1, yAxisIndex: 1, barMaxWidth: 44,
        data: points.map((p) => ({value: p.cost_per_million_usd,
          itemStyle: {color: css(p.memory_mb === pick ? '--change' : '--grey'), opacity: predicted(p) ? 0.45 : 1, borderRadius: [3, 3, 0, 0]}})),
        color: css('--grey'), tooltip: {valueFormatter: usd}});
      series.push(whiskers(intervals(points, (p) => p.cost_per_million_usd_interval), css('--ink'), {xAxisIndex: 1, yAxisIndex: 1}));
    }
    const y = [axis({type: 'value', min: 0, name: 'duration', axisLabel: {color: css('--soft'), fontSize: 12, formatter: axisMS}})];
    const x = [categories(names)];
    if (priced) {
      y.push(axis({type: 'value', gridIndex: 1, min: 0, splitNumber: 2, name: 'cost per million invocations, 95 % interval',
        axisLabel: {color: css('--soft'), fontSize: 12, formatter: (v) => '$' + v}}));
      x[0].axisLabel = {show: false};
      x.push(categories(names, {gridIndex: 1}));
    }
    return Object.assign(base(), {grid: grids, xAxis: x, yAxis: y, series, axisPointer: {link: [{xAxisIndex: 'all'}]},
      legend: Object.assign(base().legend, {data: ['mean', 'median (p50)', 'slowest 5 % (p95)'].concat(guessed ? ['predicted mean'] : [])})});
  };

  // The mean init, part after part.
  const init = (f) => Object.assign(base(), {
    grid: {left: 8, right: 20, top: 56, bottom: 30},
    xAxis: axis({type: 'value', min: 0, max: 'dataMax', axisLabel: {color: css('--soft'), fontSize: 12, formatter: axisMS, showMaxLabel: false}}),
    yAxis: categories(['mean init'], {axisLabel: {show: false}, axisLine: {show: false}}),
    series: f.init_parts.map((p) => ({
      name: p.part + ' (' + p.basis + ')', type: 'bar', stack: 'init', barWidth: 44, data: [p.mean_ms],
      color: css(partColor[p.part] || '--grey'), tooltip: {valueFormatter: ms},
      label: {show: p.share >= 0.18, formatter: () => ms(p.mean_ms), color: css('--card'), fontSize: 13, fontWeight: 600},
    })),
  });

  // Durations by what the invocation found. A missing bar is a missing floor.
  const starts = (f) => {
    const rows = ['warm', 'first', 'cold'].filter((r) => f.duration_ms[r].have > 0);
    const bar = (name, key, color) => ({name, type: 'bar', data: rows.map((r) => f.duration_ms[r][key]),
      color: css(color), barMaxWidth: 18, barGap: '15%', itemStyle: {borderRadius: [0, 3, 3, 0]}, tooltip: {valueFormatter: ms}});
    return Object.assign(base(), {
      grid: {left: 50, right: 24, top: 36, bottom: 30},
      xAxis: axis({type: 'value', min: 0, axisLabel: {color: css('--soft'), fontSize: 12, formatter: axisMS, hideOverlap: true}}),
      yAxis: categories(rows, {inverse: true, axisLabel: {color: css('--ink'), fontSize: 13}}),
      series: [bar('mean', 'mean', '--blue'), bar('median (p50)', 'p50', '--teal'), bar('slowest 5 % (p95)', 'p95', '--violet')],
    });
  };

  const makers = {curve, init, starts};
  const charts = [...document.querySelectorAll('[data-chart]')].map((element) => {
    const f = report.functions[Number(element.dataset.function)];
    return {element, kind: element.dataset.chart, function: f, option: makers[element.dataset.chart](f), chart: null};
  });
  // Tests, and whoever is curious, find the charts with their options here.
  window.thawCharts = charts;

  const draw = (c) => {
    if (!c.chart) {
      c.element.hidden = false;
      c.chart = echarts.init(c.element, null, {renderer: 'svg'});
    }
    c.chart.setOption(c.option, true);
  };
  // A report may have thousands of charts: they are drawn when they come near.
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      draw(charts.find((c) => c.element === entry.target));
    }
  }, {rootMargin: '600px'});
  for (const c of charts) {
    c.element.hidden = false;
    watcher.observe(c.element);
  }
  window.addEventListener('resize', () => charts.forEach((c) => c.chart && c.chart.resize()));
  window.addEventListener('beforeprint', () => charts.forEach(draw));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const c of charts) {
      c.option = makers[c.kind](c.function);
      if (c.chart) draw(c);
    }
  });
})();
