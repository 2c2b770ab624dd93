"use strict";
(() => {
  const data = JSON.parse(document.getElementById("charts").textContent);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const charts = [];

  Chart.defaults.animation = false;
  Chart.defaults.maintainAspectRatio = false;
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.size = 13;

  const axis = (title) => ({
    title: { display: true, text: title, color: color("quiet") },
    grid: { color: color("line"), borderColor: color("line") },
    ticks: { color: color("quiet"), maxTicksLimit: 8 },
  });
  const legend = () => ({
    position: "bottom",
    labels: { color: color("ink"), usePointStyle: true, boxWidth: 14, boxHeight: 8, padding: 16 },
  });

  // Names beside the points of datasets that ask for them; a name that would lie on another is left out.
  const names = {
    id: "names",
    afterDatasetsDraw(chart) {
      const context = chart.ctx, area = chart.chartArea, taken = [];
      context.save();
      context.font = "12px " + Chart.defaults.font.family;
      context.fillStyle = color("ink");
      context.textBaseline = "middle";
      context.strokeStyle = color("paper");
      context.lineWidth = 4;
      context.lineJoin = "round";
      chart.data.datasets.forEach((dataset, i) => {
        if (!dataset.named || !chart.isDatasetVisible(i)) return;
        chart.getDatasetMeta(i).data.forEach((element, j) => {
          const text = dataset.data[j].label, width = context.measureText(text).width;
          const left = element.x + 10 + width > area.right;
          const x = left ? element.x - 10 - width : element.x + 10;
          for (const dy of [0, -14, 14, -28, 28]) {
            const y = Math.min(Math.max(element.y + dy, area.top + 7), area.bottom - 7);
            if (taken.some((t) => x < t.x + t.width && t.x < x + width && Math.abs(y - t.y) < 14)) continue;
            taken.push({ x, y, width });
            context.strokeText(text, x, y); // paper around it, for lines that pass
            context.fillText(text, x, y);
            break;
          }
        });
      });
      context.restore();
    },
  };

  const budgetLine = (budget, text) => ({
    id: "budget",
    afterDatasetsDraw(chart) {
      const { ctx, chartArea: area, scales } = chart, y = scales.y.getPixelForValue(budget);
      if (budget === null || y < area.top || y > area.bottom) return;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = color("bad");
      ctx.setLineDash([6, 4]);
      ctx.beginPath();
      ctx.moveTo(area.left, y);
      ctx.lineTo(area.right, y);
      ctx.stroke();
      ctx.font = "12px " + Chart.defaults.font.family;
      ctx.textAlign = "right";
      ctx.fillText("budget " + text, area.right - 4, y - 7);
      ctx.restore();
    },
  });

  // Steps of very different length on one axis: ticks at 1, 2, 5 times a power of ten.
  function logarithmic(x, values) {
    const least = Math.min(...values) / 1.1, most = Math.max(...values) * 1.15, ticks = [];
    for (let e = Math.floor(Math.log10(least)); e <= Math.log10(most); e++)
      for (const digit of [1, 1.5, 2, 3, 5, 7]) {
        const tick = digit * 10 ** e;
        if (tick >= least && tick <= most) ticks.push(tick);
      }
    x.type = "logarithmic";
    x.min = least;
    x.max = most;
    x.title.text += ", logarithmic";
    x.afterBuildTicks = (axis) => (axis.ticks = ticks.map((value) => ({ value })));
    x.ticks.callback = (value) => String(Number(value.toPrecision(3)));
    x.ticks.autoSkip = true;
  }

  function frontier(canvas) {
    const f = data.frontier, points = f.points, budget = f.budget;
    // What is far off the budget would press all else together: it stands at the upper edge.
    const ys = points.map((p) => p.y), most = Math.max(0, ...ys), least = Math.min(0, ...ys);
    const limit = budget === null ? most : Math.max(4 * budget, ...points.filter((p) => p.frontier).map((p) => p.y));
    const top = Math.min(most, limit), step = Math.max(top, budget || 0) - least || 1;
    const place = (p) => ({ ...p, y: Math.min(p.y, top), beyond: p.y > top });
    const set = (label, style, hue, radius, chosen, named) => ({
      label, named, pointStyle: style, pointRadius: radius, pointHoverRadius: radius + 2, showLine: false,
      data: points.filter(chosen).map(place), backgroundColor: color(hue), borderColor: color(hue), borderWidth: 2,
      pointRotation: 0,
    });
    const sets = [
      set("winner", "star", "good", 9, (p) => p.winner, true),
      set("reference", "rectRot", "ink", 7, (p) => p.reference && !p.winner, true),
      set("uniform policies", "rect", "fp16", 6, (p) => p.uniform && !p.reference && !p.winner, true),
      set("other policies", "circle", "accent", 4, (p) => !p.uniform && !p.reference && !p.winner, false),
      {
        label: "frontier", data: points.filter((p) => p.frontier).map(place), showLine: true, stepped: "before",
        pointRadius: 0, pointHitRadius: 0, borderColor: color("quiet"), backgroundColor: "transparent",
        borderWidth: 1.5, pointStyle: "line",
      },
    ].filter((s) => s.data.length > 0);
    const unit = f.relative ? "%" : f.metric;
    const x = axis("step time, ms (" + f.times + ")"), y = axis("worse by, " + unit + " (measured)");
    y.suggestedMin = least - 0.12 * step;
    y.suggestedMax = Math.max(top, budget || 0) + 0.08 * step;
    const xs = points.map((p) => p.x);
    if (Math.max(...xs) > 3 * Math.min(...xs)) logarithmic(x, xs);
    else x.grace = "8%";
    return new Chart(canvas, {
      type: "scatter",
      data: { datasets: sets },
      options: {
        scales: { x, y },
        plugins: {
          legend: legend(),
          tooltip: {
            filter: (item) => item.dataset.label !== "frontier",
            callbacks: {
              label: ({ raw: p }) =>
                `${p.label}: ${p.time} (${f.times}), worse by ${p.worse}${p.beyond ? " (beyond the scale)" : ""}, ` +
                `${p.pairs} seed${p.pairs === 1 ? "" : "s"}${p.failed ? ", others diverged" : ""}`,
            },
          },
        },
      },
      plugins: [budgetLine(budget, f.budget_text), names],
    });
  }

  function losses(canvas) {
    const hues = ["quiet", "accent"], { curves, stretch } = data.losses;
    const x = { ...axis("step"), type: "linear" };
    const last = (c) => (c.points.length > 0 ? c.points[c.points.length - 1][0] : 1);
    x.max = Math.ceil(Math.max(...curves.map(last)));
    x.min = 0;
    return new Chart(canvas, {
      type: "line",
      data: {
        datasets: curves.map((c, i) => ({
          label: `${c.label}, seed ${c.seed}`, data: c.points.map(([step, loss]) => ({ x: step, y: loss })),
          borderColor: color(hues[i]), backgroundColor: color(hues[i]), borderWidth: i === 0 ? 3 : 1.5,
          pointRadius: 0, pointStyle: "line", order: -i, // the winner's on top
        })),
      },
      options: {
        parsing: true,
        interaction: { mode: "nearest", axis: "x", intersect: false },
        scales: { x, y: axis(stretch > 1 ? `training loss, mean of ${stretch} steps` : "training loss") },
        plugins: { legend: legend() },
      },
    });
  }

  function draw() {
    while (charts.length > 0) charts.pop().destroy();
    for (const [id, make] of [["frontier-chart", frontier], ["loss-chart", losses]]) {
      const canvas = document.getElementById(id);
      if (canvas !== null) charts.push(make(canvas));
    }
    document.documentElement.dataset.chartsDrawn = String(charts.length);
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // On paper: light colours, and every layer open.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.layer:not([open])")];
    closed.forEach((d) => (d.open = true));
  });
  addEventListener("afterprint", () => closed.forEach((d) => (d.open = false)));
  matchMedia("print").addEventListener("change", draw);
})();
