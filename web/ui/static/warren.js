/* Keys, theme, the connection mark, ages of times. Lists and their live updates are the server's and htmx's work. */
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const SILENCE_MS = 40_000; // the server says something every 15 s

  // ---- connection mark: a lost connection is visible at once, and what is on the page says how old it is ----
  let heard = Date.now();
  let lost = false;
  // A screen reader says what is written here anew, be it the same words; the age, which changes all the time, it does not.
  const mark = (state, words, since = "") => {
    const connection = byId("connection");
    if (!connection) return;
    if (connection.dataset.state !== state) connection.dataset.state = state;
    const [said, old] = connection.querySelectorAll("span");
    if (said.textContent !== words) said.textContent = words;
    if (old.textContent !== since) old.textContent = since;
    document.body.classList.toggle("stale", state === "lost");
  };
  const isHeard = () => {
    heard = Date.now();
    if (lost) document.body.dispatchEvent(new Event("refresh"));
    lost = false;
    mark("live", "live");
  };
  const isLost = () => {
    lost = true;
    mark("lost", "no connection", `as of ${age(heard)}`);
  };
  const age = (since) => {
    const seconds = Math.max(0, Math.round((Date.now() - since) / 1000));
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} d ago`;
  };
  document.addEventListener("htmx:sse:after:connection", isHeard);
  document.addEventListener("htmx:sse:after:message", isHeard);
  document.addEventListener("htmx:sse:error", isLost);
  document.addEventListener("htmx:sse:close", isLost);
  document.addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 0 && !document.hidden) isLost();
  });
  setInterval(() => {
    if (!document.hidden && (lost || Date.now() - heard > SILENCE_MS)) isLost();
    for (const time of document.querySelectorAll("time[data-ago]")) time.textContent = age(Date.parse(time.dateTime));
  }, 5000);

  // ---- the live region asks for what the address bar says: filtering changes it without a reload. It says what it was
  // told of last, so that the server may answer with what another page was shown since then ----
  const { dataset } = document.body;
  document.addEventListener("htmx:sse:after:connection", () => { delete dataset.told; });
  document.addEventListener("htmx:sse:before:message", (event) => { dataset.told = JSON.parse(event.detail.message.data).pulse; });
  document.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.sourceElement.id !== "page") return;
    ctx.request.action = location.pathname + location.search;
    if (dataset.told) ctx.request.headers["Warren-Told"] = dataset.told;
  });

  // ---- who logs out goes to the log-in: an answer to what was asked before, which says so too, does not lead back ----
  let out = false;
  document.addEventListener("submit", (event) => { out ||= event.target.getAttribute("action") === "/logout"; });
  for (const step of ["htmx:before:request", "htmx:before:response"]) {
    document.addEventListener(step, (event) => { if (out) event.preventDefault(); });
  }

  // ---- what answers a form cannot be fetched again: who comes back to it finds the form as it began, or the list ----
  const answer = document.querySelector("form[data-again]");
  if (answer) history.replaceState(null, "", answer.dataset.again);

  // ---- rows that appeared since the last look are tinted for a moment ----
  let known = null;
  const rows = () => new Set([...document.querySelectorAll("tr[id]")].map((row) => row.id));
  document.addEventListener("htmx:before:swap", () => { known = rows(); });
  document.addEventListener("htmx:after:swap", () => {
    if (!known) return;
    for (const row of document.querySelectorAll("tr[id]")) if (!known.has(row.id)) row.classList.add("fresh");
    known = null;
  });
  document.addEventListener("animationend", (event) => event.target.closest?.("tr.fresh")?.classList.remove("fresh"));

  // ---- a quick look beside a list: the focus goes there, and back to its row ----
  let row = byId("drawer")?.dataset.row;
  document.addEventListener("htmx:after:swap", () => {
    const drawer = byId("drawer");
    const next = drawer?.dataset.row;
    if (next === row) return;
    (drawer?.querySelector("h2") ?? byId(row)?.querySelector("th a"))?.focus();
    row = next;
  });

  // ---- theme ----
  const THEMES = ["auto", "light", "dark"];
  byId("theme")?.addEventListener("click", (event) => {
    const root = document.documentElement;
    const theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
    root.dataset.theme = theme;
    document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax`;
    event.currentTarget.title = `Theme: ${theme}`;
    event.currentTarget.setAttribute("aria-label", `Theme: ${theme}`);
    document.dispatchEvent(new Event("theme"));
  });

  // ---- which columns a list shows: at once, and from now on ----
  document.addEventListener("change", (event) => {
    const chooser = event.target.closest(".columns-of");
    if (!chooser) return;
    const { list } = chooser.dataset;
    const without = [...chooser.querySelectorAll("input:not(:checked)")].map((box) => box.value);
    for (const table of document.querySelectorAll(`table.${list}[data-without]`)) table.dataset.without = without.map((name) => name.replaceAll(" ", "-")).join(" ");
    const cookie = document.cookie.split("; ").find((one) => one.startsWith("columns="))?.slice(8) ?? "";
    const others = cookie.split("+").filter((one) => one && !one.startsWith(`${list}.`));
    const all = [...others, ...without.map((name) => `${list}.${name.replaceAll(" ", "_")}`)].join("+");
    document.cookie = `columns=${all}; path=/; max-age=31536000; samesite=lax`;
  });
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll(".columns-of[open]")) if (!open.contains(event.target)) open.open = false;
  });

  // ---- another tenant: as soon as one is chosen ----
  const chosen = document.querySelector(".switch");
  chosen?.addEventListener("change", () => chosen.requestSubmit());
  chosen?.addEventListener("submit", (event) => {
    const name = chosen.querySelector("input").value.trim();
    if (!chosen.dataset.at || !name) return;
    event.preventDefault();
    location.href = `${chosen.dataset.at}/${encodeURIComponent(name)}`;
  });

  // ---- one tick for all rows ----
  document.addEventListener("change", (event) => {
    if (event.target.id !== "tick-all") return;
    for (const box of document.querySelectorAll(".list .choose input[name]")) box.checked = event.target.checked;
  });

  // ---- a phone's bar shows four pages, and all of them when asked ----
  byId("more")?.addEventListener("click", (event) => {
    const open = event.currentTarget.parentElement.classList.toggle("open");
    event.currentTarget.setAttribute("aria-expanded", String(open));
  });

  // ---- keys ----
  let going = false;
  const move = (step) => {
    // A row's name, or its first link where the name is none; from the row that is looked at, if one is.
    const lines = [...document.querySelectorAll(".list tbody tr")].filter((one) => one.querySelector("a"));
    const links = lines.map((one) => one.querySelector("th a") ?? one.querySelector("a"));
    if (!links.length) return;
    const here = document.activeElement?.closest(".list tbody tr") ?? byId(byId("drawer")?.dataset.row);
    const at = lines.indexOf(here);
    const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + step));
    links[next].focus();
    links[next].scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, textarea, select");
    if (event.key === "Escape" && typing) return event.target.blur();
    if (typing || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") return byId("drawer")?.querySelector(".close").click();
    if (going) {
      going = false;
      document.querySelector(`.rail a[data-key="${CSS.escape(event.key)}"]`)?.click();
      return;
    }
    if (event.key === "g") {
      going = true;
      setTimeout(() => { going = false; }, 1000);
    } else if (event.key === "/") {
      event.preventDefault();
      byId("search")?.select();
    } else if (event.key === "?") {
      byId("keys")?.showModal();
    } else if (event.key === " " && event.target.matches(".list tbody a")) {
      event.preventDefault();
      (event.target.closest("tr").querySelector(".look") ?? event.target).click();
    } else if (event.key === "ArrowDown" || event.key === "j") {
      event.preventDefault();
      move(1);
    } else if (event.key === "ArrowUp" || event.key === "k") {
      event.preventDefault();
      move(-1);
    }
  });
})();
