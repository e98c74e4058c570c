"use strict";
// The Bokeh plots: heatmaps with one cursor, and the colors of the theme.
(() => {
  const n = RSM.count;
  let order = [...Array(n).keys()];
  let place = [...order];
  let models = {};

  RSM.whenPlotted = () => new Promise((resolve) => {
    const look = () => {
      const [document_] = (window.Bokeh && Bokeh.documents) || [];
      const plotted = document_ && ["left", "right", "distribution", "cka"].every((name) => {
        const plot = document_.get_model_by_name(name);
        return plot && Bokeh.index.find_one(plot);
      });
      if (!plotted) return setTimeout(look, 15);
      models = {document: document_};
      resolve();
    };
    look();
  });
  RSM.model = (name) => (models[name] ??= models.document.get_model_by_name(name));

  RSM.listen = (plot, event, callback) => {
    plot.on_event(event, callback);
    plot.document.event_manager.subscribed_models.add(plot);
  };

  RSM.setOrder = (name) => {
    order = RSM.orders[name];
    order.forEach((sample, at) => (place[sample] = at));
  };
  RSM.sampleAt = (at) => order[at];
  RSM.placeOf = (sample) => place[sample];

  function limits(values) {
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        const value = values[i * n + j];
        // The diagonal, of samples with themselves, would take all of the colors.
        if ((i !== j || n === 1) && value === value) {
          if (value < low) low = value;
          if (value > high) high = value;
        }
      }
    }
    return low < high ? [low, high] : [low - 1e-6, low + 1e-6].map((v) => (isFinite(v) ? v : 0));
  }

  // shown: {left: {layer, kind}, right: ...}
  RSM.drawHeatmaps = (shown, oneScale) => {
    const sides = ["left", "right"];
    const matrices = sides.map((side) => shown[side].layer.matrices[shown[side].kind]);
    let scales = matrices.map(limits);
    const alike = sides.every((side) => shown[side].kind !== "share lost")
      && shown.left.layer.kernel === shown.right.layer.kernel;
    if (oneScale && alike) {
      const both = [Math.min(scales[0][0], scales[1][0]), Math.max(scales[0][1], scales[1][1])];
      scales = [both, both];
    }
    sides.forEach((side, which) => {
      const source = RSM.model(`${side}-image`), matrix = matrices[which];
      const ordered = new Float32Array(n * n);
      for (let a = 0; a < n; a++) {
        const row = order[a] * n;
        for (let b = 0; b < n; b++) ordered[a * n + b] = matrix[row + order[b]];
      }
      const Values = source.data.image[0].constructor;
      const [low, high] = scales[which];
      RSM.model(`${side}-colors`).setv({low, high});
      source.data = {image: [new Values(ordered, [n, n])]};
    });
  };

  RSM.moveLines = (what, row, column) => {
    RSM.model(`${what}-row`).location = row === null ? NaN : RSM.placeOf(row) + 0.5;
    RSM.model(`${what}-column`).location = column === null ? NaN : RSM.placeOf(column) + 0.5;
  };

  RSM.palette = () => RSM.model("left-colors").palette.map((color) =>
    typeof color === "number" ? `#${(color >>> 8).toString(16).padStart(6, "0")}` : color);

  RSM.paintPlots = () => {
    const style = getComputedStyle(document.documentElement);
    const [ground, ink, line, ...definitions] =
      ["--ground", "--ink", "--line", "--semantic", "--spatial"].map((name) =>
        style.getPropertyValue(name).trim());
    definitions.forEach((color, number) => {
      RSM.model(`mark-${number}`).line_color = color;
      for (const group of [2 * number, 2 * number + 1]) {
        RSM.model(`group-${group}`).glyph.line_color = {value: color};
      }
    });
    for (const name of ["left", "right", "distribution", "cka"]) {
      const plot = RSM.model(name);
      plot.setv({border_fill_color: ground, background_fill_color: ground, outline_line_color: line});
      const parts = ["above", "below", "left", "right", "center"].flatMap((side) => plot[side]);
      for (const part of parts) {
        if (part.type.endsWith("Axis")) {
          part.setv({
            axis_label_text_color: ink, major_label_text_color: ink,
            axis_line_color: line, major_tick_line_color: line, minor_tick_line_color: null,
          });
        } else if (part.type === "ColorBar") {
          part.setv({background_fill_color: ground, major_label_text_color: ink});
        } else if (part.type === "Legend") {
          part.setv({background_fill_color: ground, label_text_color: ink, border_line_color: null});
        }
      }
    }
  };
})();
