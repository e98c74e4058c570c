"use strict";
// Nearest neighbors, distributions, and CKA between the RSMs.
(() => {
  const n = RSM.count;
  const get = (id) => document.getElementById(id);
  const BINS = 40;

  // The most similar samples to one, itself left out; the lower number first.
  RSM.nearest = (matrix, sample) =>
    [...Array(n).keys()].filter((other) => other !== sample)
      .sort((a, b) => matrix[sample * n + b] - matrix[sample * n + a] || a - b)
      .slice(0, RSM.neighbors);

  RSM.showNeighbors = (layer, sample, chosen, choose) => {
    get("neighbors-title").textContent = `Nearest neighbors of ${RSM.title(sample)}: ${layer.name}`;
    const lists = layer.kinds.map((kind) => {
      const box = RSM.element("div", undefined, {class: "neighbor-list"});
      const list = RSM.element("ul");
      for (const other of RSM.nearest(layer.matrices[kind], sample)) {
        const value = RSM.digits(layer.matrices[kind][sample * n + other]);
        const button = RSM.element("button", undefined, {
          type: "button", title: `${RSM.title(other)}: ${value}`,
          "aria-current": String(other === chosen), "data-sample": other,
        });
        const source = RSM.image(other);
        if (source) {
          const image = RSM.element("img", undefined, {alt: ""});
          image.src = source;
          button.append(image);
        }
        button.append(RSM.element("span", RSM.title(other), {class: "name"}), RSM.element("span", value));
        button.addEventListener("click", () => choose(other));
        const item = RSM.element("li");
        item.append(button);
        list.append(item);
      }
      box.append(RSM.element("h3", kind), list);
      return box;
    });
    get("neighbor-lists").replaceChildren(...lists);
  };

  // The values off the diagonal, by definition and, with labels, by whether these agree.
  function groups(layer) {
    const parts = [];
    for (const kind of layer.kinds) {
      const matrix = layer.matrices[kind], same = [], other = [];
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          if (i === j) continue;
          const alike = RSM.labels && RSM.labels[i] === RSM.labels[j];
          (alike ? same : other).push(matrix[i * n + j]);
        }
      }
      // Without labels the places of those with the same one stay empty.
      if (!RSM.labels) parts.push([kind, other], ["", []]);
      else parts.push([`${kind}, same label`, same], [`${kind}, other label`, other]);
    }
    return parts;
  }

  const drawn = new Map();
  RSM.drawDistribution = (layer) => {
    get("distribution-title").textContent = `Distribution of similarities: ${layer.name}`;
    if (!drawn.has(layer)) drawn.set(layer, groups(layer));
    const parts = drawn.get(layer);
    let low = Infinity, high = -Infinity;
    for (const [, values] of parts) for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); }
    const width = (high - low) / BINS || 1;
    const [legend] = RSM.model("distribution").above.filter((part) => part.type === "Legend");
    for (let number = 0; number < 4; number++) {
      const source = RSM.model(`steps-${number}`), steps = {from: [], density: []};
      const [name, values] = parts[number] ?? ["", []];
      legend.items[number].visible = values.length > 0;
      if (values.length) {
        const counts = new Array(BINS).fill(0);
        for (const v of values) counts[Math.min(BINS - 1, Math.floor((v - low) / width))] += 1;
        // The step after the last bin brings the line back to the ground.
        [...counts, 0].forEach((count, bin) => {
          steps.from.push(low + bin * width);
          steps.density.push(count / values.length / width);
        });
        legend.items[number].label = {value: name};
      }
      source.data = steps;
    }
  };
  RSM.markDistribution = (layer, i, j) => {
    for (const number of [0, 1]) {
      const matrix = layer.matrices[layer.kinds[number]];
      RSM.model(`mark-${number}`).location = matrix && i !== j ? matrix[i * n + j] : NaN;
    }
  };

  RSM.drawComparison = (choose) => {
    const {names, matrix, estimator} = RSM.cka;
    get("comparison-title").textContent = `CKA between RSMs (${estimator})`;
    const cells = {row: [], column: [], value: [], text: [], ink: []};
    names.forEach((row, i) => names.forEach((column, j) => {
      const value = matrix[i][j];
      cells.row.push(row);
      cells.column.push(column);
      cells.value.push(value ?? NaN);
      cells.text.push(names.length > 12 ? "" : value === null ? "n/a" : value.toFixed(2));
      cells.ink.push(value !== null && value > 0.55 ? "#000000" : "#ffffff");
    }));
    RSM.model("cka-columns").factors = names;
    RSM.model("cka-rows").factors = [...names].reverse();
    RSM.model("cka-cells").data = cells;
    RSM.listen(RSM.model("cka"), "tap", () => {
      const [at] = RSM.model("cka-cells").selected.indices;
      if (at !== undefined) choose(Math.floor(at / names.length), at % names.length);
      RSM.model("cka-cells").selected.indices = [];
    });
  };
})();
