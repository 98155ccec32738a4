// Figures follow the page: its ink when it is light or dark, dark ink on paper, small letters on a narrow screen.
(() => {
  if (innerWidth < 600) {
    for (const plot of document.querySelectorAll(".js-plotly-plot")) {
      const small = { "font.size": 10 };
      (plot.layout.annotations ?? []).forEach((_, i) => { small[`annotations[${i}].font.size`] = 8.5; });
      for (const axis of Object.keys(plot.layout).filter((key) => /^[xy]axis/.test(key))) {
        small[`${axis}.title.font.size`] = 9;
      }
      Plotly.relayout(plot, small);
    }
  }
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
