"use strict";
// What is copied is what is shown. Where the clipboard is shut (an old browser), the text is selected instead.
document.querySelectorAll(".code button").forEach((button) => {
  button.addEventListener("click", async () => {
    const text = button.parentElement.querySelector("pre");
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      window.getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
});
// Paper is narrower than most windows: figures are drawn anew for it, and again for the window afterwards.
const PAPER = 670, HALF = 325;
const figures = () => document.querySelectorAll(".js-plotly-plot");
// A finger that moves over a figure scrolls the page.
if (matchMedia("(pointer: coarse)").matches) figures().forEach((figure) => Plotly.relayout(figure, { dragmode: false }));
window.addEventListener("beforeprint", () => figures().forEach((figure) => {
  Plotly.relayout(figure, { width: figure.closest(".beside") ? HALF : PAPER });
}));
window.addEventListener("afterprint", () => figures().forEach((figure) => Plotly.relayout(figure, { width: null, autosize: true })));
