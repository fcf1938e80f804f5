/* Draws what /topology/boxes says. A box's place follows from its number alone, so nothing jumps when others come or go;
   endpoints are fetched for boxes that are in sight and large enough for names. */
(() => {
  "use strict";
  const picture = document.getElementById("picture");
  const place = document.getElementById("picture-canvas");
  const drawer = document.getElementById("picture-drawer");
  const form = document.getElementById("picture-filter");
  const WIDTH = 232, HEIGHT = 90, STEP = { x: 260, y: 132 }, BAR = 14, PARTS = 7, MOST = 400;
  const NAMES_FROM = 1.05; // of the zoom; below it endpoints are a bar
  const SMALLEST = 7; // pixels of a name's letters; where they would be smaller, they are a bar, too
  const SHAPES = ["ellipse", "round-rectangle", "diamond", "hexagon", "triangle", "pentagon"];
  const state = { drawn: null, at: new URLSearchParams(location.search).get("at"), inside: new Map(), slots: new Map() };

  // ---- colours come from the stylesheet; tenants are hues of one lightness, and shapes for who cannot tell hues ----
  const probe = document.createElement("i");
  probe.hidden = true;
  document.body.append(probe);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (css) => {
    probe.style.color = css;
    canvas.fillStyle = getComputedStyle(probe).color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
    return `rgb(${r},${g},${b})`;
  };
  let palette = {};
  const hues = new Map();
  const repaint = () => {
    hues.clear();
    palette = Object.fromEntries(["ground", "surface", "raised", "line", "text", "soft", "accent", "ok", "changing", "wrong", "unknown"]
      .map((name) => [name, colour(`var(--${name})`)]));
  };
  const number = (text) => [...text].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) >>> 0, 7);
  const hue = (key) => {
    if (!hues.has(key)) {
      const id = state.drawn.hues[key] ?? number(key);
      const angle = (id * 137.508) % 360; // golden angle: neighbours differ most
      hues.set(key, { fill: colour(`light-dark(oklch(0.66 0.12 ${angle}), oklch(0.70 0.11 ${angle}))`), shape: SHAPES[id % SHAPES.length] });
    }
    return hues.get(key);
  };
  const SIGNS = { ok: "●", changing: "◐", wrong: "▲", unknown: "○" };

  // ---- a square that grows by a column and a row at a time ----
  const spot = (slot) => {
    if (state.columns) return { x: slot % state.columns, y: Math.floor(slot / state.columns) };
    const shell = Math.floor(Math.sqrt(slot)), rest = slot - shell * shell;
    return rest < shell ? { x: shell, y: rest } : { x: rest - shell, y: shell };
  };
  /* On a screen that is higher than wide, rows of as many as fill it. */
  const rowsOf = (boxes) => {
    const [across, down] = [place.clientWidth, place.clientHeight];
    state.columns = across < down ? Math.max(2, Math.round(Math.sqrt((boxes.length * STEP.y * across) / (STEP.x * down)))) : 0;
  };
  /* By number, without the gaps that were there when the page was opened; later ones are kept: nobody moves. */
  const seat = (boxes) => {
    let next = state.slots.size ? Math.max(...state.slots.values()) + 1 : 0;
    for (const box of boxes) if (!state.slots.has(box.name)) state.slots.set(box.name, next++);
  };

  const cy = cytoscape({
    container: place, minZoom: 0.08, maxZoom: 6, boxSelectionEnabled: false, autoungrabify: true, elements: [],
    layout: { name: "preset" }, pixelRatio: 1.5, hideEdgesOnViewport: true,
  });

  const style = () => {
    const font = "system-ui, sans-serif";
    const sheet = [
      { selector: ".box", style: { shape: "round-rectangle", width: WIDTH, height: HEIGHT, "background-color": palette.surface, "border-width": 1, "border-color": palette.line,
        label: "data(label)", color: palette.text, "font-family": font, "font-size": 20, "font-weight": 600, "text-valign": "top", "text-halign": "center", "text-margin-y": 34, "text-max-width": WIDTH - 20, "text-wrap": "ellipsis" } },
      ...["changing", "wrong", "unknown"].map((mark) => ({ selector: `.box.${mark}`, style: { "border-color": palette[mark], "border-width": mark === "wrong" ? 3 : 2, "border-style": mark === "unknown" ? "dashed" : "solid" } })),
      { selector: ".box.faint, .bar.faint, .end.faint", style: { opacity: 0.25 } },
      { selector: ".box.chosen", style: { "border-color": palette.accent, "border-width": 4 } },
      { selector: ".bar", style: { shape: "rectangle", width: "data(wide)", height: BAR, "background-color": "data(fill)", events: "no" } },
      { selector: ".box.close", style: { "font-size": 13, "text-margin-y": 26 } },
      { selector: ".box.near", style: { "font-size": 10, "text-margin-y": 15 } },
      { selector: ".end", style: { shape: "data(shape)", width: 12, height: 12, "background-color": "data(fill)", label: "data(label)", color: palette.text, "font-family": font, "font-size": 9, "text-valign": "center", "text-halign": "right", "text-margin-x": 3, "text-wrap": "ellipsis", "min-zoomed-font-size": 7 } },
      { selector: ".end.down", style: { "border-width": 2.5, "border-color": palette.wrong } },
      { selector: ".end.pending", style: { "border-width": 2, "border-color": palette.changing } },
      { selector: ".tunnel", style: { width: "data(wide)", "line-color": palette.soft, opacity: 0.55, "curve-style": "straight", "z-compound-depth": "bottom" } },
      { selector: ".tunnel.wrong", style: { "line-color": palette.wrong, "line-style": "dotted", opacity: 1 } },
      { selector: ".tunnel.unknown", style: { "line-color": palette.unknown, "line-style": "dashed", opacity: 0.8 } },
    ];
    cy.style(sheet);
  };
  /* A bar: one rectangle for each of the largest parts, and one for the rest. */
  const bars = () => {
    const key = JSON.stringify([state.drawn.boxes.map((box) => [box.name, box.match, box.parts]), palette]);
    if (key === state.bars) return;
    state.bars = key;
    const whole = WIDTH - 28, nodes = [];
    for (const box of state.drawn.boxes) {
      const at = corner(box.name), most = Math.max(box.endpoints, 1);
      const parts = box.parts.slice(0, PARTS).map(([name, size]) => [size, hue(name).fill]);
      if (box.parts.length > PARTS) parts.push([box.parts.slice(PARTS).reduce((sum, one) => sum + one[1], 0), palette.unknown]);
      let left = at.x - whole / 2;
      parts.forEach(([size, fill], number) => {
        const wide = (whole * size) / most;
        nodes.push({ group: "nodes", data: { id: `bar ${box.name} ${number}`, box: box.name, fill, wide: Math.max(wide - 1, 0.5) }, position: { x: left + wide / 2, y: at.y + 16 }, classes: `bar${box.match === 0 ? " faint" : ""}` });
        left += wide;
      });
    }
    cy.batch(() => { cy.nodes(".bar").remove(); cy.add(nodes); });
  };

  // ---- boxes ----
  const id = (name) => `box ${name}`;
  const corner = (name) => {
    const at = spot(state.slots.get(name));
    return { x: at.x * STEP.x, y: at.y * STEP.y };
  };
  const count = (box) => (box.match === undefined ? `${box.endpoints}` : `${box.match} of ${box.endpoints}`);
  const show = (drawn) => {
    const first = state.drawn === null || state.drawn.group !== drawn.group;
    state.drawn = drawn;
    if (first) { state.slots.clear(); state.inside.clear(); state.bars = null; cy.elements().remove(); rowsOf(drawn.boxes); }
    seat(drawn.boxes);
    const names = new Set(drawn.boxes.map((box) => box.name));
    cy.batch(() => {
      cy.nodes(".box, .bar, .end").filter((node) => !names.has(node.data("box"))).remove();
      for (const box of drawn.boxes) {
        const at = corner(box.name), faint = box.match === 0 ? " faint" : "";
        const label = `${SIGNS[box.mark] ?? ""} ${box.name}   ${count(box)}`;
        const data = { id: id(box.name), box: box.name, label };
        const node = cy.getElementById(data.id);
        if (node.empty()) cy.add({ group: "nodes", data, position: at, classes: `box ${box.mark}${faint}` });
        else { node.data(data); node.classes(`box ${box.mark}${faint}`); }
      }
    });
    bars();
    lines();
    style();
    choose(state.at && names.has(state.at) ? state.at : null, false);
    if (first) fit();
    reveal();
  };
  /* A line is as wide as its traffic is fast: a step for each tenfold beyond a kilobit a second. */
  const wide = (octets) => 1.2 + 0.8 * Math.min(6, Math.max(0, Math.log10((octets ?? 0) * 8 + 1) - 3));
  const lines = () => {
    const wanted = state.drawn.tunnels.filter((one) => state.drawn.few || one.mark === "wrong" || one.ends.includes(state.at));
    cy.batch(() => {
      cy.edges().remove();
      cy.add(wanted.map((one) => ({ group: "edges", data: { id: `tunnel ${one.ends.join(" ")}`, source: id(one.ends[0]), target: id(one.ends[1]), wide: wide(one.rate), tunnel: one }, classes: `tunnel ${one.mark}` }))
        .filter(({ data }) => cy.getElementById(data.source).nonempty() && cy.getElementById(data.target).nonempty()));
    });
  };
  const fit = () => {
    const what = state.at ? cy.getElementById(id(state.at)) : cy.nodes(".box");
    const most = state.at ? 1.6 : 1;
    cy.resize();
    cy.fit(what, 30);
    if (cy.zoom() > most) { cy.zoom(most); cy.center(what); }
  };

  // ---- endpoints of boxes that are in sight ----
  const query = () => new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  const matches = (end, q) => !q || `${end.tenant}/${end.name} ${end.addresses.join(" ")}`.toLowerCase().includes(q.toLowerCase());
  const inside = async (name) => {
    const asked = query();
    asked.set("box", name);
    const answer = await fetch(`${picture.dataset.inside}?${asked}`);
    return answer.ok ? answer.json() : [];
  };
  /* In the space of the box: few endpoints are large, many small; all grow with the zoom. */
  const grid = (count) => {
    const columns = count <= 8 ? 3 : count <= 20 ? 4 : 6, rows = Math.ceil(count / columns);
    const scale = Math.min(6 / columns, 66 / Math.max(rows * 13, 1));
    return { columns, wide: (WIDTH - 12) / columns, scale, letters: 4.6 * scale };
  };
  const legible = (box) => cy.zoom() >= NAMES_FROM && grid(Math.min(box.endpoints, MOST)).letters * cy.zoom() >= SMALLEST;
  const fill = (name, ends) => {
    const at = corner(name), q = form.elements.q.value;
    const { columns, wide, scale, letters } = grid(ends.length);
    cy.batch(() => {
      cy.nodes(".end").filter((node) => node.data("box") === name).remove();
      cy.add(ends.map((end, number) => ({
        group: "nodes",
        data: { id: `end ${end.id}`, box: name, url: end.url, label: end.name, ...hue(state.drawn.group === "tenant" ? end.network : state.drawn.group === "network" ? end.host : end.tenant), end },
        position: { x: at.x - WIDTH / 2 + 10 + (number % columns) * wide, y: at.y - 20 + Math.floor(number / columns) * 13 * scale },
        classes: `end ${end.state}${matches(end, q) ? "" : " faint"}`,
      })));
      cy.nodes(".end").filter((node) => node.data("box") === name).style({ width: 7 * scale, height: 7 * scale, "font-size": letters, "text-max-width": wide - 9 * scale, "text-margin-x": 1 });
      cy.nodes(".bar").filter((node) => node.data("box") === name).style("display", "none");
      cy.getElementById(id(name)).addClass("near");
    });
  };
  let waiting = null;
  const reveal = () => { clearTimeout(waiting); waiting = setTimeout(revealNow, 120); };
  const revealNow = async () => {
    const sight = cy.extent();
    const seen = new Set();
    for (const box of state.drawn.boxes.filter(legible)) {
      const at = corner(box.name);
      if (at.x + WIDTH / 2 > sight.x1 && at.x - WIDTH / 2 < sight.x2 && at.y + 60 > sight.y1 && at.y - 60 < sight.y2) seen.add(box.name);
    }
    cy.batch(() => {
      cy.nodes(".box").toggleClass("close", cy.zoom() >= NAMES_FROM);
      cy.nodes(".end").filter((node) => !seen.has(node.data("box"))).remove();
      cy.nodes(".bar").filter((node) => !seen.has(node.data("box"))).style("display", "element");
      cy.nodes(".near").filter((node) => !seen.has(node.data("box"))).removeClass("near");
    });
    await Promise.all([...seen].map(async (name) => {
      if (!state.inside.has(name)) state.inside.set(name, inside(name));
      fill(name, await state.inside.get(name));
    }));
    place.dataset.ends = cy.nodes(".end").length; // what a test, or a curious person, may ask
    place.dataset.boxes = cy.nodes(".box").length;
    place.dataset.columns = state.columns;
    place.dataset.tunnels = cy.edges().length;
  };

  // ---- the box that is looked at ----
  const text = (tag, words, more = {}) => Object.assign(document.createElement(tag), { textContent: words, ...more });
  const choose = (name, say = true) => {
    state.at = name;
    cy.nodes(".box").removeClass("chosen");
    const address = new URL(location.href);
    if (name) address.searchParams.set("at", name); else address.searchParams.delete("at");
    history.replaceState(null, "", address);
    drawer.hidden = !name;
    lines();
    if (!name) return;
    cy.getElementById(id(name)).addClass("chosen");
    const box = state.drawn.boxes.find((one) => one.name === name);
    drawer.replaceChildren();
    const title = text("h2", "");
    title.append(box.url ? text("a", box.name, { href: box.url }) : box.name);
    drawer.append(title, text("p", `${SIGNS[box.mark] ?? ""} ${box.says ?? (box.down ? `${box.down} down` : "up")}${box.address ? `, ${box.address}` : ""}. ${count(box)} endpoints.`));
    const list = document.createElement("ul");
    for (const [part, size] of box.parts.slice(0, 12)) {
      const item = document.createElement("li");
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = hue(part).fill;
      item.append(swatch, `${part} `, text("b", size));
      list.append(item);
    }
    if (box.parts.length > 12) list.append(text("li", `and ${box.parts.length - 12} more`));
    drawer.append(list);
    const lost = state.drawn.tunnels.filter((one) => one.ends.includes(name) && one.mark !== "ok");
    if (lost.length) drawer.append(text("p", `Tunnels not known to be well: ${lost.slice(0, 3).map((one) => `${one.ends.find((end) => end !== name)} (${one.says})`).join(", ")}${lost.length > 3 ? ` and ${lost.length - 3} more` : ""}.`));
    const busy = state.drawn.tunnels.filter((one) => one.ends.includes(name) && one.carried).sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0) || b.bytes[0] + b.bytes[1] - a.bytes[0] - a.bytes[1]);
    if (busy.length) {
      const carried = document.createElement("ul");
      for (const one of busy.slice(0, 4)) carried.append(text("li", `${one.ends.find((end) => end !== name)}: ${one.carried}`));
      drawer.append(text("p", "Tunnels carry most to"), carried);
    }
    drawer.append(Object.assign(text("button", "Close", { type: "button" }), { onclick: () => { choose(null); place.focus(); } }));
    if (say) reveal();
  };
  cy.on("tap", ".box", (event) => choose(event.target.data("box")));
  cy.on("tap", ".end", (event) => { location.href = event.target.data("url"); });
  cy.on("tap", (event) => { if (event.target === cy) choose(null); });
  cy.on("dbltap", ".box", (event) => cy.animate({ fit: { eles: event.target, padding: 60 }, duration: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 200 }));
  cy.on("mouseover", ".end", (event) => { const { end } = event.target.data(); place.title = `${end.tenant}/${end.name}, ${end.state}, ${end.addresses.join(", ")}, network ${end.network}, host ${end.host}`; });
  cy.on("mouseover", ".box", (event) => { const box = state.drawn.boxes.find((one) => one.name === event.target.data("box")); place.title = `${box.name}: ${box.parts.slice(0, 6).map(([part, size]) => `${part} ${size}`).join(", ")}`; });
  cy.on("mouseover", "edge", (event) => { const { tunnel } = event.target.data(); place.title = `${tunnel.ends.join(" – ")}: ${[tunnel.says, tunnel.carried].filter(Boolean).join("; ") || "nothing carried"}`; });
  cy.on("mouseout", "node, edge", () => { place.title = ""; });
  cy.on("viewport", reveal);

  // ---- keyboard ----
  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const zoom = (by) => cy.zoom({ level: cy.zoom() * by, renderedPosition: state.at ? cy.getElementById(id(state.at)).renderedPosition() : { x: cy.width() / 2, y: cy.height() / 2 } });
  place.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (step) {
      const spots = state.drawn.boxes.map((box) => ({ name: box.name, ...spot(state.slots.get(box.name)) }));
      const now = spots.find((one) => one.name === state.at);
      const ahead = now ? spots.filter((one) => (step[0] ? one.y === now.y && (one.x - now.x) * step[0] > 0 : one.x === now.x && (one.y - now.y) * step[1] > 0)) : spots.slice(0, 1);
      const next = ahead.sort((a, b) => Math.abs(a.x - (now?.x ?? 0)) + Math.abs(a.y - (now?.y ?? 0)) - Math.abs(b.x - (now?.x ?? 0)) - Math.abs(b.y - (now?.y ?? 0)))[0];
      if (next) { choose(next.name); const node = cy.getElementById(id(next.name)); const seen = node.renderedBoundingBox(); if (seen.x1 < 0 || seen.y1 < 0 || seen.x2 > cy.width() || seen.y2 > cy.height()) cy.center(node); }
    } else if (event.key === "Enter" && state.at) { const box = state.drawn.boxes.find((one) => one.name === state.at); if (box.url) location.href = box.url; }
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") fit();
    else if (event.key === "Escape") choose(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  picture.addEventListener("click", (event) => {
    const way = event.target.dataset.zoom;
    if (way === "all") { choose(null); fit(); } else if (way) zoom(way === "in" ? 1.5 : 1 / 1.5);
  });

  // ---- filter, live, theme ----
  let asking = false, again = false;
  const load = async () => {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const { told } = document.body.dataset;
      const answer = await fetch(`${picture.dataset.boxes}?${query()}`, { headers: told ? { "Warren-Told": told } : {} });
      if (answer.ok) { state.inside.clear(); show(await answer.json()); }
    } finally {
      asking = false;
      if (again) { again = false; setTimeout(load, 2000); }
    }
  };
  const filter = () => {
    const asked = query();
    if (state.at && asked.get("group") === state.drawn?.group) asked.set("at", state.at); else state.at = null;
    history.replaceState(null, "", `${location.pathname}?${asked}`);
    document.body.dispatchEvent(new Event("refresh"));
    load();
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  form.addEventListener("change", filter);
  let due = null;
  const later = () => { due ??= setTimeout(() => { due = null; if (!document.hidden) load(); }, 1000); };
  for (const name of ["revision", "status", "refresh"]) document.body.addEventListener(name, later);
  const recolour = () => { repaint(); if (state.drawn) { bars(); style(); reveal(); } };
  document.addEventListener("theme", recolour);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  addEventListener("resize", () => cy.resize());
  repaint();
  load();
})();
