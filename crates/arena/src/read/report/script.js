'use strict';
// The page is whole without this. It adds a choice of theme, and the values under the pointer or the keyboard's cursor.
(() => {
  const NAMES = { auto: 'Theme: as the system', light: 'Theme: light', dark: 'Theme: dark' };
  const ORDER = Object.keys(NAMES);

  function remembered() {
    try {
      const theme = localStorage.getItem('peleja-theme');
      return ORDER.includes(theme) ? theme : 'auto';
    } catch {
      return 'auto';
    }
  }

  function remember(theme) {
    try {
      localStorage.setItem('peleja-theme', theme);
    } catch {
      // A browser that keeps nothing shows the theme all the same.
    }
  }

  function addThemeButton() {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'theme';
    const show = (theme) => {
      document.documentElement.dataset.theme = theme;
      button.textContent = NAMES[theme];
    };
    button.addEventListener('click', () => {
      const theme = ORDER[(ORDER.indexOf(document.documentElement.dataset.theme) + 1) % ORDER.length];
      remember(theme);
      show(theme);
    });
    show(remembered());
    document.querySelector('header').append(button);
  }

  function readChart(figure) {
    const positions = figure.dataset.x.split(' ').map(Number);
    const plot = figure.querySelector('.plot');
    const chart = {
      figure,
      plot,
      positions,
      axis: figure.dataset.x,
      unit: figure.dataset.unit,
      rows: figure.querySelector('tbody').rows,
      rule: plot.querySelector('.rule'),
      values: [...figure.querySelectorAll('.legend .value')],
      names: [...figure.querySelectorAll('.legend .value')].map((value) => value.previousElementSibling.textContent),
      scrub: document.createElement('input'),
    };
    Object.assign(chart.scrub, { type: 'range', className: 'scrub', min: 0, max: positions.length - 1, value: 0 });
    chart.scrub.setAttribute('aria-label', `Values of ${figure.querySelector('h3').textContent}`);
    plot.after(chart.scrub);
    return chart;
  }

  function texts(chart, index) {
    const cells = [...chart.rows[index].cells];
    const point = cells.shift().textContent;
    const { unit } = chart;
    const shown = cells.map(({ textContent: text }, nth) => (text !== '–' && isLine(chart, nth) ? text + unit : text));
    return { point, shown };
  }

  function isLine(chart, nth) {
    return chart.values[nth].closest('li').querySelector('.key .line') !== null;
  }

  function show(chart, index) {
    const { point, shown } = texts(chart, index);
    chart.figure.classList.add('reading');
    chart.rule.hidden = false;
    chart.rule.style.left = `${chart.positions[index] * 100}%`;
    chart.rule.dataset.point = point;
    chart.values.forEach((value, nth) => {
      value.textContent = shown[nth];
    });
    chart.scrub.value = index;
    chart.scrub.setAttribute('aria-valuetext', `${point}: ${chart.names.map((name, nth) => `${name} ${shown[nth]}`).join(', ')}`);
  }

  function clear(chart) {
    chart.figure.classList.remove('reading');
    chart.rule.hidden = true;
    for (const value of chart.values) value.textContent = value.dataset.note;
  }

  function nearest(positions, at) {
    let best = 0;
    positions.forEach((position, index) => {
      if (Math.abs(position - at) < Math.abs(positions[best] - at)) best = index;
    });
    return best;
  }

  function connect(chart, charts) {
    // Charts over the same axis are read together: what happened elsewhere in that second?
    const together = charts.filter((other) => other.axis === chart.axis);
    const showAll = (index) => together.forEach((other) => show(other, index));
    const clearAll = () => together.forEach(clear);
    const point = (event) => {
      const box = chart.plot.getBoundingClientRect();
      showAll(nearest(chart.positions, (event.clientX - box.left) / box.width));
    };
    chart.plot.addEventListener('pointermove', point);
    chart.plot.addEventListener('pointerdown', point);
    chart.plot.addEventListener('pointerleave', clearAll);
    chart.scrub.addEventListener('input', () => showAll(Number(chart.scrub.value)));
    chart.scrub.addEventListener('focus', () => showAll(Number(chart.scrub.value)));
    chart.scrub.addEventListener('blur', clearAll);
  }

  addThemeButton();
  const charts = [...document.querySelectorAll('figure.chart')].map(readChart);
  for (const chart of charts) connect(chart, charts);
})();
