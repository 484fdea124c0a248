"use strict";
(() => {
  const holder = document.getElementById("explorer-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const canvas = document.getElementById("explorer-canvas");
  const context = canvas.getContext("2d");
  const pick = (id) => document.getElementById(id);
  const count = data.ids.length;
  const sparse = data.spacing === null || data.spacing > 1.5 * data.edge;
  const layers = data.layers.map((layer) => ({
    ...layer,
    rgb: Uint8Array.from(atob(layer.colours), (letter) => letter.charCodeAt(0)),
    outside: new Set(layer.doubtful || []),
  }));
  const view = { x: 0, y: 0, scale: 1 };
  let layer = layers[0];
  let hovered = -1;
  let pinned = -1;
  let waiting = false;

  const boundsOf = (group) => {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0; i < count; i++) {
      if (group >= 0 && data.group[i] !== group) continue;
      box[0] = Math.min(box[0], data.boxes[4 * i]);
      box[1] = Math.min(box[1], data.boxes[4 * i + 1]);
      box[2] = Math.max(box[2], data.boxes[4 * i + 2]);
      box[3] = Math.max(box[3], data.boxes[4 * i + 3]);
    }
    return box;
  };
  const fit = (box) => {
    const [width, height] = [Math.max(box[2] - box[0], 1), Math.max(box[3] - box[1], 1)];
    view.x = (box[0] + box[2]) / 2;
    view.y = (box[1] + box[3]) / 2;
    view.scale = 0.92 * Math.min(canvas.clientWidth / width, (canvas.clientHeight - 30) / height);
    redraw();
  };
  const zoom = (factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) => {
    const scale = Math.min(Math.max(view.scale * factor, 1e-5), 400 / data.edge);
    const [dx, dy] = [px - canvas.clientWidth / 2, py - canvas.clientHeight / 2];
    view.x += dx / view.scale - dx / scale;
    view.y -= dy / view.scale - dy / scale;
    view.scale = scale;
    redraw();
  };

  // scattered regions keep a size that can be seen and hit, as far as their neighbours leave room
  const leastSize = () => (sparse ? Math.max(5, Math.min(11, 0.9 * (data.spacing || 1e9) * view.scale)) : 0);
  const onScreen = (i, least) => {
    const x = canvas.clientWidth / 2 + (data.centres[2 * i] - view.x) * view.scale;
    const y = canvas.clientHeight / 2 - (data.centres[2 * i + 1] - view.y) * view.scale;
    const width = (data.boxes[4 * i + 2] - data.boxes[4 * i]) * view.scale;
    const height = (data.boxes[4 * i + 3] - data.boxes[4 * i + 1]) * view.scale;
    return { x, y, width: Math.max(width, least), height: Math.max(height, least), true: width >= least };
  };
  const trace = (i, at) => {
    context.beginPath();
    if (data.rings && at.true) {
      for (const ring of data.rings[i]) {
        for (let k = 0; k < ring.length; k += 2) {
          const x = canvas.clientWidth / 2 + (ring[k] - view.x) * view.scale;
          const y = canvas.clientHeight / 2 - (ring[k + 1] - view.y) * view.scale;
          if (k) context.lineTo(x, y);
          else context.moveTo(x, y);
        }
        context.closePath();
      }
      return;
    }
    // whole pixels where squares touch: no light seams between them
    const [left, top] = [at.x - at.width / 2, at.y - at.height / 2];
    if (sparse) context.rect(left, top, at.width, at.height);
    else {
      const [l, t] = [Math.round(left), Math.round(top)];
      context.rect(l, t, Math.max(1, Math.round(left + at.width) - l), Math.max(1, Math.round(top + at.height) - t));
    }
  };
  const draw = () => {
    waiting = false;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const style = getComputedStyle(canvas);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const least = leastSize();
    for (let i = 0; i < count; i++) {
      const at = onScreen(i, least);
      if (Math.abs(at.x - width / 2) > (width + at.width) / 2) continue;
      if (Math.abs(at.y - height / 2) > (height + at.height) / 2) continue;
      trace(i, at);
      context.fillStyle = `rgb(${layer.rgb[3 * i]},${layer.rgb[3 * i + 1]},${layer.rgb[3 * i + 2]})`;
      context.fill("evenodd");
      if (sparse || (data.rings && at.width > 6)) {
        context.lineWidth = 0.5;
        context.strokeStyle = style.backgroundColor;
        context.stroke();
      }
      if (layer.outside.has(i) && at.width > 4) cross(at);
    }
    for (const i of [pinned, hovered]) {
      if (i < 0) continue;
      trace(i, onScreen(i, least));
      // dark around light, so that it is seen on any colour
      for (const [thick, colour] of [[6, style.color], [2.5, style.backgroundColor]]) {
        context.lineWidth = thick;
        context.strokeStyle = colour;
        context.stroke();
      }
    }
    drawScaleBar(style, height);
  };
  // a line across, dark in light, so that it is seen on any colour
  const cross = (at) => {
    for (const [thick, colour] of [[3, "#fff"], [1.2, "#22262b"]]) {
      context.beginPath();
      context.moveTo(at.x - at.width / 2, at.y + at.height / 2);
      context.lineTo(at.x + at.width / 2, at.y - at.height / 2);
      context.lineWidth = thick;
      context.strokeStyle = colour;
      context.stroke();
    }
  };
  const drawScaleBar = (style, height) => {
    const wanted = 110 / view.scale;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const length = [5, 2, 1].map((step) => step * power).find((step) => step <= wanted);
    context.fillStyle = style.color;
    context.fillRect(12, height - 14, length * view.scale, 2);
    context.font = "12px system-ui, sans-serif";
    const text = length >= 1000 ? `${Number((length / 1000).toPrecision(3))} km` : `${Number(length.toPrecision(3))} m`;
    context.fillText(text, 18 + length * view.scale, height - 9);
  };
  const redraw = () => {
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(draw);
    }
  };

  const inside = (i, px, py) => {
    const x = view.x + (px - canvas.clientWidth / 2) / view.scale;
    const y = view.y - (py - canvas.clientHeight / 2) / view.scale;
    let odd = false;
    for (const ring of data.rings[i]) {
      for (let k = 0, j = ring.length - 2; k < ring.length; j = k, k += 2) {
        const crosses = ring[k + 1] > y !== ring[j + 1] > y;
        if (crosses && x < ((ring[j] - ring[k]) * (y - ring[k + 1])) / (ring[j + 1] - ring[k + 1]) + ring[k]) odd = !odd;
      }
    }
    return odd;
  };
  const regionAt = (px, py) => {
    const least = leastSize();
    let [best, nearest] = [-1, Infinity];
    for (let i = 0; i < count; i++) {
      const at = onScreen(i, least);
      const [dx, dy] = [Math.abs(px - at.x), Math.abs(py - at.y)];
      const boxed = data.rings && at.true;
      if (!boxed && (dx > at.width / 2 || dy > at.height / 2)) continue;
      if (boxed && !inside(i, px, py)) continue;
      if (dx + dy < nearest) [best, nearest] = [i, dx + dy];
    }
    return best;
  };

  const row = (list, name, value) => {
    const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    detail.textContent = value;
    list.append(term, detail);
  };
  const describe = () => {
    const i = hovered >= 0 ? hovered : pinned;
    const list = pick("explorer-values");
    list.replaceChildren();
    pick("explorer-region").textContent = i < 0 ? "Point at a region, or tap it" : data.ids[i];
    const image = pick("explorer-patch");
    const patch = i >= 0 && data.thumbnails.length ? data.thumbnails[i] : null;
    image.hidden = !patch;
    if (patch) {
      image.src = patch;
      image.alt = `Image of region ${data.ids[i]}`;
    }
    if (i < 0) return;
    if (data.groups[data.group[i]]) row(list, "group", data.groups[data.group[i]]);
    for (const { title, unit, values, intervals, level, called, outside } of layers) {
      if (!values) continue;
      row(list, title, values[i] === null ? "no value" : `${values[i]} ${unit}`.trim());
      if (intervals && intervals[i]) row(list, `${level} ${called}`, `${intervals[i]} ${unit}`.trim());
      if (outside.has(i)) row(list, "beware", "unlike every labelled place: outside the area of applicability");
    }
  };
  const showLegend = () => {
    const [box, bar, ticks] = [pick("explorer-legend"), pick("explorer-bar"), pick("explorer-ticks")];
    ticks.replaceChildren();
    pick("explorer-unit").textContent = layer.legend
      ? layer.unit
      : "Similar colours: similar vectors (three principal components).";
    box.hidden = !layer.legend;
    if (!layer.legend) return;
    bar.hidden = Boolean(layer.legend.classes);
    ticks.className = layer.legend.classes ? "swatches" : "";
    if (layer.legend.classes) {
      for (const [colour, name] of layer.legend.classes) {
        const [entry, swatch] = [document.createElement("div"), document.createElement("i")];
        swatch.style.background = colour;
        entry.append(swatch, name);
        ticks.append(entry);
      }
      return;
    }
    bar.style.background = `linear-gradient(to right, ${layer.legend.stops.join(", ")})`;
    const wide = ticks.clientWidth || 180;
    let end = -Infinity;
    for (const [place, text] of layer.legend.ticks) {
      const half = 3.6 * text.length;
      const middle = Math.min(Math.max(place * wide, half), wide - half);
      if (middle - half < end + 6) continue;
      const tick = document.createElement("span");
      tick.textContent = text;
      tick.style.left = `${middle}px`;
      ticks.append(tick);
      end = middle + half;
    }
  };
  const option = (select, text, value) => select.append(new Option(text, value));

  const layerChoice = pick("explorer-layer");
  layers.forEach((item, i) => option(layerChoice, item.title, i));
  layerChoice.addEventListener("change", () => {
    layer = layers[Number(layerChoice.value)];
    showLegend();
    redraw();
  });
  const groupChoice = pick("explorer-group");
  const several = data.groups.length > 1;
  option(groupChoice, "everywhere", -1);
  data.groups.forEach((name, i) => option(groupChoice, name || "(no group)", i));
  groupChoice.parentElement.hidden = !several;
  const go = () => fit(boundsOf(Number(groupChoice.value)));
  groupChoice.addEventListener("change", go);
  pick("explorer-in").addEventListener("click", () => zoom(1.5));
  pick("explorer-out").addEventListener("click", () => zoom(1 / 1.5));
  pick("explorer-reset").addEventListener("click", go);

  const pointers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    moved = 0;
    if (event.pointerType !== "touch") canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = [event.offsetX, event.offsetY];
    const before = pointers.get(event.pointerId);
    if (!before) {
      const found = regionAt(...now);
      if (found !== hovered) {
        hovered = found;
        describe();
        redraw();
      }
      return;
    }
    if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const [old, fresh] = [before, now].map(([x, y]) => Math.hypot(x - other[0], y - other[1]));
      if (old > 0) zoom(fresh / old, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    }
    const share = pointers.size === 2 ? 0.5 : 1;
    view.x -= (share * (now[0] - before[0])) / view.scale;
    view.y += (share * (now[1] - before[1])) / view.scale;
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    pointers.set(event.pointerId, now);
    redraw();
  });
  const release = (event) => {
    if (event.type === "pointerup" && moved < 4 && pointers.size === 1) {
      pinned = regionAt(event.offsetX, event.offsetY);
      describe();
      redraw();
    }
    pointers.delete(event.pointerId);
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "touch") pointers.delete(event.pointerId);
    hovered = -1;
    describe();
    redraw();
  });
  canvas.addEventListener("wheel", (event) => {
    // the page scrolls on until the reader has chosen the map
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0015)), event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = 60 / view.scale;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) {
      view.x += moves[event.key][0];
      view.y += moves[event.key][1];
      redraw();
    } else if (event.key === "+" || event.key === "=") zoom(1.3);
    else if (event.key === "-") zoom(1 / 1.3);
    else if (event.key === "0") go();
    else if (event.key === "Escape") canvas.blur();
    else return;
    event.preventDefault();
  });
  window.addEventListener("resize", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // places far apart are dots when seen together: begin in the one with most regions
  const largest = () => {
    const sizes = data.groups.map((_, i) => data.group.filter((group) => group === i).length);
    return sizes.indexOf(Math.max(...sizes));
  };
  const apart = several && sparse && (() => {
    const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
    return data.groups.reduce((sum, _, i) => sum + area(boundsOf(i)), 0) < 0.3 * area(boundsOf(-1));
  })();
  groupChoice.value = apart ? String(largest()) : "-1";
  pick("explorer").classList.add("ready");
  showLegend();
  describe();
  go();
})();
