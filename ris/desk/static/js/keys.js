// One key handler. Commands are declared in HTML (data-key, data-cmd); this file only finds and clicks them.
(() => {
  "use strict";
  const TEXT = "input:not([type=checkbox], [type=radio], [type=button], [type=submit], [type=reset]), textarea, select, [contenteditable='true']";
  const BURST = 3, WITHIN = 50, QUIET = 120, CHORD = 1200;
  const { open, closeSheet } = window.lightbox;
  const shown = (el) => el.checkVisibility() && !el.disabled && el.getAttribute("aria-disabled") !== "true";
  const norm = (key) => key.toLowerCase().trim();

  function keyOf(event) {
    const mods = (event.ctrlKey || event.metaKey ? "ctrl+" : "") + (event.altKey ? "alt+" : "");
    const letter = /^\p{L}$/u.test(event.key);
    const shift = event.shiftKey && (mods || letter || event.key.length > 1) ? "shift+" : "";
    return mods + shift + event.key.toLowerCase();
  }

  // ---- rows ----
  const rows = (root = document) => [...root.querySelectorAll("[data-row]")].filter(shown);
  const current = () => document.querySelector("[data-row][data-current]");
  function choose(row, focus = true) {
    document.querySelectorAll("[data-row][data-current]").forEach((other) => { if (other !== row) { other.removeAttribute("data-current"); other.tabIndex = -1; } });
    row.dataset.current = "";
    row.tabIndex = 0;
    if (focus) { row.focus(); row.scrollIntoView({ block: "nearest" }); }
  }
  function move(step) {
    const all = rows(), now = all.indexOf(current());
    if (!all.length) return false;
    choose(all[now < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(now + step, 0), all.length - 1)]);
    return true;
  }
  // One stop for Tab in a list: the current row, or the first.
  function rove() {
    const all = document.querySelectorAll("[data-row]");
    const stop = current() || [...all].find(shown);
    all.forEach((row) => { row.tabIndex = row === stop ? 0 : -1; });
  }
  document.addEventListener("focusin", ({ target }) => { const row = target.closest("[data-row]"); if (row && row !== current()) choose(row, false); });
  document.addEventListener("click", ({ target }) => {
    const row = target.closest("[data-row]");
    if (row && !target.closest("a, button, input, select, textarea, label, summary")) choose(row);
  });
  for (const event of ["htmx:load", "lists:changed"]) document.body.addEventListener(event, rove);
  rove();

  // ---- commands ----
  function find(key) {
    const dialog = document.querySelector("dialog[open]");
    const undo = key === "u" && [...document.querySelectorAll("#toasts [data-key='u']")].pop();
    if (undo) return undo;
    const roots = dialog ? [dialog] : [document.querySelector("#sheet > *"), current(), document.querySelector(".page"), document.body];
    for (const root of roots) {
      if (!root) continue;
      const hits = [...root.querySelectorAll("[data-key]")].filter((el) => norm(el.dataset.key) === key && shown(el));
      const hit = hits.find((el) => { const row = el.closest("[data-row]"); return !row || row === current(); });
      if (hit) return hit;
    }
    return null;
  }
  const startsChord = (key) => [...document.querySelectorAll("[data-key]")].some((el) => norm(el.dataset.key).startsWith(key + " ") && shown(el));
  function perform(el) {
    if (el.matches(TEXT)) { el.focus(); el.select?.(); } else el.click();
  }
  const builtin = {
    j: () => move(1),
    k: () => move(-1),
    "?": () => open(document.getElementById("key-sheet")),
    "/": () => { const field = document.querySelector("[data-filter], .filters input[type=search]"); if (field) { field.focus(); field.select(); } else open(document.getElementById("palette")); },
    ".": () => document.querySelector("[data-new-rows]")?.click(),
  };
  let chord = "", chordTimer = 0;
  function run(key) {
    const full = chord ? `${chord} ${key}` : key;
    clearTimeout(chordTimer);
    const hit = find(full);
    const wasChord = chord;
    chord = "";
    if (hit) return perform(hit);
    if (!wasChord && startsChord(key)) { chord = key; chordTimer = setTimeout(() => { chord = ""; }, CHORD); return; }
    if (!document.querySelector("dialog[open]")) builtin[key]?.();
  }

  // ---- bursts: scanners and dictation type faster than people ----
  let stamps = [], queue = [], quietUntil = 0, typed = "", lastStamp = 0;
  function plain(event) {
    const now = event.timeStamp;
    typed = (now - lastStamp > QUIET ? "" : typed) + event.key;
    lastStamp = now;
    if (!event.repeat) stamps = [...stamps.filter((stamp) => now - stamp < WITHIN), now];
    if (stamps.length >= BURST || now < quietUntil) {
      quietUntil = now + QUIET;
      queue.forEach(clearTimeout);
      queue = [];
      chord = "";
      event.preventDefault();
      return;
    }
    const key = keyOf(event);
    if (find(key) || builtin[key] || chord || startsChord(key)) event.preventDefault();
    queue.push(setTimeout(() => { queue.shift(); run(key); }, WITHIN));
  }
  function scanned(text) {
    const field = document.querySelector("[data-scan]");
    if (field && shown(field)) { field.value = text; field.dispatchEvent(new Event("input", { bubbles: true })); field.form?.requestSubmit(); return; }
    const palette = document.getElementById("palette");
    if (!palette) return;
    open(palette);
    const query = document.getElementById("palette-q");
    query.value = text;
    query.dispatchEvent(new Event("input", { bubbles: true }));
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || ["Control", "Shift", "Alt", "Meta", "AltGraph"].includes(event.key)) return;
    const target = event.target, text = target.matches?.(TEXT), key = keyOf(event);
    const modified = event.ctrlKey || event.metaKey || (event.altKey && !event.getModifierState("AltGraph"));
    if (document.getElementById("lock")?.open) return;
    if (event.key === "Escape") {
      if (document.querySelector("dialog[open]")) return;
      const menu = document.querySelector("details.menu[open]");
      if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
      else if (!closeSheet()) { const hit = find("escape"); if (hit) perform(hit); else if (text) (current() || target).focus(), target.blur(); }
      return;
    }
    if (modified) {
      const hit = key === "ctrl+k" ? null : find(key);
      if (key === "ctrl+k") { event.preventDefault(); open(document.getElementById("palette")); }
      else if (hit) { event.preventDefault(); perform(hit); }
      return;
    }
    if (text) return;
    if (event.key.length === 1 && event.key !== " ") {
      if (localStorage.getItem("keys") !== "off") plain(event);
      return;
    }
    if (event.key === "Enter") {
      if (event.timeStamp < quietUntil) { event.preventDefault(); if (typed.length >= 4) scanned(typed); typed = ""; return; }
      const onRow = target === current() || target === document.body;
      const row = current();
      if (onRow && row && !row.matches("a")) {
        const action = row.querySelector("[data-default]");
        if (action && shown(action)) { event.preventDefault(); action.click(); }
        return;
      }
      if (target === document.body) { const hit = find("enter"); if (hit) { event.preventDefault(); perform(hit); } }
      return;
    }
    if ((key === "arrowdown" || key === "arrowup") && (target === document.body || target.id === "main" || target.matches("[data-row]"))) {
      if (move(key === "arrowdown" ? 1 : -1)) event.preventDefault();
      return;
    }
    if (target.closest("a, button, summary, input, [role=option]") && !target.matches("[data-row]")) return;
    const hit = find(key);
    if (hit) { event.preventDefault(); perform(hit); }
  });

  // ---- the key sheet lists what the page declares ----
  document.body.addEventListener("opened", ({ detail: { dialog } }) => {
    const list = dialog.querySelector("[data-keys]");
    if (!list) return;
    list.querySelectorAll("li:not([data-fixed])").forEach((item) => item.remove());
    const seen = new Set();
    document.querySelectorAll("[data-key]").forEach((el) => {
      if (seen.has(el.dataset.key) || el.closest("dialog, template") || !shown(el)) return;
      seen.add(el.dataset.key);
      const words = document.createElement("span"), keys = document.createElement("span"), item = document.createElement("li");
      const label = el.cloneNode(true);
      label.querySelectorAll("kbd, svg, .n").forEach((part) => part.remove());
      words.textContent = el.getAttribute("aria-label") || label.textContent.trim() || el.dataset.cmd;
      el.dataset.key.split(/[+ ]/).forEach((part) => { const k = document.createElement("kbd"); k.textContent = part.length === 1 ? part.toUpperCase() : part; keys.append(k, " "); });
      item.append(words, keys);
      list.append(item);
    });
  });
})();
