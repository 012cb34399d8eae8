// Shows the value of a word that the pointer or the arrow keys are at.
for (const line of document.querySelectorAll(".words")) {
  const words = [...line.querySelectorAll("span")];
  const value = line.nextElementSibling;
  let at = -1;

  function show(to) {
    words[at]?.classList.remove("at");
    at = to;
    words[at]?.classList.add("at");
    value.textContent = words[at] ? `${words[at].textContent}: ${words[at].dataset.value}` : "\u00a0";
  }

  line.addEventListener("pointerover", (event) => {
    const word = words.indexOf(event.target);
    if (word >= 0) show(word);
  });
  line.addEventListener("pointerleave", () => show(-1));
  line.addEventListener("blur", () => show(-1));
  line.addEventListener("keydown", (event) => {
    const last = words.length - 1;
    const moves = {
      ArrowRight: Math.min(at + 1, last), ArrowLeft: Math.max(at - 1, 0),
      Home: 0, End: last, Escape: -1,
    };
    if (event.key in moves) {
      event.preventDefault();
      show(moves[event.key]);
    }
  });
}
