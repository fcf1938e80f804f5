/* Charts of what the page holds as data: lines (one per reason) or points. A gap in the data stays a gap. */
(() => {
  "use strict";
  const charts = new Map();
  const HEIGHT = 160;
  const HUES = [258, 75, 155, 20, 320, 200];
  const colour = (name) => {
    const probe = document.createElement("i");
    probe.style.color = name;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const line = (number) => colour(`light-dark(oklch(0.52 0.13 ${HUES[number % HUES.length]}), oklch(0.78 0.11 ${HUES[number % HUES.length]}))`);

  const draw = (place) => {
    const data = JSON.parse(document.getElementById(`${place.id}-data`).dataset.values);
    const names = Object.keys(data.series);
    const values = [data.times, ...names.map((name) => data.series[name])];
    const look = `${names.join()} ${place.clientWidth} ${getComputedStyle(document.documentElement).colorScheme}`;
    const known = charts.get(place);
    if (known && known.look === look) return known.plot.setData(values);
    known?.plot.destroy();
    const soft = colour("var(--soft)");
    const grid = { stroke: colour("var(--line)"), width: 1 };
    const axis = { stroke: soft, grid, ticks: grid, font: "12px system-ui" };
    const points = place.dataset.chart === "points";
    const plot = new uPlot({
      width: place.clientWidth, height: HEIGHT, cursor: { y: false },
      legend: { show: names.length > 1 || !points },
      scales: { x: { range: () => [Date.now() / 1000 - 3600, Date.now() / 1000] }, y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1)] } },
      axes: [{ ...axis, space: 80, values: "{HH}:{mm}" }, { ...axis, size: 56 }],
      series: [{ value: "{HH}:{mm}:{ss}" }, ...names.map((name, number) => ({
        label: name.replaceAll("_", " "), stroke: line(number), width: points ? 0 : 1.5, spanGaps: false,
        points: { show: points, size: 5, fill: line(number) },
      }))],
    }, values, place);
    charts.set(place, { plot, look });
  };
  const drawAll = () => {
    for (const [place, { plot }] of charts) if (!place.isConnected) { plot.destroy(); charts.delete(place); }
    for (const place of document.querySelectorAll("[data-chart]")) draw(place);
  };
  document.addEventListener("htmx:after:swap", drawAll);
  addEventListener("resize", drawAll);
  document.addEventListener("theme", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();
})();
