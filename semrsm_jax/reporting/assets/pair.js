"use strict";
// Two images, and which patch of the one was matched with which of the other.
(() => {
  const get = (id) => document.getElementById(id);
  const svg = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  // {layer, i, j, matching, back, boxes}: what is shown now.
  let shown = null;
  let hovered = null;

  function picture(box, sample, layer) {
    const source = RSM.image(sample);
    let inside;
    if (source) {
      inside = RSM.element("img", undefined, {alt: RSM.title(sample), draggable: "false"});
      inside.src = source;
    } else {
      inside = RSM.element("div", undefined, {class: "blank"});
      inside.style.aspectRatio = layer.grid ? `${layer.grid[1]} / ${layer.grid[0]}` : "1";
    }
    box.replaceChildren(inside);
    return source ? inside.decode().catch(() => {}) : Promise.resolve();
  }

  RSM.showPair = async (layer, i, j) => {
    const matching = layer.matching(i, j);
    const back = [];
    if (matching) matching.permutation.forEach((partner, token) => (back[partner] = token));
    const mine = (shown = {layer, i, j, matching, back, boxes: null});
    hovered = null;
    get("pair-title").textContent = `${RSM.names[i]} with ${RSM.names[j]}: ${layer.name}`;
    numbers(layer, i, j);
    await Promise.all([picture(get("first"), i, layer), picture(get("second"), j, layer)]);
    if (mine !== shown) return;  // another pair was chosen in the meantime
    displacement();
    RSM.layoutPair();
    say("");
    document.documentElement.dataset.pair = `${i},${j}`;
  };

  function numbers(layer, i, j) {
    const at = i * RSM.count + j, rows = [];
    for (const kind of layer.kinds) rows.push([kind, RSM.digits(layer.matrices[kind][at])]);
    if (layer.gap) {
      const value = layer.matrices.semantic[at], gap = layer.gap[at];
      const share = Math.abs(value) > 0 ? ` (${(100 * gap / Math.abs(value)).toPrecision(2)} % above)` : "";
      rows.push(["proven bound", RSM.digits(value + gap) + (gap > 0 ? share : " (reached)")]);
    }
    const lost = layer.matrices["share lost"];
    if (lost) rows.push(["lost to misalignment", RSM.percent(lost[at])]);
    const far = lengths();
    if (far) rows.push(["mean displacement", `${(far.reduce((a, b) => a + b, 0) / far.length).toFixed(2)} patches`]);
    rows.push(["kernel", layer.kernel ?? "as in the file"], ["matcher", layer.matcher ?? "not known"]);
    get("numbers").replaceChildren(...rows.flatMap(([name, value]) =>
      [RSM.element("dt", name), RSM.element("dd", value)]));
  }

  // Tokens before the grid, such as CLS, stand nowhere in the image.
  const before = () => shown.layer.tokens - shown.layer.grid[0] * shown.layer.grid[1];
  const spot = (token) => {
    const at = token - before();
    return at < 0 ? null : [Math.floor(at / shown.layer.grid[1]), at % shown.layer.grid[1]];
  };

  // How far each patch's partner stands from it, in patches.
  function lengths() {
    if (!shown.matching) return null;
    return shown.matching.permutation.map((partner, token) => [spot(token), spot(partner)])
      .filter(([a, b]) => a && b)
      .map(([a, b]) => Math.hypot(b[0] - a[0], b[1] - a[1]));
  }

  function box(which, token) {
    const [row, column] = spot(token), [rows, columns] = shown.layer.grid;
    const {left, top, width, height} = shown.boxes[which];
    return {
      x: left + (column * width) / columns, y: top + (row * height) / rows,
      width: width / columns, height: height / rows,
    };
  }
  const middle = ({x, y, width, height}) => [x + width / 2, y + height / 2];

  RSM.layoutPair = () => {
    if (!shown) return;
    const whole = get("pictures").getBoundingClientRect();
    shown.boxes = ["first", "second"].map((id) => {
      const r = get(id).firstElementChild.getBoundingClientRect();
      return {left: r.left - whole.left, top: r.top - whole.top, width: r.width, height: r.height};
    });
    drawOverlay();
  };

  function link(from, to, strong) {
    const [x1, y1] = middle(from), [x2, y2] = middle(to), ends = {x1, y1, x2, y2};
    return [
      svg("line", {...ends, stroke: "#000", "stroke-width": strong ? 4.5 : 2.6, "stroke-opacity": 0.55}),
      svg("line", {...ends, stroke: strong ? "#ffffff" : "#E69F00", "stroke-width": strong ? 2.4 : 1.2, class: strong ? "partner" : "strongest"}),
    ];
  }

  function drawOverlay() {
    const parts = [], {matching} = shown;
    if (matching) {
      if (hovered === null) {
        const best = matching.strength.map((strength, token) => [strength, token])
          .filter(([strength, token]) => strength > 0 && spot(token) && spot(matching.permutation[token]))
          .sort((a, b) => b[0] - a[0] || a[1] - b[1]).slice(0, Number(get("lines").value));
        for (const [, token] of best) {
          parts.push(...link(box(0, token), box(1, matching.permutation[token]), false));
        }
      } else {
        const partner = matching.permutation[hovered];
        const ends = [spot(hovered) && box(0, hovered), spot(partner) && box(1, partner)];
        ends.forEach((end, which) => end && parts.push(
          svg("rect", {...end, fill: "none", stroke: "#000", "stroke-width": 5}),
          svg("rect", {...end, fill: "#ffffff55", stroke: "#ffffff", "stroke-width": 2.5,
            class: which ? "partner-patch" : "hovered-patch"})));
        if (ends[0] && ends[1]) parts.push(...link(...ends, true));
      }
    }
    get("overlay").replaceChildren(...parts);
    markDisplacement();
  }

  function named(token) {
    const at = spot(token);
    return at ? `row ${at[0]}, column ${at[1]}` : `token ${token}, before the grid`;
  }

  function say(text) {
    const {layer, i, j, matching} = shown;
    if (!matching && !text) {
      const pair = [i, j].map((sample) => RSM.numbers[sample]);
      text = layer.note ? `No matched patches: ${layer.note}.`
        : `The patches of this pair are not in the page, which holds ${layer.stored.toLocaleString("en")} pairs of this layer. `
          + `To include it, make the report again with --pair ${pair} (in Python also=[(${pair})]), or all with --pairs all.`;
    } else if (!text) {
      text = "Point at a patch to see its partner. Lines: the matches that add most.";
      const extra = before();
      const links = matching.permutation.map((partner, token) => [token, partner])
        .filter(([token, partner]) => token < extra || partner < extra);
      if (extra) {
        text += ` Not in the image: ${links.slice(0, 3).map(([a, b]) => `${named(a)} ↔ ${named(b)}`).join("; ")}.`;
      }
    }
    get("patch-readout").textContent = text;
  }

  // token: of the first image; null for none.
  RSM.hoverPatch = (token) => {
    if (!shown || !shown.matching) return;
    hovered = token;
    drawOverlay();
    if (token === null) return say("");
    const partner = shown.matching.permutation[token], strength = shown.matching.strength[token];
    const a = spot(token), b = spot(partner);
    const far = a && b ? `, ${Math.hypot(b[0] - a[0], b[1] - a[1]).toFixed(1)} patches away` : "";
    say(`Left ${named(token)} ↔ right ${named(partner)}${far}; adds ${Math.round((100 * strength) / 255)} % of what the strongest match adds.`);
  };

  function displacement() {
    const canvas = get("displacement"), {layer, matching} = shown;
    get("displacement-box").hidden = !matching;
    if (!matching) return;
    const [rows, columns] = layer.grid, far = [];
    matching.permutation.forEach((partner, token) => {
      const a = spot(token), b = spot(partner);
      if (a) far[a[0] * columns + a[1]] = b ? [b[0] - a[0], b[1] - a[1]] : null;
    });
    const most = Math.max(1e-9, ...far.map((d) => (d ? Math.hypot(...d) : 0)));
    const cell = Math.max(1, Math.floor(300 / Math.max(rows, columns)));
    canvas.width = cell * columns;
    canvas.height = cell * rows;
    const pen = canvas.getContext("2d"), palette = RSM.palette();
    const color = (d) => palette[Math.round((palette.length - 1) * Math.hypot(...d) / most)];
    far.forEach((d, at) => {
      const x = (at % columns) * cell, y = Math.floor(at / columns) * cell;
      pen.fillStyle = d ? color(d) : "#808080";
      pen.fillRect(x, y, cell, cell);
      if (d && cell >= 9 && Math.hypot(...d) > 0) {
        const unit = Math.hypot(...d), [dy, dx] = d.map((part) => (part / unit) * cell * 0.36);
        const [cx, cy] = [x + cell / 2, y + cell / 2];
        pen.strokeStyle = pen.fillStyle = unit > 0.55 * most ? "#000000" : "#ffffff";
        pen.lineWidth = Math.max(1, cell / 12);
        pen.beginPath();
        pen.moveTo(cx - dx, cy - dy);
        pen.lineTo(cx + dx, cy + dy);
        pen.stroke();
        pen.beginPath();
        pen.arc(cx + dx, cy + dy, Math.max(1.2, cell / 8), 0, 7);
        pen.fill();
      }
    });
    canvas.setAttribute("aria-label", `Displacement map: up to ${most.toFixed(1)} patches`);
    const ramp = RSM.element("div", undefined, {class: "ramp"});
    ramp.style.background = `linear-gradient(to right, ${palette.filter((_, k) => k % 16 === 0).join(",")})`;
    const ends = RSM.element("div", undefined, {class: "ends"});
    ends.append(RSM.element("span", "0"), RSM.element("span", `${most.toFixed(1)} patches`));
    get("displacement-legend").replaceChildren(ramp, ends);
  }

  // Marks the patch in the displacement map too.
  function markDisplacement() {
    const at = hovered === null || !shown.matching ? null : spot(hovered), mark = get("displacement-mark");
    mark.hidden = !at;
    if (!at) return;
    const [rows, columns] = shown.layer.grid;
    mark.style.left = `${(100 * at[1]) / columns}%`;
    mark.style.top = `${(100 * at[0]) / rows}%`;
    mark.style.width = `${100 / columns}%`;
    mark.style.height = `${100 / rows}%`;
  }

  function tokenAt(event) {
    if (!shown || !shown.matching || !shown.boxes) return null;
    const whole = get("pictures").getBoundingClientRect(), [rows, columns] = shown.layer.grid;
    const x = event.clientX - whole.left, y = event.clientY - whole.top;
    for (const which of [0, 1]) {
      const {left, top, width, height} = shown.boxes[which];
      const row = Math.floor(((y - top) / height) * rows), column = Math.floor(((x - left) / width) * columns);
      if (row >= 0 && row < rows && column >= 0 && column < columns) {
        const token = before() + row * columns + column;
        return which ? shown.back[token] : token;
      }
    }
    return null;
  }

  get("pictures").addEventListener("pointermove", (event) => {
    const token = tokenAt(event);
    if (token !== hovered) RSM.hoverPatch(token);
  });
  get("pictures").addEventListener("pointerleave", () => RSM.hoverPatch(null));
  get("displacement").addEventListener("pointermove", (event) => {
    const [rows, columns] = shown.layer.grid, r = event.target.getBoundingClientRect();
    const row = Math.min(rows - 1, Math.floor(((event.clientY - r.top) / r.height) * rows));
    const column = Math.min(columns - 1, Math.floor(((event.clientX - r.left) / r.width) * columns));
    RSM.hoverPatch(before() + Math.max(0, row) * columns + Math.max(0, column));
  });
  get("displacement").addEventListener("pointerleave", () => RSM.hoverPatch(null));
  get("pictures").addEventListener("keydown", (event) => {
    if (!shown || !shown.matching) return;
    const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
    if (event.key === "Escape") return RSM.hoverPatch(null);
    if (!step) return;
    event.preventDefault();
    const [rows, columns] = shown.layer.grid;
    const [row, column] = (hovered !== null && spot(hovered)) || [Math.floor(rows / 2) - step[0], Math.floor(columns / 2) - step[1]];
    const to = [row + step[0], column + step[1]].map((v, k) => Math.max(0, Math.min([rows, columns][k] - 1, v)));
    RSM.hoverPatch(before() + to[0] * columns + to[1]);
  });
  get("pictures").addEventListener("blur", () => RSM.hoverPatch(null));
  get("lines").addEventListener("input", () => {
    get("lines-count").textContent = get("lines").value;
    if (shown) drawOverlay();
  });
  new ResizeObserver(() => RSM.layoutPair()).observe(get("pictures"));
})();
