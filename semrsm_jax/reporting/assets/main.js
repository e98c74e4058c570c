"use strict";
// What is chosen, by mouse, key or menu, and the theme.
(async () => {
  const get = (id) => document.getElementById(id), n = RSM.count, sides = ["left", "right"];
  const state = {row: 0, column: Math.min(1, n - 1), hovered: null, shown: {}};

  const options = RSM.layers.flatMap((layer) =>
    Object.keys(layer.matrices).map((kind) => ({layer, kind})));
  const [last] = RSM.layers.slice(-1);
  const first = (kind) => options.findIndex((o) => o.layer === last && o.kind === kind);

  if (n > 1) [state.column] = RSM.nearest(last.matrices[last.kinds[0]], 0);

  function fill(select, texts, value) {
    select.replaceChildren(...texts.map((text, k) => RSM.element("option", text, {value: k})));
    select.value = value;
  }

  function showHeatmaps() {
    for (const side of sides) {
      state.shown[side] = options[Number(get(`${side}-choice`).value)];
      const {layer, kind} = state.shown[side];
      get(`${side}-title`).textContent = `${kind}: ${layer.name}`;
    }
    RSM.drawHeatmaps(state.shown, get("one-scale").checked);
    RSM.drawDistribution(state.shown.right.layer);
    choose(state.row, state.column);
  }

  function choose(row, column) {
    state.row = row;
    state.column = column;
    get("row-choice").value = row;
    get("column-choice").value = column;
    const {layer} = state.shown.right;
    RSM.moveLines("chosen", row, column);
    RSM.showPair(layer, row, column);
    RSM.showNeighbors(layer, row, column, (other) => choose(row, other));
    RSM.markDistribution(layer, row, column);
    read(row, column, "Chosen");
  }

  function hover(row, column) {
    state.hovered = row === null ? null : [row, column];
    RSM.moveLines("hovered", row, column);
    if (row === null) read(state.row, state.column, "Chosen");
    else read(row, column, "Cell");
  }

  function read(row, column, what) {
    const values = sides.map((side) => {
      const {layer, kind} = state.shown[side];
      return `${side} ${RSM.shown(kind, layer.matrices[kind][row * n + column])}`;
    });
    get("readout").textContent =
      `${what}: ${RSM.title(row)} (row ${RSM.placeOf(row)}) with ${RSM.title(column)} (column ${RSM.placeOf(column)}); ${values.join(", ")}`;
  }

  // The cell under the pointer, as samples; null beside the heatmap.
  function cell(event) {
    const [a, b] = [Math.floor(event.y), Math.floor(event.x)];
    return a >= 0 && a < n && b >= 0 && b < n ? [RSM.sampleAt(a), RSM.sampleAt(b)] : null;
  }

  const STEPS = {
    ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
    PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -Infinity], End: [0, Infinity],
  };
  function press(event) {
    const [row, column] = state.hovered ?? [state.row, state.column];
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(row, column);
    } else if (event.key === "Escape") {
      hover(null, null);
    } else if (STEPS[event.key]) {
      event.preventDefault();
      const moved = [row, column].map((sample, axis) =>
        RSM.sampleAt(Math.max(0, Math.min(n - 1, RSM.placeOf(sample) + STEPS[event.key][axis]))));
      hover(...moved);
    }
  }

  function setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    get("theme").setAttribute("aria-pressed", String(theme === "dark"));
    get("theme").textContent = theme === "dark" ? "Light" : "Dark";
    RSM.paintPlots();
  }

  await RSM.whenPlotted();
  const names = options.map(({layer, kind}) => `${layer.name}: ${kind}`);
  fill(get("left-choice"), names, Math.max(0, first("spatio-semantic")));
  fill(get("right-choice"), names, first("semantic"));
  fill(get("order-choice"), Object.keys(RSM.orders), 0);
  for (const id of ["row-choice", "column-choice"]) {
    fill(get(id), [...Array(n).keys()].map(RSM.title), 0);
  }
  get("facts").replaceChildren(...Object.entries(RSM.facts).flatMap(([name, value]) =>
    [RSM.element("dt", name), RSM.element("dd", value)]));

  for (const side of sides) {
    get(`${side}-choice`).addEventListener("change", showHeatmaps);
    const plot = RSM.model(side);
    RSM.listen(plot, "mousemove", (event) => {
      const at = cell(event);
      if (at) hover(...at);
    });
    RSM.listen(plot, "mouseleave", () => hover(null, null));
    // Two quick clicks on different cells are a double one to Bokeh.
    for (const click of ["tap", "doubletap"]) {
      RSM.listen(plot, click, (event) => {
        const at = cell(event);
        if (at) choose(...at);
      });
    }
    get(`${side}-focus`).addEventListener("keydown", press);
    get(`${side}-focus`).addEventListener("blur", () => hover(null, null));
  }
  get("one-scale").addEventListener("change", showHeatmaps);
  get("order-choice").addEventListener("change", () => {
    RSM.setOrder(Object.keys(RSM.orders)[Number(get("order-choice").value)]);
    showHeatmaps();
  });
  get("row-choice").addEventListener("change", () => choose(Number(get("row-choice").value), state.column));
  get("column-choice").addEventListener("change", () => choose(state.row, Number(get("column-choice").value)));
  get("swap").addEventListener("click", () => choose(state.column, state.row));
  get("help-button").addEventListener("click", () => {
    get("help").hidden = !get("help").hidden;
    get("help-button").setAttribute("aria-expanded", String(!get("help").hidden));
  });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  get("theme").addEventListener("click", () =>
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  setTheme(dark.matches ? "dark" : "light");

  RSM.drawComparison((row, column) => {
    const at = RSM.layers.flatMap((layer) => layer.kinds.map((kind) =>
      options.findIndex((o) => o.layer === layer && o.kind === kind)));
    get("left-choice").value = at[row];
    get("right-choice").value = at[column];
    showHeatmaps();
  });
  showHeatmaps();
  document.body.dataset.ready = "true";
})();
