// Boxes over the picture as buttons, each with its label where there is room for it.

/** `count` elements in `parent`; those that are there stay: a click and the focus outlast the camera's next frame. */
export function kept(parent, count, make) {
  while (parent.children.length > count) parent.lastChild.remove();
  while (parent.children.length < count) parent.append(make());
  return [...parent.children];
}

const button = () => Object.assign(document.createElement("button"), { type: "button" });

/** Shows `found`, [{box, text}] in pixels of `picture`; the chosen one is pressed; `choose(index)` on a click. */
export function showBoxes(layer, picture, found, chosen, choose) {
  const area = ({ box: [left, top, right, bottom] }) => (right - left) * (bottom - top);
  if (layer.children.length !== 2 * found.length) {
    layer.replaceChildren(...found.map(button), ...found.map(() => document.createElement("span")));
  }
  const buttons = [...layer.children].slice(0, found.length);
  const labels = [...layer.children].slice(found.length);
  found.forEach(({ box: [left, top, right, bottom], text }, index) => {
    const [x, y] = [(n) => `${(100 * n) / picture.width}%`, (n) => `${(100 * n) / picture.height}%`];
    Object.assign(buttons[index].style, { left: x(left), top: y(top), width: x(right - left), height: y(bottom - top) });
    const larger = found.filter((other) => area(other) > area(found[index])).length;
    buttons[index].style.zIndex = 1 + larger; // so that a small box inside a large one can be clicked
    buttons[index].setAttribute("aria-pressed", index === chosen);
    buttons[index].setAttribute("aria-label", text);
    buttons[index].onclick = () => choose(index);
    labels[index].textContent = text;
    labels[index].style.display = "";
    labels[index].setAttribute("aria-hidden", true); // the button has the same text
    labels[index].classList.toggle("chosen", index === chosen);
    labels[index].style.zIndex = 1 + found.length; // above the edges of all boxes
  });
  placeLabels(layer, buttons, labels, chosen);
}

/** Puts labels above, below or into their boxes, where none is covered; one without a place is left out. */
function placeLabels(layer, buttons, labels, chosen) {
  const frame = layer.getBoundingClientRect();
  const taken = [];
  const order = labels.map((_, i) => i).sort((a, b) => (b === chosen) - (a === chosen));
  for (const index of order) {
    const box = buttons[index].getBoundingClientRect();
    const { width, height } = labels[index].getBoundingClientRect();
    const lefts = [box.left, box.right - width].map((x) => Math.max(frame.left, Math.min(x, frame.right - width)));
    const tops = [box.top - height, box.bottom, box.top + 3, box.bottom - height - 3];
    const places = tops.flatMap((top) => lefts.map((left) => ({ left, top, right: left + width, bottom: top + height })));
    const free = places.find((place) => place.top >= frame.top && place.bottom <= frame.bottom
      && taken.every((other) => place.right <= other.left || place.left >= other.right
        || place.bottom <= other.top || place.top >= other.bottom));
    if (!free) {
      labels[index].style.display = "none";
      continue;
    }
    taken.push(free);
    Object.assign(labels[index].style, { left: `${free.left - frame.left}px`, top: `${free.top - frame.top}px` });
  }
}
