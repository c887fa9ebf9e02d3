// For every section: what does not fit, and how many lines of text it shows above its buttons.
[...document.querySelectorAll("section")].map(section => {
  const inside = [...section.querySelectorAll("*")];
  const right = section.getBoundingClientRect().right;
  const cut = inside.concat([section]).filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0)
    .concat(inside.filter(e => e.getBoundingClientRect().right > right + 0.5))
    .map(e => `${e.tagName.toLowerCase()}.${e.className}: ${e.textContent.slice(0, 60)}`);
  const tops = new Set();
  const walker = document.createTreeWalker(section.querySelector(".said"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.textContent.trim()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) if (box.width > 0) tops.add(Math.round((box.top + box.bottom) / 2 / 6));
  }
  const box = section.getBoundingClientRect();
  return { name: section.dataset.name, group: section.dataset.group, short: section.dataset.short === "1",
           cut: [...new Set(cut)], lines: tops.size,
           box: [box.left + scrollX, box.top + scrollY, box.width, box.height] };
})
