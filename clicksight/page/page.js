"use strict";
// All names come from logs and file names, so they are set as text, never as HTML.
const at = (id) => document.getElementById(id);
const model = at("model"), said = at("said"), map = at("map");
let picture = null; // the chosen file
const CONTEXT = ["tags", "history"]; // what a model may read beside the picture
const read = new Map(); // what each model reads of it, by its number
let asked = 0; // number of the newest question; late answers to older ones are dropped

function make(tag, text = "", classes = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = classes;
  return element;
}

function note(text, isError = false) {
  return make("p", text, isError ? "note error" : "note");
}

async function answer(address, options) {
  const response = await fetch(address, options).catch(() => {
    throw new Error("The server doesn’t answer.");
  });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Error(body.detail || `The server answered ${response.status}.`);
}

function context() {
  const known = new URLSearchParams();
  for (const name of CONTEXT) {
    if (!at(`${name}-field`).hidden) known.set(name, at(name).value);
  }
  return known;
}

function gallery(found) {
  const pictures = make("div", "", "pictures");
  for (const one of found) {
    const figure = make("figure"), image = make("img"), caption = make("figcaption");
    image.src = one.picture;
    image.alt = caption.title = one.name;
    image.loading = "lazy";
    caption.append(make("span", one.name), make("span", one.cosine.toFixed(2)));
    figure.append(image, caption);
    pictures.append(figure);
  }
  return pictures;
}

function bar(kind, entry) {
  const row = make("button", "", `bar ${kind}`), length = make("i"), isShare = kind !== "word" && kind !== "text";
  length.style.width = `${Math.max(0, Math.min(1, entry.value)) * 100}%`;
  row.append(make("b", entry.name), length, make("span", isShare ? `${(100 * entry.value).toFixed(0)} %` : entry.value.toFixed(2)));
  row.type = "button";
  row.title = "Show where in the picture this comes from";
  row.addEventListener("click", () => explain(kind, entry.name, row));
  return row;
}

async function explain(kind, name, row) {
  const mine = ++asked, known = context();
  for (const other of document.querySelectorAll(".bar")) other.setAttribute("aria-pressed", other === row);
  known.set("kind", kind);
  known.set("name", name);
  map.hidden = false;
  at("map-image").hidden = true;
  at("map-text").textContent = `Where “${name}” comes from …`;
  try {
    const response = await answer(`models/${model.value}/explain?${known}`, { method: "POST", body: picture });
    const image = await response.blob();
    if (mine !== asked) return;
    URL.revokeObjectURL(at("map-image").src);
    at("map-image").src = URL.createObjectURL(image);
    at("map-image").hidden = false;
    at("map-text").textContent = `Bright: where “${name}” comes from (RISE).`;
  } catch (error) {
    if (mine === asked) at("map-text").textContent = error.message;
  }
}

async function showFields(number) {
  if (!read.has(number)) read.set(number, (await (await answer(`models/${number}`)).json()).reads);
  if (number !== model.value) return;
  for (const name of CONTEXT) at(`${name}-field`).hidden = !read.get(number).includes(name);
}

async function predict() {
  const mine = ++asked;
  map.hidden = true;
  said.replaceChildren(...(picture ? [note("Looking …")] : []));
  try {
    await showFields(model.value);
    if (mine !== asked || !picture) return;
    const response = await answer(`models/${model.value}/predict?${context()}`, { method: "POST", body: picture });
    const result = await response.json();
    if (mine !== asked) return;
    said.replaceChildren();
    for (const list of result.lists) {
      const part = make("div", "", "list");
      part.append(make("h3", list.title), ...list.entries.map((entry) => bar(list.kind, entry)));
      said.append(part);
    }
    if (result.lists.length) said.append(make("p", "Choose a line to see where in the picture it comes from.", "hint"));
    if (result.number !== null) said.append(make("p", `Number of labels: ${result.number}`));
    if (result.nothing_fits) said.append(note("No word is sure enough: nothing fits."));
    if (!result.lists.length && !result.nothing_fits) said.append(note("The model says nothing of this picture."));
    if (result.similar.length) {
      said.append(make("h3", "Pictures that people would click for the same"), gallery(result.similar));
    }
  } catch (error) {
    if (mine === asked) said.replaceChildren(note(error.message, true));
  }
}

function choose(file) {
  if (!file) return;
  picture = file;
  URL.revokeObjectURL(at("shown").src);
  at("shown").src = URL.createObjectURL(file);
  at("shown").hidden = false;
  at("invitation").hidden = true;
  predict();
}

const drop = at("drop");
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
  });
}
drop.addEventListener("drop", (event) => choose(event.dataTransfer.files[0]));
at("shown").addEventListener("error", () => {
  at("shown").hidden = true;
  at("invitation").hidden = false;
});
at("file").addEventListener("change", (event) => choose(event.target.files[0]));
document.addEventListener("paste", (event) => choose([...event.clipboardData.files][0]));
model.addEventListener("change", predict);
at("tags").addEventListener("change", predict);
at("history").addEventListener("change", predict);
predict();

if (at("search")) {
  let searched = 0;
  const search = async () => {
    const mine = ++searched, words = at("words").value.trim();
    if (!words) return;
    const all = at("everything") !== null && at("everything").checked;
    const query = new URLSearchParams({ words, all });
    try {
      const response = await answer(`galleries/${at("gallery").value}/search?${query}`);
      const result = await response.json();
      if (mine === searched) at("found").replaceChildren(...result.notes.map((text) => note(text)), gallery(result.found));
    } catch (error) {
      if (mine === searched) at("found").replaceChildren(note(error.message, true));
    }
  };
  at("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  if (at("everything")) at("everything").addEventListener("change", search);
  at("gallery").addEventListener("change", () => {
    for (const examples of document.querySelectorAll(".examples")) examples.hidden = examples.dataset.gallery !== at("gallery").value;
    search();
  });
  for (const word of document.querySelectorAll(".word")) {
    word.addEventListener("click", () => {
      at("words").value = word.textContent;
      search();
    });
  }
}
