// Keyboard, files and the end of a session: what a page cannot do through trame's state.
(() => {
  const keys = {
    ArrowUp: "next", ArrowRight: "next", PageUp: "next", ArrowDown: "previous", ArrowLeft: "previous",
    PageDown: "previous", Home: "first", End: "last", "[": "smaller", "]": "larger", "-": "smaller", "+": "larger",
    o: "overlay", " ": "overlay", v: "view", w: "window", p: "paint", e: "erase", d: "draw", t: "threshold",
    1: "segment-0", 2: "segment-1", 3: "segment-2", 4: "segment-3", m: "mosaic", "?": "help", Escape: "view",
  };
  const typing = (element) =>
    element && (element.isContentEditable || ["TEXTAREA", "SELECT"].includes(element.tagName) ||
      (element.tagName === "INPUT" && !["checkbox", "radio", "range", "file"].includes(element.type)));
  const action = (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey) {
      if (key === "z") return event.shiftKey ? "redo" : "undo";
      return key === "y" ? "redo" : null;
    }
    return event.altKey ? null : keys[key];
  };
  const onKey = (event) => {
    const name = typing(event.target) ? null : action(event);
    // Sliders keep their arrows, lists and menus theirs, an open dialog all but the key that closes it.
    if (!name || event.target.closest?.('[role="listbox"], [role="menu"], .v-menu')) return;
    if (event.target.closest?.('[role="slider"]') && /^(Arrow|Page|Home|End)/.test(event.key)) return;
    if (document.querySelector(".v-dialog.v-overlay--active") && name !== "help") return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.type === "keydown") window.trame?.trigger("key", [name]);
  };
  for (const type of ["keydown", "keypress", "keyup"]) window.addEventListener(type, onKey, true);

  const say = (kind, text) => window.trame?.state.update({ message_kind: kind, message: text });

  // What takes the place of corrections that were not exported does so only if the reader agrees. The session is asked, not
  // this page's state: a stroke may be on its way.
  const agreed = async () => !(await window.trame.trigger("unsaved")) ||
    window.confirm("Corrections or a review that were not exported will be lost. Go on?");
  // Of all that a reader asks to open, the last is opened: an earlier wish that is not sent yet, or on its way, is given up.
  let wishes = 0;
  let sending = null;
  const granted = async (wish) => {
    if (!(await agreed()) || wish !== wishes) return false;
    sending?.abort();
    return true;
  };
  const replace = async (name, values = []) => (await granted(++wishes)) && window.trame.trigger(name, values);

  // What the button said when it was clicked; the second of a double click is no second wish.
  function segment(event, running) {
    if (event.detail > 1) return;
    if (running) window.trame.trigger("cancel");
    else agreed().then((yes) => yes && window.trame.trigger("segment"));
  }

  async function chooseStack(select) {
    if (await agreed()) window.trame.trigger("choose_stack", [Number(select.value)]);
    else select.value = String(window.trame.state.get("stack"));
  }

  async function send(files, wish) {
    if (!files.length || !window.trame || !(await granted(wish))) return;
    const form = new FormData();
    for (const [name, file] of files) form.append("files", file, name);
    const request = (sending = new XMLHttpRequest());
    request.open("POST", "files");
    request.upload.onprogress = (event) =>
      event.lengthComputable && window.trame.state.update({ uploading: Math.round((100 * event.loaded) / event.total) });
    request.onload = () => {
      window.trame.state.update({ uploading: -1 });
      if (request.status !== 200) say("error", request.responseText || "The files could not be sent.");
    };
    request.onabort = () => window.trame.state.update({ uploading: -1 });
    request.onerror = () => {
      window.trame.state.update({ uploading: -1 });
      say("error", "The files could not be sent: the connection was closed. They may be larger than is allowed.");
    };
    window.trame.state.update({ uploading: 0, message: "" });
    request.send(form);
  }

  function pick(folder) {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.webkitdirectory = folder;
    input.onchange = () => send([...input.files].map((file) => [file.webkitRelativePath || file.name, file]), ++wishes);
    input.click();
  }

  // What this page asked for is downloaded here alone: state is shared by all pages of a visitor, and outlives them.
  async function download() {
    const name = await window.trame.trigger("export");
    if (!name) return; // the page says why
    const link = document.createElement("a");
    link.href = `export.zip?name=${encodeURIComponent(name)}`;
    link.download = "";
    document.body.append(link);
    link.click();
    link.remove();
  }

  const entriesOf = (reader) => new Promise((done) => reader.readEntries(done, () => done([])));
  async function walk(entry, path, found) {
    if (entry.isFile) {
      const file = await new Promise((done) => entry.file(done, () => done(null)));
      if (file) found.push([path + entry.name, file]);
    } else {
      const reader = entry.createReader();
      for (let some = await entriesOf(reader); some.length; some = await entriesOf(reader))
        for (const inner of some) await walk(inner, `${path}${entry.name}/`, found);
    }
  }
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", async (event) => {
    event.preventDefault();
    const wish = ++wishes;
    const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const found = [];
    const plain = [...(event.dataTransfer?.files ?? [])].map((file) => [file.name, file]);
    for (const entry of entries) await walk(entry, "", found);
    send(entries.length ? found : plain, wish);
  });

  // The session ends when it was idle for long, used too much memory or failed: the page says so instead of standing still.
  let missed = 0;
  const watch = async () => {
    let text = "";
    try {
      const answer = await (await fetch("scarnet/status", { cache: "no-store" })).json();
      missed = 0;
      if (answer.state === "ended") text = answer.reason;
    } catch {
      if (++missed > 2) text = "The server does not answer: it was stopped, or the connection was lost.";
    }
    if (!text) return setTimeout(watch, 3000);
    const cover = document.createElement("div");
    cover.id = "session-ended";
    cover.setAttribute("role", "alertdialog");
    cover.style.cssText = "position:fixed;inset:0;z-index:9999;display:flex;flex-direction:column;gap:16px;align-items:center;" +
      "justify-content:center;background:#0d0e10f2;color:#fff;font:16px Roboto,sans-serif;text-align:center;padding:20px";
    const words = document.createElement("p");
    words.textContent = text;
    const again = document.createElement("button");
    again.textContent = "Start again";
    again.style.cssText = "padding:8px 18px;background:#8ab4f8;color:#111;border-radius:4px";
    again.onclick = () => window.location.reload();
    cover.append(words, again);
    document.body.append(cover);
  };
  setTimeout(watch, 3000);

  window.scarnet = { pick, download, replace, chooseStack, segment };
})();
