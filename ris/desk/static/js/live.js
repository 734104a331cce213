// Lists that keep themselves current, and stay still under the hand: [data-live] polls, rows morph in place.
(() => {
  "use strict";
  const EVERY = 2000, RETRY = 5000, STALE = 40000, MISSES = 3, IN_IT = 8000;
  const { seconds, minutes, lock } = window.lightbox;
  const pill = document.getElementById("live-pill"), summary = document.getElementById("live-summary");
  let okAt = Date.now(), misses = 0, touched = 0, timer = 0, running = false;

  // What the browser knows and the server does not: the current row, what is open, what is typed.
  const KEPT = new Set(["tabindex", "data-current", "open", "data-dirty", "style", "aria-expanded", "data-clock"]);
  Object.assign(Idiomorph.defaults.callbacks, {
    beforeAttributeUpdated: (name, el) => !(KEPT.has(name) || (name === "value" && el === document.activeElement)),
    beforeNodeMorphed: (old) => !(old.nodeType === 1 && old.dataset?.dirty !== undefined),
  });
  document.addEventListener("input", ({ target }) => { if (target.closest("[data-live]")) target.dataset.dirty = ""; });
  for (const event of ["keydown", "pointerdown", "wheel"]) {
    document.addEventListener(event, ({ target }) => { if (target.closest?.("[data-live]")) touched = Date.now(); }, { passive: true });
  }

  const lists = () => [...document.querySelectorAll("[data-live]")];
  const inUse = (list) => list.contains(document.activeElement) && Date.now() - touched < IN_IT;
  const ids = (root) => [...root.querySelectorAll("[data-row][id]")].map((row) => row.id);

  function settle(list, next, words) {
    Idiomorph.morph(list, next, { morphStyle: "outerHTML" });
    const now = document.getElementById(next.id) || list;
    htmx.process(now);
    document.body.dispatchEvent(new CustomEvent("lists:changed"));
    if (words && summary) summary.textContent = words;
  }

  function apply(list, html) {
    const next = new DOMParser().parseFromString(html, "text/html").querySelector("[data-live]");
    if (!next) return;
    const had = ids(list), has = ids(next);
    const fresh = has.filter((id) => !had.includes(id)), gone = had.filter((id) => !has.includes(id));
    const order = (all, of) => all.filter((id) => of.includes(id)).join();
    const still = order(had, has) === order(has, had);
    if (!inUse(list) || (!fresh.length && !gone.length && still)) {
      list.waiting = null;
      settle(list, next, fresh.length || gone.length ? `${fresh.length} new, ${gone.length} gone` : "");
      return;
    }
    // Somebody is in the list: rows change where they are; order and newcomers wait for a word.
    for (const id of had) {
      const old = document.getElementById(id), now = next.querySelector(`#${CSS.escape(id)}`);
      if (now) { Idiomorph.morph(old, now.cloneNode(true), { morphStyle: "outerHTML" }); htmx.process(document.getElementById(id)); }
      else old.classList.add("is-gone");
    }
    list.querySelectorAll("[data-part][id]").forEach((part) => {
      const now = next.querySelector(`#${CSS.escape(part.id)}`);
      if (now) Idiomorph.morph(part, now.cloneNode(true), { morphStyle: "outerHTML" });
    });
    list.dataset.liveVersion = next.dataset.liveVersion;
    list.waiting = next;
    offer(list, fresh.length ? `${fresh.length} new` : "The order changed");
  }

  function offer(list, words) {
    let bar = list.querySelector(":scope > .new-rows");
    if (!bar) {
      bar = document.createElement("div");
      bar.className = "new-rows";
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.newRows = "";
      bar.append(button);
      list.prepend(bar);
    }
    bar.firstElementChild.textContent = `${words} – press .`;
    if (summary) summary.textContent = words;
  }
  document.addEventListener("click", ({ target }) => { if (target.closest("[data-new-rows]")) flush(target.closest("[data-live]")); });
  function flush(list) {
    if (!list?.waiting) return;
    const next = list.waiting;
    list.waiting = null;
    settle(list, next, "");
  }

  function mark() {
    const stale = misses >= MISSES || Date.now() - okAt > STALE;
    if (!pill || !lists().length) return stale;
    pill.hidden = false;
    pill.classList.toggle("is-stale", stale);
    const mark = pill.querySelector("use"), sprite = mark.getAttribute("href").split("#")[0];
    mark.setAttribute("href", `${sprite}#${stale ? "warn" : "check"}`);
    const time = (stale ? minutes : seconds).format(okAt);
    pill.querySelector("[data-pill-text]").textContent = stale ? `Not live since ${time}. Trying again` : `Live · updated ${time}`;
    lists().forEach((list) => list.classList.toggle("is-stale", stale));
    return stale;
  }

  async function poll(list) {
    const url = new URL(list.dataset.live, location.href);
    if (list.dataset.liveVersion !== undefined) url.searchParams.set("since", list.dataset.liveVersion);
    const answer = await fetch(url, { headers: { "X-Live": "1" }, signal: AbortSignal.timeout(8000) });
    if (answer.status === 401 && answer.headers.get("X-Locked")) { lock(); return; }
    if (answer.status === 401) { location.assign(answer.headers.get("HX-Redirect") || "/login"); return; }
    if (answer.status === 200) {
      const html = await answer.text();
      // A row whose own request is under way waits for its answer.
      if (!list.isConnected || list.querySelector(".htmx-request")) return;
      apply(list, html);
    } else if (answer.status !== 204) throw new Error(String(answer.status));
  }

  async function round() {
    clearTimeout(timer);
    if (running) return;
    running = true;
    if (!document.hidden && !document.getElementById("lock")?.open) {
      try {
        for (const list of lists()) {
          if (list.waiting && !inUse(list)) flush(list);
          await poll(list);
        }
        okAt = Date.now();
        misses = 0;
      } catch { misses += 1; }
    }
    running = false;
    clearTimeout(timer);
    timer = setTimeout(round, mark() ? RETRY : EVERY);
  }
  document.body.addEventListener("poll", () => setTimeout(round, 60));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) round(); });
  // An outage in the middle of a hanging request still shows in time.
  setInterval(mark, 5000);
  timer = setTimeout(round, EVERY);
})();
