(() => {
  // A slide that is too high is set smaller, down to SMALLEST; what is still too high scrolls. Nothing is cut off.
  const WIDTH = 1280, HEIGHT = 720, MARGIN = 30, SMALLEST = 0.76, STEP = 0.04;
  const leaves = () => [...document.querySelectorAll(".slides section")].filter(each => !each.querySelector("section"));
  const printed = /print-pdf/i.test(location.search) || /view=print/i.test(location.search);
  for (const section of leaves()) {
    const frame = document.createElement("div");
    frame.className = "labkit-fit";
    frame.append(...[...section.childNodes].filter(node => node.nodeName !== "ASIDE"));
    section.prepend(frame);
  }
  const fit = section => {
    const frame = section.querySelector(":scope > .labkit-fit");
    let size = 1;
    const bottom = () => (frame.getBoundingClientRect().bottom - section.getBoundingClientRect().top) / Reveal.getScale();
    frame.style.zoom = size;
    while (bottom() > HEIGHT - MARGIN && size > SMALLEST) frame.style.zoom = size -= STEP;
    section.classList.toggle("scrolls", bottom() > HEIGHT - MARGIN);
    section.dataset.fitted = size.toFixed(2);
  };
  const set = async section => {
    if (!section || section.dataset.fitted) return;
    if (!section.dataset.typeset) {
      section.dataset.typeset = "true";
      await MathJax.typesetPromise([section]);
    }
    await Promise.all([...section.querySelectorAll("img")].map(image => image.decode().catch(() => {})));
    fit(section);
  };
  const begin = async () => {
    await MathJax.startup.promise;
    if (printed) await MathJax.typesetPromise();
    Reveal.on("ready", event => set(event.currentSlide));
    Reveal.on("slidechanged", event => set(event.currentSlide));
    await Reveal.initialize({
      width: WIDTH, height: HEIGHT, margin: 0, minScale: 0.1, center: false, hash: true, controls: true, progress: true,
      slideNumber: "c/t", transition: "none", navigationMode: "default", plugins: [RevealNotes],
    });
    document.body.dataset.ready = "true";
  };
  begin();
})();
