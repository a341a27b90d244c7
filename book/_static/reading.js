// Reading by keyboard, by ear and on a phone: boxes that scroll can be reached, figures enlarged.
(() => {
  "use strict";
  const BOXES =
    "pre, div.math, mjx-container[display], .pst-scrollable-table-container, .output, .highlight";

  // A box that scrolls is a stop for the tab key; one that does not is none.
  function mark(box) {
    const { overflowX, overflowY } = getComputedStyle(box);
    const moves = (overflow, needs, has) => /auto|scroll/.test(overflow) && needs > has;
    if (
      moves(overflowX, box.scrollWidth, box.clientWidth) ||
      moves(overflowY, box.scrollHeight, box.clientHeight)
    ) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "scrolls");
    } else if (box.getAttribute("aria-label") === "scrolls") {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  }

  function enlarge(image) {
    const dialog = document.createElement("dialog");
    dialog.className = "enlarged";
    dialog.setAttribute("aria-label", "Figure, enlarged");
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "Close";
    const box = document.createElement("div");
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "scrolls");
    const large = image.cloneNode();
    large.removeAttribute("style");
    large.style.width = `${Math.max(image.naturalWidth, 2 * image.clientWidth)}px`;
    box.append(large);
    dialog.append(close, box);
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", event => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  function addButtons() {
    for (const image of document.querySelectorAll("article figure img, article .cell_output img")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "enlarge";
      button.textContent = "Enlarge";
      button.addEventListener("click", () => enlarge(image));
      image.after(button);
      image.addEventListener("click", () => enlarge(image));
    }
  }

  addEventListener("DOMContentLoaded", async () => {
    const contents = document.querySelector(".bd-sidebar-primary"); // the theme leaves it nameless
    contents?.setAttribute("role", "region");
    contents?.setAttribute("aria-label", "Book");
    for (const fold of contents?.querySelectorAll("summary") ?? []) {
      const page = fold.closest("li").querySelector("a").textContent.trim();
      fold.setAttribute("aria-label", `Pages of ${page}`);
    }
    addButtons();
    await globalThis.MathJax?.startup?.promise; // equations have their width from now on
    const sizes = new ResizeObserver(entries => entries.forEach(entry => mark(entry.target)));
    const boxes = document.querySelectorAll(BOXES);
    boxes.forEach(box => sizes.observe(box));
    document.fonts.addEventListener("loadingdone", () => boxes.forEach(mark)); // wider signs
  });
})();
