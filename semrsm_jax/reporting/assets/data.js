"use strict";
// What the page holds: matrices and matchings, unpacked once.
const RSM = {};
(() => {
  const raw = JSON.parse(document.getElementById("report-data").textContent);
  const n = raw.names.length;

  function bytes(text) {
    const decoded = atob(text);
    const values = new Uint8Array(decoded.length);
    for (let k = 0; k < values.length; k++) values[k] = decoded.charCodeAt(k);
    return values.buffer;
  }

  // The whole of a matrix of which perhaps only the upper half is stored.
  function unpacked(packed, Type, value) {
    const stored = new Type(bytes(packed.values));
    const full = new Float32Array(n * n);
    let k = 0;
    for (let i = 0; i < n; i++) {
      for (let j = packed.symmetric ? i : 0; j < n; j++) {
        full[i * n + j] = value(stored[k++]);
        if (packed.symmetric) full[j * n + i] = full[i * n + j];
      }
    }
    return full;
  }

  // 65535 stands where there is no value.
  function levels(packed) {
    return packed && unpacked(packed, Uint16Array, (level) =>
      level === 65535 ? NaN : packed.low + packed.step * level);
  }

  function matchings(packed, tokens) {
    const pairs = new Uint32Array(bytes(packed.pairs));
    const Type = {1: Uint8Array, 2: Uint16Array, 4: Uint32Array}[packed.width];
    const permutation = new Type(bytes(packed.permutation));
    const strength = new Uint8Array(bytes(packed.strength));
    const places = new Map();
    for (let p = 0; 2 * p < pairs.length; p++) {
      places.set(pairs[2 * p] * n + pairs[2 * p + 1], p);
    }
    return {
      count: places.size,
      at: (i, j) => {
        const p = places.get(i * n + j);
        if (p === undefined) return null;
        const part = [p * tokens, (p + 1) * tokens];
        return {
          permutation: Array.from(permutation.subarray(...part)),
          strength: Array.from(strength.subarray(...part)),
        };
      },
    };
  }

  function inverse(matching) {
    const permutation = [], strength = [];
    matching.permutation.forEach((partner, token) => {
      permutation[partner] = token;
      strength[partner] = matching.strength[token];
    });
    return {permutation, strength};
  }

  RSM.layers = raw.layers.map((layer) => {
    const matrices = {};
    for (const [kind, packed] of Object.entries(layer.rsms)) {
      matrices[kind] = unpacked(packed, Float32Array, (value) => value);
    }
    const stored = layer.matchings && matchings(layer.matchings, layer.tokens);
    const kinds = Object.keys(matrices);
    if (layer.lost) {
      matrices["share lost"] = levels(layer.lost);
    }
    return {
      ...layer, matrices, kinds, gap: levels(layer.bound), stored: stored ? stored.count : 0,
      // Which token of j goes with each token of i; null where that is not in the page.
      matching(i, j) {
        if (!stored) return null;
        if (i === j && layer.selfIdentity) {
          const own = [...Array(layer.tokens).keys()];
          return {permutation: own, strength: own.map(() => 255)};
        }
        const matching = stored.at(i, j);
        if (matching || !layer.symmetric) return matching;
        const mirrored = stored.at(j, i);
        return mirrored && inverse(mirrored);
      },
    };
  });
  RSM.count = n;
  for (const key of ["names", "numbers", "labels", "orders", "cka", "neighbors", "facts"]) {
    RSM[key] = raw[key];
  }
  RSM.image = (sample) => raw.images && `data:image/jpeg;base64,${raw.images[sample]}`;
  RSM.title = (sample) =>
    RSM.names[sample] + (RSM.labels ? ` (${RSM.labels[sample]})` : "");
  RSM.digits = (value) =>
    !Number.isFinite(value) ? "n/a"
      : value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)
        ? value.toExponential(4) : Number(value.toPrecision(6)).toString();
  RSM.percent = (value) => (Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : "n/a");
  RSM.shown = (kind, value) => (kind === "share lost" ? RSM.percent(value) : RSM.digits(value));

  // An element with text: names are never taken for markup.
  RSM.element = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
})();
