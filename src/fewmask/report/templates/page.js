"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const byId = (id) => document.getElementById(id);
  const [cards, left, right, overlay, order] = ["cards", "left", "right", "overlay", "order"].map(byId);
  const classes = [...document.querySelectorAll("#legend button")];
  const names = new Map();
  for (const button of classes) {
    const color = button.dataset.color;
    names.set(color, [...(names.get(color) || []), button.textContent]);
  }
  const isClasses = (key) => key === "truth" || key.startsWith("prediction");
  const stages = new Map();
  let alone = null; // the color of the one class that is shown

  const figureOf = (card, key) => card.querySelector(`figure[data-layer="${key}"]`);

  /** Draws a layer of a card on a canvas; of the class that is shown alone, the other classes are faint. */
  const draw = async (stage, canvas, key) => {
    canvas.wanted = key;
    const source = figureOf(stage.card, key).querySelector("img");
    await source.decode();
    if (canvas.wanted !== key) return;
    canvas.width = source.naturalWidth;
    canvas.height = source.naturalHeight;
    canvas.classList.toggle("flat", isClasses(key));
    canvas.style.opacity = isClasses(key) ? overlay.value : 1;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(source, 0, 0);
    canvas.pixels = isClasses(key) ? context.getImageData(0, 0, canvas.width, canvas.height) : null;
    if (overlay.value === "1" && isClasses(key)) {
      context.globalCompositeOperation = "destination-over";
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.globalCompositeOperation = "source-over";
    }
    if (alone && canvas.pixels) {
      const faded = new ImageData(new Uint8ClampedArray(canvas.pixels.data), canvas.width, canvas.height);
      const [red, green, blue] = alone.split(",").map(Number);
      for (let at = 0; at < faded.data.length; at += 4) {
        const own = faded.data[at] === red && faded.data[at + 1] === green && faded.data[at + 2] === blue;
        if (!own) faded.data[at + 3] = 0;
      }
      context.putImageData(faded, 0, 0);
      canvas.style.opacity = 0.85;
    }
  };

  const show = (stage) => {
    stage.sides.forEach(({ canvas, tag, choice }) => {
      const key = stage.own[canvas.className.includes("left") ? "left" : "right"] || choice.value;
      tag.textContent = figureOf(stage.card, key).querySelector("figcaption").textContent;
      draw(stage, canvas, key);
    });
  };

  const readers = new WeakMap();
  const readerOf = (figure) => {
    if (!readers.has(figure)) {
      const source = figure.querySelector("img");
      const reader = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      reader.canvas.width = source.naturalWidth;
      reader.canvas.height = source.naturalHeight;
      reader.drawImage(source, 0, 0);
      readers.set(figure, reader);
    }
    return readers.get(figure);
  };

  /** The class at a place of a layer, by its color; x and y are shares of the sides. */
  const classAt = (figure, x, y) => {
    const reader = readerOf(figure);
    const place = [Math.floor(x * reader.canvas.width), Math.floor(y * reader.canvas.height)];
    const [red, green, blue, alpha] = reader.getImageData(...place, 1, 1).data;
    return alpha ? (names.get(`${red},${green},${blue}`) || ["?"]).join(" or ") : "no label";
  };

  const make = (card) => {
    const stage = document.createElement("div");
    stage.className = "stage";
    const photo = figureOf(card, "image").querySelector("img").cloneNode();
    stage.append(photo);
    const sides = [["left", left], ["right", right]].map(([side, choice]) => {
      const canvas = document.createElement("canvas");
      canvas.className = `side-${side}`;
      const tag = document.createElement("span");
      tag.className = `tag on-${side}`;
      stage.append(canvas, tag);
      return { canvas, tag, choice };
    });
    const input = document.createElement("input");
    Object.assign(input, { type: "range", min: 0, max: 100, step: "any", value: 50 });
    input.setAttribute("aria-label", `compare the two sides of ${card.dataset.name}`);
    stage.append(document.createElement("i"), input);
    const probe = document.createElement("output");
    probe.className = "probe";
    const held = { card, sides, own: {}, stage };
    input.addEventListener("input", () => stage.style.setProperty("--at", `${input.value}%`));
    stage.addEventListener("pointermove", (event) => {
      const box = stage.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
      if (x < 0 || x >= 1 || y < 0 || y >= 1) return;
      probe.textContent = [...card.querySelectorAll("figure")]
        .filter((figure) => isClasses(figure.dataset.layer))
        .map((figure) => `${figure.textContent.trim()}: ${classAt(figure, x, y)}`)
        .join(" · ");
    });
    card.querySelector(".layers").before(stage, probe);
    for (const figure of card.querySelectorAll("figure")) {
      figure.addEventListener("click", () => {
        held.own = { right: figure.dataset.layer };
        show(held);
      });
    }
    stages.set(card, held);
    show(held);
  };

  const showAll = () => stages.forEach(show);
  for (const choice of [left, right]) {
    choice.addEventListener("change", () => {
      stages.forEach((stage) => { stage.own = {}; });
      showAll();
    });
  }
  overlay.addEventListener("change", showAll);
  for (const button of classes) {
    button.addEventListener("click", () => {
      alone = alone === button.dataset.color ? null : button.dataset.color;
      for (const each of classes) each.setAttribute("aria-pressed", String(each.dataset.color === alone));
      showAll();
    });
  }
  order.addEventListener("change", () => {
    const number = (card) => Number(card.dataset[order.value === "rank" ? "rank" : "gain"]);
    const sorted = [...cards.children].sort((one, other) => {
      if (order.value === "name") return one.dataset.name.localeCompare(other.dataset.name, undefined, { numeric: true });
      return order.value === "gain" ? number(other) - number(one) : number(one) - number(other);
    });
    sorted.forEach((card, place) => card.classList.toggle("more", place >= 12));
    cards.append(...sorted);
  });
  byId("all")?.addEventListener("click", (event) => {
    cards.classList.add("all");
    event.target.remove();
  });
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) {
        seen.unobserve(target);
        make(target);
      }
    }
  }, { rootMargin: "400px" });
  for (const card of cards.children) seen.observe(card);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
})();
