// Figures follow the page: its ink when it is light or dark, and dark ink on paper.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = (isDark) => {
    for (const plot of document.querySelectorAll(".js-plotly-plot")) {
      Plotly.relayout(plot, { "font.color": isDark ? "#C9CED6" : "#3D434D" });
    }
  };
  paint(dark.matches);
  dark.addEventListener("change", () => paint(dark.matches));
  addEventListener("beforeprint", () => paint(false));
  addEventListener("afterprint", () => paint(dark.matches));
})();
